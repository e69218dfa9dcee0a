"""Eager code beside PyTorch's, and as a program beside the program of a description.

    python -m benchmarks.eager [--rounds 5] [--threads 2] [--only op.add,loop.mlp] [--json FILE]

Each side runs in a process of its own; they take turns, A B A B, so that a machine that slows down slows
both.  Both must compute the same before anything is timed.  A ratio is our time over the other's, the median
over rounds, with its range.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.eager_worker import OPS
from benchmarks.turns import ROOT, Absent, Failed, Worker
from benchmarks.workloads import WORKLOADS


@dataclass(frozen=True)
class Row:
    """What is compared, with which other side, and the largest ratio that was promised, if one was."""

    kind: str
    name: str
    ours: str
    other: str
    bar: float | None = None


ROWS = {
    **{f"op.{name}": Row("op", name, "cortex", "torch", 5.0) for name in OPS},
    "loop.mlp": Row("loop", "mlp", "cortex", "torch", 1.2),
    "loop.cnn": Row("loop", "cnn", "cortex", "torch"),
    "step.mlp": Row("step", "mlp", "trace_step", "description", 1.1),
    "step.cnn": Row("step", "cnn", "trace_step", "description", 1.1),
}
CLOSE = 5e-4  # relative difference of losses after updates that is rounding


def start(library: str, row: Row, chosen: argparse.Namespace, file: Path) -> Worker:
    """Starts one side; a description's program writes the parameters that all start from."""
    task = {"library": library, "kind": row.kind, "row": row.name, "file": str(file)}
    task |= {"threads": chosen.threads, "backend": chosen.backend}
    if row.kind != "op":
        workload = WORKLOADS[row.name]
        task |= {"batch": workload.batch, "description": workload.description}
        task |= {"purpose": "train", "precision": "float32"}
    python = chosen.peers_python if library == "torch" else sys.executable
    return Worker(python, "cortex_worker" if library == "description" else "eager_worker", task)


def measure(row: Row, chosen: argparse.Namespace) -> dict[str, Any]:
    """Both sides in turn: every figure, or why there is none."""
    result: dict[str, Any] = {"kind": row.kind, "row": row.name, "ours": row.ours, "other": row.other}
    with ExitStack() as stack:
        file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "parameters.npz"
        try:
            if row.kind != "op":
                start("description", row, chosen, file).close()
            sides = {}
            for library in (row.ours, row.other):
                sides[library] = start(library, row, chosen, file)
                stack.callback(sides[library].close)
            values = [side.values for side in sides.values()]
            if not np.allclose(*values, rtol=CLOSE):
                raise Failed(f"{row.ours} gives {values[0]}, {row.other} {values[1]}")
            rounds = [
                {name: side.turn(chosen.seconds)["median"] for name, side in sides.items()}
                for _ in range(chosen.rounds)
            ]
        except (Absent, Failed) as reason:
            return {**result, "failed": str(reason)}
    ratios = [r[row.ours] / r[row.other] for r in rounds]
    spread = {"median": median(ratios), "low": min(ratios), "high": max(ratios)}
    return {**result, "ratio": spread, "bar": row.bar, "rounds": rounds}


def text(name: str, result: dict[str, Any]) -> str:
    """One line for people."""
    if "failed" in result:
        return f"{name:12} {result['failed']}"
    ours, other = (
        median(r[side] for r in result["rounds"]) * 1e3 for side in (result["ours"], result["other"])
    )
    ratio = result["ratio"]
    bar = result["bar"]
    promised = "" if bar is None else f", at most {bar}: {'met' if ratio['median'] <= bar else 'missed'}"
    return (
        f"{name:12} {result['ours']} {ours:9.1f} us, {result['other']} {other:9.1f} us, ratio "
        f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f}){promised}"
    )


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.eager", description=__doc__.split("\n")[0])
    add = parser.add_argument
    here = ROOT / ".venv-peers" / "bin" / "python"
    add("--rounds", type=int, default=5, help="how many times each side has its turn (%(default)s)")
    add("--seconds", type=float, default=0.5, help="how long a turn is (%(default)s)")
    add("--threads", type=int, default=os.cpu_count() or 1, help="of both sides (%(default)s)")
    add("--only", metavar="ROWS", default=",".join(ROWS), help="names of rows, with commas between")
    add("--backend", default="auto", help="of programs (%(default)s)")
    add("--peers-python", metavar="PATH", default=str(here) if here.exists() else sys.executable)
    add("--json", metavar="FILE", help="everything that was measured; - is standard output")
    chosen = parser.parse_args()
    chosen.only = chosen.only.split(",")
    unknown = sorted(set(chosen.only) - set(ROWS))
    if unknown:
        parser.error(f"unknown row {unknown[0]!r}; known are {', '.join(ROWS)}")
    return chosen


def main() -> None:
    """Prints each row as soon as it is measured."""
    chosen = options()
    facts = machine.facts(chosen.backend, chosen.peers_python)
    out = sys.stderr if chosen.json == "-" else sys.stdout
    print(machine.line(facts, chosen.threads), end="\n\n", file=out, flush=True)
    rows = {}
    for name in chosen.only:
        rows[name] = measure(ROWS[name], chosen)
        print(text(name, rows[name]), file=out, flush=True)
    run = {**facts, "threads": chosen.threads, "rounds": chosen.rounds, "seconds": chosen.seconds}
    written = json.dumps({**run, "load_after": os.getloadavg(), "rows": rows}, indent=1)
    if chosen.json == "-":
        print(written)
    elif chosen.json:
        Path(chosen.json).write_text(written + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
