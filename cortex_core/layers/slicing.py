"""Layers that take a part of an axis, one place of it, or several."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from cortex_core.layers.expect import each_position, refuse
from cortex_core.layers.scope import Scope
from cortex_core.ops.indexing import gather
from cortex_core.ops.views import index
from cortex_core.registry import Fault, base, field, layer

WHOLE = slice(None)


@base
class _Part:
    """What all share: `key` says what of the axis is taken."""

    kind: ClassVar[str]

    axis: int = field(default=1, doc="the axis, counted with the batch axis as 0")

    def check(self) -> Iterator[Fault]:
        """Samples stay apart."""
        if self.axis == 0:
            yield Fault(("axis",), "axis 0 is the batch", "expected 1, 2, ... or -1, -2, ...")

    def key(self, x: Any, size: int) -> Any:
        """What indexes an axis of this size."""
        raise NotImplementedError

    def forward(self, p: Scope, x: Any) -> Any:
        axis = self.along(x)
        return index(x, (*(WHOLE,) * axis, self.key(x, x.shape[axis])))

    def along(self, x: Any) -> int:
        """The axis, counted from the first."""
        rank = len(x.shape)
        axis = self.axis + rank if self.axis < 0 else self.axis
        if not 0 < axis < rank:
            refuse(f"{self.kind} has no axis {self.axis} to take from (0 is the batch)", x)
        return axis

    def step(self, p: Scope, x: Any) -> Any:
        """Of one position, where the axis is not that of the positions."""
        return self.forward(p, each_position(self, x, self.axis))


@layer("slice", main="start", transparent=True)
class Slice(_Part):
    """The part of an axis from start to stop, in steps.   x (B, ..., n, ...) -> (B, ..., m, ...)

    As Python's x[start:stop:step]: places below 0 count from the end, and what lies beyond it is not there.

    Example:
        inputs: {sequence: [5, 2]}
        layers: [slice: {start: 1, step: 2}, lstm: 2]
    """

    start: int | None = field(default=None, doc="the first place; else that at the end where it begins")
    stop: int | None = field(default=None, doc="the first place that is not taken; else all are")
    stride: int = field(default=1, name="step", doc="how far it goes on; backwards below 0")

    def check(self) -> Iterator[Fault]:
        """It goes somewhere."""
        yield from super().check()
        if self.stride == 0:
            yield Fault(("step",), "0 goes nowhere", "expected 1, 2, ... or -1, -2, ...")

    def key(self, x: Any, size: int) -> Any:
        found = slice(self.start, self.stop, self.stride)
        if not range(size)[found]:
            shown = ":".join("" if n is None else str(n) for n in (self.start, self.stop, self.stride))
            refuse(f"slice finds nothing at {shown} of {size} places along axis {self.axis}", x)
        return found


@layer("select", main="index", transparent=True)
class Select(_Part):
    """What stands at one place of an axis, which is gone then.   x (B, ..., n, ...) -> (B, ..., ...)

    As numpy.take: a place below 0 counts from the end.

    Example:
        inputs: {sequence: [5, 2]}
        layers: [gru: {units: 3, return: sequence}, select: -1]
    """

    place: int = field(name="index", doc="the place")

    def key(self, x: Any, size: int) -> Any:
        if not -size <= self.place < size:
            refuse(f"select finds no place {self.place} among {size} along axis {self.axis}", x)
        return self.place


@layer("take", main="indices", transparent=True)
class Take(_Part):
    """Places of an axis in a given order, also several times.   x (B, ..., n, ...) -> (B, ..., m, ...)

    As numpy.take: places below 0 count from the end.

    Example:
        inputs: {sequence: [5, 2]}
        layers: [take: [4, 0, 0], lstm: 2]
    """

    indices: tuple[int, ...] = field(doc="the places")

    def check(self) -> Iterator[Fault]:
        """One place at least."""
        yield from super().check()
        if not self.indices:
            yield Fault(("indices",), "no places", "expected one at least")

    def key(self, x: Any, size: int) -> Any:
        lacking = [n for n in self.indices if not -size <= n < size]
        if lacking:
            refuse(f"take finds no place {lacking[0]} among {size} along axis {self.axis}", x)
        return np.array(self.indices) % size

    def forward(self, p: Scope, x: Any) -> Any:
        axis = self.along(x)
        return gather(x, self.key(x, x.shape[axis]), axis)
