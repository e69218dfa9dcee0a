"""The memory of a plan over time: which value lies where, from who writes it to who reads it last."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cortex_compute.types import TensorType
from cortex_core.graph.plan import ARENA, Location, Plan


@dataclass(eq=False)
class Span:
    """A value in a buffer: bytes ``start`` to ``end``, alive from instruction ``first`` to ``last``.

    ``kind``: "activation", what the results of the plan are computed from; "gradient", what the parameters
    are updated with; "workspace"; or "other", such as the sums of a metric.  ``replaced``: its last reader
    writes a result over it; ``over``: it is such a result.  ``writers`` are the instructions that wrote it.
    """

    start: int
    end: int
    first: int
    last: int
    type: TensorType
    kind: str = "other"
    replaced: bool = False
    over: bool = False
    writers: tuple[int, ...] = ()

    @property
    def nbytes(self) -> int:
        """How many bytes it takes."""
        return self.end - self.start


def spans(plan: Plan) -> list[Span]:
    """Every value that lies in the arena of a plan, in the order in which they are written.

    Views are no values of their own.  What several kernels write is one value where their bytes lie between
    one another, else one for each.
    """
    walk = _Walk()
    for t, x in enumerate(plan.instructions):
        walk.inputs.append([span for where in x.inputs if where is not None for span in walk.read(where, t)])
        if x.workspace is not None:
            walk.add(x.workspace, t, "workspace")
        for where in x.outputs:
            walk.write(where, t)
    last = len(plan.instructions) - 1
    ends = [*plan.outputs.values(), *([] if plan.predicate is None else [plan.predicate])]
    for where in ends:
        walk.read(where, last)
    _tell_kinds(plan, walk)
    return walk.found.get(ARENA, [])


def live(found: Sequence[Span], count: int) -> list[int]:
    """The bytes in use while each of ``count`` instructions runs; what is written over counts once."""
    taken = [0] * count
    for span in found:
        for t in range(span.first, span.last + 1 - span.replaced):
            taken[t] += span.nbytes
    return taken


class _Walk:
    """The values of each buffer: all of them, those that nobody has written over, those not read yet."""

    def __init__(self) -> None:
        self.found: dict[str, list[Span]] = {}
        self.here: dict[str, list[Span]] = {}
        self.inputs: list[list[Span]] = []  # what each instruction reads
        self.parts: set[Span] = set()

    def read(self, where: Location, t: int) -> list[Span]:
        """The values that lie there, which are alive at ``t``."""
        found = self._at(where)
        for span in found:
            span.last = t
        self.parts.difference_update(found)
        return found

    def write(self, where: Location, t: int) -> None:
        """A new value, in place of all that lay there; or, of bytes that lie apart, a further part of one."""
        old = self._at(where)
        begun = [span for span in old if where.strides is not None and span in self.parts]
        if begun:
            (whole,) = begun
            low, high = _bytes(where)
            whole.start, whole.end = min(whole.start, low), max(whole.end, high)
            whole.last, whole.writers = t, (*whole.writers, t)
            return
        for span in old:
            span.replaced = span.last == t
            self.here[where.buffer].remove(span)
        made = self.add(where, t)
        if made is not None:
            made.over = any(span.replaced for span in old)
            self.here.setdefault(where.buffer, []).append(made)
            if where.strides is not None:
                self.parts.add(made)

    def add(self, where: Location, t: int, kind: str = "other") -> Span | None:
        """Notes a value; None where it takes no bytes."""
        low, high = _bytes(where)
        if low == high:
            return None
        made = Span(low, high, t, t, where.type, kind, writers=(t,))
        self.found.setdefault(where.buffer, []).append(made)
        return made

    def _at(self, where: Location) -> list[Span]:
        low, high = _bytes(where)
        return [span for span in self.here.get(where.buffer, ()) if span.start < high and low < span.end]


def _bytes(where: Location) -> tuple[int, int]:
    """The first byte of a location, and the one behind its last."""
    if where.strides is None or where.type.size == 0:
        return where.offset, where.offset + where.type.nbytes
    steps = [(n - 1) * s for n, s in zip(where.type.shape, where.strides)]
    low, high = sum(min(0, s) for s in steps), sum(max(0, s) for s in steps)
    item = where.type.dtype.itemsize
    return where.offset + low * item, where.offset + (high + 1) * item


def _tell_kinds(plan: Plan, walk: _Walk) -> None:
    """In a step of training the loss is the result, and states of parameters are what gradients lead to."""
    training = plan.predicate is not None
    results = [where for name, where in plan.outputs.items() if not training or name == "loss"]
    parameters = [s for name, found in walk.found.items() if name.startswith("state:segment(") for s in found]
    for kind, roots in (
        ("gradient", parameters),
        ("activation", [span for where in results for span in walk.read(where, len(plan.instructions) - 1)]),
    ):
        seen = _before(roots, walk.inputs)
        for span in walk.found.get(ARENA, []):
            if span.kind != "workspace" and not seen.isdisjoint(span.writers):
                span.kind = kind


def _before(roots: Iterable[Span], inputs: Sequence[Sequence[Span]]) -> set[int]:
    """The instructions that these values are computed by, and all that those depend on."""
    seen: set[int] = set()
    todo = [t for span in roots for t in span.writers]
    while todo:
        t = todo.pop()
        if t not in seen:
            seen.add(t)
            todo += [writer for span in inputs[t] for writer in span.writers]
    return seen
