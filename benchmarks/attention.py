"""How the memory of attention grows with the length of a sequence: linearly, though its scores are a square.

python -m benchmarks.attention [--backend auto] [--json FILE]

A training step of one layer, four heads, 128 wide, causal, one sequence: the bytes of its plan, and by how
much a process of its own grows in it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.memory import peak
from benchmarks.workloads import HEADS, Description

LENGTHS = 1024, 2048, 4096
UNITS, WARM = 128, 64


def description(length: int) -> Description:
    """One layer that is to give a certain sequence."""
    return {
        "cortex": 1,
        "name": "attention",
        "inputs": {"x": [length, UNITS]},
        "layers": [{"multi_head_attention": {"heads": HEADS, "causal": True, "id": "found"}}],
        "loss": {"mse": {"of": "found", "target": "wanted"}},
        "train": {"optimizer": {"adam": {"learning_rate": 0.001}}},
    }


def compiled(length: int, backend: str) -> Any:
    """The training step of one sequence; nothing is taken of the memory yet."""
    import cortex

    return cortex.compile(cortex.network(description(length)), backend=backend, batch_size=1)


def planned(length: int, backend: str) -> int:
    """Bytes of activations and scratch that the plan of a step takes."""
    made = compiled(length, backend)
    plan, _ = made.plan(made.types(1))
    return int(plan.arena + plan.workspace)


def grown(length: int, backend: str) -> int:
    """By how many bytes this process grows in a first step: weights, activations, and what libraries take."""
    import numpy as np

    def step(length: int) -> None:
        numbers = np.ones((1, length, UNITS), np.float32)
        compiled(length, backend).run({"x": numbers, "wanted": numbers})

    step(WARM)  # loads what has to be loaded
    before = peak()
    step(length)
    return peak() - before


def measure(length: int, backend: str) -> dict[str, int]:
    """The figures of a length, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.attention", "--backend", backend, "--length", str(length)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return {"length": length, "scores": 4 * HEADS * length**2, **json.loads(done.stdout)}


def lines(points: list[dict[str, int]]) -> list[str]:
    """The figures for people, in megabytes."""
    kinds = ("planned", "grown", "scores")
    head = f"{'length':>6} {'planned':>9} {'measured':>9} {'scores':>9}   MB; scores are what is not kept"
    rows = [f"{p['length']:6} " + " ".join(f"{p[k] / 1e6:9.1f}" for k in kinds) for p in points]
    return [head, *rows]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.attention", description=__doc__.split("\n")[0]
    )
    add = parser.add_argument
    add("--backend", default="auto")
    add("--json", type=Path, metavar="FILE")
    add("--length", type=int, help="prints the figures of this length alone, as JSON")
    options = parser.parse_args()
    if options.length:
        figures = {f.__name__: f(options.length, options.backend) for f in (planned, grown)}
        print(json.dumps(figures))
        return
    points = [measure(length, options.backend) for length in LENGTHS]
    print("\n".join(lines(points)))
    if options.json:
        facts = machine.facts(options.backend, sys.executable)
        options.json.write_text(json.dumps({**facts, "points": points}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
