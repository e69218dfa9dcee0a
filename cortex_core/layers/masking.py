"""Which steps of a sequence count: layers that say so, and layers that heed it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

from cortex_compute.errors import DTypeError
from cortex_core.layers.expect import floating, reasoned, refuse
from cortex_core.layers.scope import Scope
from cortex_core.ops.pointwise import cast, logical_and, logical_not, logical_or, maximum, not_equal, select
from cortex_core.ops.reduce import any as some
from cortex_core.ops.reduce import sum as total
from cortex_core.ops.views import reshape
from cortex_core.registry import Fault, Source, base, field, layer


@layer("masking", main="value", outputs=("mask",), positionwise=True)
class Masking:
    """Steps whose features all have one value do not count: there is 0.   x (B, ..., C) -> (B, ..., C)

    ``ID.mask`` (B, ...) is true where a feature has another value.
    As the layer of this name in Keras (Chollet et al., 2015).

    Example:
        inputs: {sequence: [3, 2]}
        layers: [masking: {value: 0, id: padded}, gru: {units: 2, mask: padded.mask}]
    """

    value: float = field(default=0.0, doc="that of all features of a step that does not count")

    def forward(self, p: Scope, x: Any) -> Any:
        floating(self, x)
        seen = some(not_equal(x, self.value), -1)
        return select(reshape(seen, (*seen.shape, 1)), x, 0.0), {"mask": seen}


@layer("masked_mean", main="mask")
class MaskedMean:
    """The mean of the steps that count.   x (B, T, ...), mask (B, T) -> (B, ...), 0 where none counts

    As a pooling of Keras (Chollet et al., 2015) over a sequence with a mask.

    Example:
        inputs: {sequence: [3, 2]}
        layers: [masking: {value: 0, id: padded}, masked_mean: padded.mask, dense: 1]
    """

    mask: Source = field(doc="(length,): which steps count")
    keepdims: bool = field(default=False, doc="gives (B, 1, ...)")

    def forward(self, p: Scope, x: Any, mask: Any) -> Any:
        floating(self, x)
        if mask.shape != x.shape[:2]:
            refuse(f"masked_mean needs a mask of one truth for each step, {x.shape[1:2]}", x, mask)
        if mask.dtype.kind != "bool":
            needs = "masked_mean needs a mask of truths: 'dtype: bool'"
            raise reasoned(DTypeError, f"the mask is {mask.dtype} {mask.shape[1:]}", needs)
        seen = reshape(mask, (*mask.shape, *(1,) * (len(x.shape) - 2)))
        count = maximum(total(cast(seen, x.dtype), 1, keepdims=self.keepdims), 1.0)
        return total(select(seen, x, 0.0), 1, keepdims=self.keepdims) / count


@layer("any", main="axis")
class Any_:
    """Whether any along an axis is true.   x (B, ..., n) of bool -> (B, ...).  As numpy.any.

    Example:
        inputs: {sequence: [3, 2]}
        layers:
        - compare: {operation: not_equal, value: 0, id: told}
        - any: {axis: -1, id: seen}
        - gru: {units: 2, from: sequence, mask: seen}
    """

    axis: int = field(default=-1, doc="the axis, counted with the batch axis as 0")
    keepdims: bool = field(default=False, doc="keeps the axis, with size 1")

    def check(self) -> Iterator[Fault]:
        """Samples stay apart."""
        if self.axis == 0:
            yield Fault(("axis",), "axis 0 is the batch", "expected 1, 2, ... or -1, -2, ...")

    def forward(self, p: Scope, x: Any) -> Any:
        rank = len(x.shape)
        if not -rank < self.axis < rank:
            refuse(f"any has no axis {self.axis} (0 is the batch)", x)
        if x.dtype.kind != "bool":
            needs = f"any needs truths, not {x.dtype}; compare makes them"
            raise reasoned(DTypeError, f"the input is {x.dtype} {x.shape[1:]}", needs)
        return some(x, self.axis, keepdims=self.keepdims)


@base
class _Truths:
    """Layers that make truths of truths."""

    def truths(self, *x: Any) -> tuple[Any, ...]:
        """The inputs, if they are truths of one shape."""
        kind = self.kind  # type: ignore[attr-defined]
        sizes = [set(along) - {1} for along in zip(*(v.shape for v in x))]
        if len({len(v.shape) for v in x}) > 1 or any(len(found) > 1 for found in sizes):
            refuse(f"{kind} needs equal shapes, or 1 along an axis", *x)
        for v in x:
            if v.dtype.kind != "bool":
                needs = f"{kind} needs truths, such as masks, not {v.dtype}"
                raise reasoned(DTypeError, f"the input is {v.dtype} {v.shape[1:]}", needs)
        return x


@layer("logical_and", inputs="several", positionwise=True)
class LogicalAnd(_Truths):
    """Whether all are true.   several x (B, ...) of bool, or 1 along an axis -> (B, ...)

    As numpy.logical_and.

    Example:
        inputs: {sequence: [3, 2], flags: {shape: [3], dtype: bool}}
        layers:
        - masking: {value: 0, from: sequence, id: padded}
        - logical_and: {from: [padded.mask, flags], id: seen}
        - gru: {units: 2, from: padded, mask: seen}
    """

    def forward(self, p: Scope, *x: Any) -> Any:
        return reduce(logical_and, self.truths(*x))


@layer("logical_or", inputs="several", positionwise=True)
class LogicalOr(_Truths):
    """Whether any is true.   several x (B, ...) of bool, or 1 along an axis -> (B, ...)

    As numpy.logical_or.

    Example:
        inputs: {sequence: [3, 2], flags: {shape: [3], dtype: bool}}
        layers:
        - masking: {value: 0, from: sequence, id: padded}
        - logical_or: {from: [padded.mask, flags], id: seen}
        - gru: {units: 2, from: padded, mask: seen}
    """

    def forward(self, p: Scope, *x: Any) -> Any:
        return reduce(logical_or, self.truths(*x))


@layer("logical_not", positionwise=True)
class LogicalNot(_Truths):
    """Whether it is false.   x (B, ...) of bool -> (B, ...).  As numpy.logical_not.

    Example:
        inputs: {sequence: [3, 2], padded: {shape: [3], dtype: bool}}
        layers:
        - logical_not: {from: padded, id: seen}
        - gru: {units: 2, from: sequence, mask: seen}
    """

    def forward(self, p: Scope, x: Any) -> Any:
        return logical_not(*self.truths(x))
