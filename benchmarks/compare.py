"""A training step of Cortex beside PyTorch's, in one run on one machine.

    python -m benchmarks.compare [--rounds 5] [--threads 2] [--only mlp,lenet] [--json FILE]

Each library runs in a process of its own; the processes take turns, A B A B, so that a machine that slows
down slows all of them.  The losses of the first steps from equal parameters must agree before anything is
timed.  Only ratios within one round are compared: the table shows the median over rounds and their range.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.workloads import WORKLOADS

LIBRARIES = ("cortex", "torch", "torch_channels_last")
BARS = {"mlp": 0.8, "lenet": 6.0}  # Cortex's time on NumPy as a multiple of PyTorch's, at most


def measure(library: str, workload: str, file: str, threads: int) -> dict[str, Any]:
    """One process of the worker."""
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "benchmarks.worker", library, workload, file, str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        raise SystemExit(f"{library} {workload} failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(workload: str, rounds: int, threads: int) -> dict[str, Any]:
    """All libraries on one workload, in turn."""
    times: dict[str, list[float]] = {library: [] for library in LIBRARIES}
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "parameters.npz")
        for _ in range(rounds):
            losses: dict[str, list[float]] = {}
            for library in LIBRARIES:
                result = measure(library, workload, file, threads)
                losses[library] = result["losses"]
                times[library].append(median(result["milliseconds"]))
            for library, values in losses.items():
                if any(abs(a - b) > 2e-4 * abs(b) for a, b in zip(values, losses["cortex"])):
                    raise SystemExit(f"{library} does other work on {workload}: {values}, {losses['cortex']}")
    best_peer = [min(a, b) for a, b in zip(times["torch"], times["torch_channels_last"])]
    ratios = [c / p for c, p in zip(times["cortex"], best_peer)]
    return {
        "workload": workload,
        "milliseconds": {k: median(v) for k, v in times.items()},
        "ratio": median(ratios),
        "range": [min(ratios), max(ratios)],
        "bar": BARS[workload],
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default=",".join(WORKLOADS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [compare(name, options.rounds, options.threads) for name in options.only.split(",")]
    print(f"{'step':8} {'cortex':>9} {'torch':>9} {'torch nhwc':>11}   cortex / best torch (range)   bar")
    for row in rows:
        ms = row["milliseconds"]
        low, high = row["range"]
        print(
            f"{row['workload']:8} {ms['cortex']:6.3f} ms {ms['torch']:6.3f} ms"
            f" {ms['torch_channels_last']:8.3f} ms"
            f"   {row['ratio']:.2f} ({low:.2f}-{high:.2f})   at most {row['bar']}"
        )
    if options.json:
        import numpy

        facts = {"machine": platform.machine(), "cores": os.cpu_count(), "threads": options.threads}
        facts |= {"python": platform.python_version(), "numpy": numpy.__version__}
        options.json.write_text(
            json.dumps({**facts, "rounds": options.rounds, "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
