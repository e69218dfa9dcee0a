"""How the cost of a training step grows with the batch, the width and the depth of a network.

python -m benchmarks.growth [--backend auto] [--threads 2] [--json FILE] [--plot FILE.svg]
python -m benchmarks.growth --from FILE --plot FILE.svg        draws what was measured
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import machine
from benchmarks.turns import Worker
from benchmarks.workloads import Description, cnn, mlp

AXES = {
    "batch": "examples in a batch",
    "width": "units of the first layer, or its filters",
    "depth": "layers with weights",
}
NETWORKS = ("MLP", "CNN")


def points(axis: str, network: str) -> Iterator[tuple[int, Description, int]]:
    """What is measured along an axis: its value, the network, the size of the batch."""
    batch = 128 if network == "MLP" else 64
    if axis == "batch":
        for n in (1, 4, 16, 64, 256):
            yield n, mlp() if network == "MLP" else cnn(), n
    elif axis == "width":
        for n in (64, 128, 256, 512, 1024) if network == "MLP" else (8, 16, 32, 64, 128):
            yield n, mlp((n, n // 2)) if network == "MLP" else cnn((n, 2 * n)), batch
    else:  # the layers that are added are of 256 units, or of 64 filters on 7 x 7
        for n in (1, 2, 4, 8, 16):
            made = mlp((256,) * n) if network == "MLP" else cnn((32, 64, *(64,) * (n - 1)))
            yield (n + 1 if network == "MLP" else n + 3), made, batch


def measure(axis: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Milliseconds of a step at each point, in turn; the median over the rounds."""
    cases = [(network, *point) for network in NETWORKS for point in points(axis, network)]
    with ExitStack() as stack:
        workers = []
        for _, _, description, batch in cases:
            task = {
                "description": description,
                "batch": batch,
                "purpose": "train",
                "precision": "float32",
                "file": "",
                "threads": options.threads,
                "backend": options.backend,
            }
            workers.append(Worker(sys.executable, "cortex_worker", task))
            stack.callback(workers[-1].close)
        rounds = [[w.turn(options.seconds)["median"] for w in workers] for _ in range(options.rounds)]
    medians = [median(times) for times in zip(*rounds)]
    return [
        {"axis": axis, "network": network, "value": value, "milliseconds": time}
        for (network, value, _, _), time in zip(cases, medians)
    ]


def plot(run: dict[str, Any], path: Path) -> None:
    """A panel for each axis; both of its scales are logarithmic, so that a straight line is a power."""
    from cortex_viz.figure import COLOURS, figure

    with figure(path, 9.5, 3.2) as made:
        panels = made.subplots(1, len(AXES), sharey=True)
        for panel, (axis, label) in zip(panels, AXES.items()):
            for network, colour, marker in zip(NETWORKS, COLOURS, "os"):
                chosen = [p for p in run["points"] if (p["axis"], p["network"]) == (axis, network)]
                x, y = ([p[k] for p in chosen] for k in ("value", "milliseconds"))
                panel.loglog(x, y, color=colour, marker=marker, markersize=4, label=network)
            panel.set(title=axis, xlabel=label)
            values = sorted({p["value"] for p in run["points"] if p["axis"] == axis})
            panel.set_xticks(values if len(values) <= 5 else values[::2], minor=False)
            panel.xaxis.set_major_formatter("{x:.0f}")
            panel.minorticks_off()
        panels[0].set_ylabel("milliseconds of a step")
        panels[0].legend()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=0.5)
    add("--threads", type=int, default=os.cpu_count() or 1)
    add("--backend", default="auto")
    add("--json", type=Path, metavar="FILE")
    add("--from", dest="source", type=Path, metavar="FILE", help="draws this, and measures nothing")
    add("--plot", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.source:
        run = json.loads(options.source.read_text(encoding="utf-8"))
    else:
        facts = machine.facts(options.backend, sys.executable)
        run = {**facts, "threads": options.threads, "points": []}
        for axis in AXES:
            run["points"] += measure(axis, options)
    for p in run["points"]:
        print(f"{p['network']} {p['axis']:5} {p['value']:5} {p['milliseconds']:9.3f} ms")
    if options.json:
        options.json.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        plot(run, options.plot)


if __name__ == "__main__":
    main()
