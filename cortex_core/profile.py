"""Where the time of a program goes: its instructions beside the machine's own peak, and who computes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from cortex_compute.protocol import Backend
from cortex_compute.threads import threads
from cortex_compute.types import TensorType
from cortex_core.graph.value import Graph, input_value
from cortex_core.ops.linear import matmul
from cortex_core.program import Program, compile_graph
from cortex_core.store import Store

SIZES = (1024, 1536, 2048)  # of the matrices of the peak
PRODUCTS = 5  # of each size
PROCESSOR = re.compile(r":(?:uni|any|sse|avx)\w*")  # its instructions, in the name of a kernel

Facts = dict[str, Any]


def profile(program: Program, runs: int) -> Facts:
    """What ``cortex profile --json`` tells of a program whose inputs are filled.

    ``instructions``: the rows of `Program.profile`, each with ``gflops`` and ``of_peak``; ``slowest``: the
    index of one; ``implementations``: ``calls``, ``seconds`` and ``share`` of each family of kernels;
    ``seconds``, ``flops``, ``bytes``, ``gflops`` and ``of_peak`` of a step, which has no prologue;
    ``prologue_seconds``; ``peak_gflops``: see `peak`; ``threads``.
    """
    rows, best = program.profile(runs), peak(program.backend)
    rows = [_with_rates(row, best) for row in rows]
    step = [row for row in rows if not row["prologue"]]
    total = {key: sum(row[key] for row in step) for key in ("seconds", "flops", "bytes")}
    return {
        "threads": int(program.backend.describe().get("threads", threads())),
        "peak_gflops": best / 1e9,
        **_with_rates(total, best),
        "prologue_seconds": sum(row["seconds"] for row in rows) - total["seconds"],
        "slowest": rows.index(max(step, key=lambda row: row["seconds"])) if step else None,
        "implementations": implementations(step),
        "instructions": rows,
    }


def _with_rates(row: Facts, peak: float) -> Facts:
    rate = row["flops"] / row["seconds"] if row["flops"] else 0.0
    return row | {"gflops": rate / 1e9, "of_peak": rate / peak}


def implementations(step: list[Facts]) -> list[Facts]:
    """Calls, seconds and share of the step for each family of kernels, the longest first."""
    total = sum(row["seconds"] for row in step)
    seconds: dict[str, list[float]] = {}
    for row in step:
        seconds.setdefault(family(row["implementation"]), []).append(row["seconds"])
    ordered = sorted(seconds.items(), key=lambda item: -sum(item[1]))
    return [
        {"implementation": name, "calls": len(s), "seconds": sum(s), "share": sum(s) / total}
        for name, s in ordered
    ]


def family(implementation: str) -> str:
    """A kernel's name without the processor's instructions: ``onednn brgconv`` of
    ``onednn brgconv:avx512_core``.
    """
    return PROCESSOR.sub("", implementation)


def short(primitive: str) -> str:
    """A primitive without its numbers: ``Conv``, ``Reduce(sum)``, ``Elementwise(gt, select)``."""
    name, _, rest = primitive.partition("(")
    kind = re.match(r"kind=(\w+)", rest)
    return primitive if name == "Elementwise" else f"{name}({kind[1]})" if kind else name


def peak(backend: Backend) -> float:
    """FLOP/s of the best float32 product of two large square matrices: what this backend gets from the
    machine, with its number of threads.
    """
    return max(_product(backend, n) for n in SIZES)


def _product(backend: Backend, n: int) -> float:
    a, b = (input_value(name, TensorType((n, n))) for name in "ab")
    plan = compile_graph(Graph((a, b), {"c": matmul(a, b)}), backend)
    program = Program(plan, backend, Store(backend.devices()[0]))
    fill(program, {"a": a.type, "b": b.type})
    (row,) = program.profile(PRODUCTS)
    return float(row["flops"] / row["fastest"])


def fill(program: Program, types: Mapping[str, TensorType]) -> None:
    """Puts made-up examples into the program's inputs: floats in 0..1, zeros for class indices and tokens,
    true for masks."""
    generator = np.random.default_rng(0)
    for name, type in types.items():
        if type.dtype.kind == "float":
            program.write(name, generator.random(type.shape))
        else:
            one = type.dtype.kind == "bool"
            program.write(name, np.full(type.shape, one, type.dtype.storage))
