"""Layers that make one value of several."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

from cortex_core.layers.expect import each_position, refuse, same_shapes
from cortex_core.layers.scope import Scope
from cortex_core.ops.indexing import concatenate
from cortex_core.ops.pointwise import pointwise
from cortex_core.registry import Fault, field, layer


@pointwise
def total(*x: Any) -> Any:
    """x1 + x2 + ..., in one kernel"""
    return reduce(lambda a, b: a + b, x)


@pointwise
def product(*x: Any) -> Any:
    """x1 x2 ..., in one kernel"""
    return reduce(lambda a, b: a * b, x)


@layer("add", inputs="several", transparent=True, positionwise=True)
class Add:
    """The sum.   several x (B, ...) of equal shape -> (B, ...).

    As numpy.add; around blocks: He et al., 2016.

    Example:
        inputs: {a: [3, 2], b: [3, 2]}
        layers: [add: {from: [a, b]}]
    """

    def forward(self, p: Scope, *x: Any) -> Any:
        same_shapes(self, x)
        return total(*x)


@layer("multiply", inputs="several", positionwise=True)
class Multiply:
    """The product of elements.   several x (B, ...) of equal shape, or 1 along an axis -> (B, ...)

    What is 1 along an axis holds for all of that axis, such as a gate (B, 1, 1, C) for an image.

    Hu et al., 2018.

    Example:
        inputs: {signal: [3, 2], gate: [3, 1]}
        layers: [multiply: {from: [signal, gate]}]
    """

    def forward(self, p: Scope, *x: Any) -> Any:
        sizes = [set(along) - {1} for along in zip(*(v.shape for v in x))]
        if len({len(v.shape) for v in x}) > 1 or any(len(found) > 1 for found in sizes):
            refuse("multiply needs equal shapes, or 1 along an axis", *x)
        return product(*x)


@layer("concatenate", main="axis", inputs="several", transparent=True)
class Concatenate:
    """One behind the other.   several x (B, ..., n_i) -> (B, ..., sum n_i).

    As numpy.concatenate; in dense blocks: Huang et al., 2017.

    Example:
        inputs: {a: [3, 2], b: [3, 1]}
        layers: [concatenate: {from: [a, b]}]
    """

    axis: int = field(default=-1, doc="the axis that grows, counted with the batch axis as 0")

    def check(self) -> Iterator[Fault]:
        """Samples stay apart."""
        if self.axis == 0:
            yield Fault(("axis",), "axis 0 is the batch", "expected 1, 2, ... or -1, -2, ...")

    def forward(self, p: Scope, *x: Any) -> Any:
        rank = len(x[0].shape)
        axis = self.axis + rank if self.axis < 0 else self.axis
        if not 0 < axis < rank:
            refuse(f"concatenate has no axis {self.axis} to join along (0 is the batch)", *x)
        others = {v.shape[:axis] + v.shape[axis + 1 :] for v in x}
        if len(others) > 1 or any(len(v.shape) != rank for v in x):
            refuse(f"concatenate needs shapes that differ on axis {self.axis} only", *x)
        return concatenate(x, axis)

    def step(self, p: Scope, *x: Any) -> Any:
        """Of one position, where the axis is not that of the positions."""
        each_position(self, x[0], self.axis)
        return self.forward(p, *x)
