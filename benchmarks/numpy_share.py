"""What NumPy computes in the programs that are measured, counted from their plans; nothing runs.

Beside oneDNN each instruction is of the backend whose estimate of cost is lower.  So the counts depend on
the library, the processor and whether there are several threads, and not on how busy it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import cortex
from benchmarks.rows import ROWS, Row
from benchmarks.workloads import WORKLOADS
from cortex_compute.composed import Composed
from cortex_compute.numpy_backend.backend import NumpyBackend
from cortex_compute.onednn_backend.backend import OneDnnBackend
from cortex_compute.protocol import ROW_MAJOR, Backend, Layout, Offer, Operand
from cortex_core.compiled import Compiled
from cortex_core.graph.plan import Instruction
from cortex_core.profile import short

THREADS = 2
PROGRAMS = [
    row
    for row in ROWS.values()
    if row.device == "cpu" and row.purpose in ("train", "predict") and not row.neighbour
]


class Share(NamedTuple):
    """One line of the table: a primitive, what oneDNN answered, bytes of the largest, counts by program."""

    primitive: str
    answer: str
    nbytes: int
    counts: dict[str, str]

    def cells(self) -> list[str]:
        """As the table shows it, without the reason."""
        counts = [self.counts.get(row.name, "") for row in PROGRAMS]
        return [f"`{self.primitive}`", self.answer, f"{self.nbytes / 1e3:.1f}", *counts]


HEAD = ["primitive", "oneDNN", "kB, the largest", *(f"`{row.name}`" for row in PROGRAMS)]


def shares() -> list[Share]:
    """What NumPy computes where oneDNN is present, in the order of the names."""
    counts: dict[tuple[str, str], dict[str, Counter[bool]]] = {}
    largest: Counter[tuple[str, str]] = Counter()
    for row in PROGRAMS:
        for key, nbytes, once in _by_numpy(row):
            counts.setdefault(key, {}).setdefault(row.name, Counter())[once] += 1
            largest[key] = max(largest[key], nbytes)
    return [
        Share(*key, largest[key], {name: _told(n) for name, n in programs.items()})
        for key, programs in sorted(counts.items())
    ]


def _told(n: Counter[bool]) -> str:
    """How many in each step, and how many once for each version of the weights."""
    return ", ".join([f"{n[False]}"] * (n[False] > 0) + [f"{n[True]} once"] * (n[True] > 0))


def _by_numpy(row: Row) -> Iterator[tuple[tuple[str, str], int, bool]]:
    """Primitive and oneDNN's answer, bytes, and whether it is of the prologue, for each of NumPy's."""
    workload = WORKLOADS[row.workload]
    training = workload.description["train"] | {"precision": row.precision}
    network = cortex.network(workload.description | {"train": training})
    backend = Composed(OneDnnBackend(THREADS), NumpyBackend())
    compiled = Compiled(network, backend, row.purpose)  # type: ignore[arg-type]
    plan, _ = compiled.plan(compiled.types(1 if row.purpose == "predict" else workload.batch))
    for i, x in enumerate(plan.instructions):
        if not x.offer.implementation.startswith("onednn"):
            key = short(str(x.primitive)), _answer(backend.parts[0], x)
            yield key, x.primitive.nbytes(*x.types), i < plan.prologue


def _answer(onednn: Backend, x: Instruction) -> str:
    """What oneDNN says of an instruction that NumPy got: it "refuses", or is "dearer"."""
    layouts = [ROW_MAJOR if where is None else Layout(where.strides) for where in x.inputs]
    offer = onednn.offer(x.primitive, [Operand(t, y) for t, y in zip(x.types, layouts)])
    return "dearer" if isinstance(offer, Offer) else "refuses"
