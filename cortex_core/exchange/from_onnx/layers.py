"""Puts layers for values whose axes lie otherwise here than in ONNX."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cortex_core.exchange.build import Builder, Shape, Unfit
from cortex_core.exchange.from_onnx.value import Mixed, Value, shown

MOVES = {
    *("reshape", "permute", "slice", "select", "flip", "concatenate", "linear", "cast", "compare"),
    *("maximum", "minimum", "embedding", "take", "where"),
    *(f"padding{rank}d" for rank in (1, 2, 3)),
}
"""What gives the same of int64 as of narrower whole numbers."""


class Layers:
    """Puts layers into a description, and brings the axes of values where they are needed.

    ``batches`` are the two sizes of a batch for which known numbers are computed.  ``reshaped`` says of what
    value each reshape is one: of two in a row only the last is needed.
    """

    path = ""

    def __init__(
        self,
        builder: Builder,
        notes: list[str],
        batches: tuple[int, int],
        reshaped: dict[str, tuple[str, Shape]],
    ) -> None:
        self.builder, self.notes, self.batches, self.reshaped = builder, notes, batches, reshaped

    def put_at(
        self,
        path: str,
        kind: str,
        x: Value | Sequence[Value],
        weights: Mapping[str, np.ndarray] | None,
        order: tuple[int | None, ...] | None,
        trainable: bool,
        fields: Mapping[str, Any],
    ) -> Value:
        """Puts a layer: ``kind`` and fields as in a description (``return_`` for ``return``).

        Its axes are those of the first of ``x``, unless ``order`` says which they are.
        """
        given = [x] if isinstance(x, Value) else list(x)
        if kind not in MOVES and any(v.whole for v in given):
            types = ", ".join(sorted({v.whole for v in given if v.whole}))
            raise Unfit(f"{kind} of {types}: ONNX computes in that type, which wraps around; cast it before")
        told = {name.rstrip("_"): value for name, value in fields.items() if value is not None}
        id_ = self.builder.name(path)
        common = {} if trainable else {"trainable": False}
        self.builder.put(id_, kind, told, [v.source for v in given], weights or {}, "", common)
        found = self._value(id_, given[0].order if order is None else order)
        return replace(found, whole=given[0].whole) if found.dtype == given[0].dtype else found

    def beside(self, x: Value, output: str, order: tuple[int | None, ...]) -> Value:
        """Another result of a layer, such as the state ``last`` of an lstm."""
        return self._value(f"{x.source}.{output}", order)

    def _value(self, source: str, order: tuple[int | None, ...]) -> Value:
        return Value(source, self.builder.shape(source), order, self.builder.dtype(source))

    def concrete(self, x: Value, variant: int) -> tuple[int, ...]:
        """The shape in ONNX with one of two sizes of the batch, and of lengths."""
        there = (self.batches[variant], *self.builder.sizes(x.source)[variant])
        return tuple(1 if a is None else there[a] for a in x.order)

    # Axes

    def lay(self, x: Value, axes: Sequence[int]) -> Value:
        """The value with these axes of ONNX behind the batch, in this order: all that lie here.

        An axis of size 1 that only ONNX has is made where it is named.
        """
        real = [a for a in axes if x.order[a] is not None]
        if len(real) != len(x.lying) or any(x.order[a] == 0 for a in axes):
            raise Mixed(f"the axes of {shown(x)} cannot be laid as {[*axes]}: one is that of the examples")
        long = [a for a in x.lying if x.shape[(x.order[a] or 0) - 1] != 1]
        if [a for a in real if a in long] != long:
            x = self._permuted(x, real)
        if x.lying == [*axes]:
            return x
        made = [x.order[a] for a in axes]
        shape = [1 if a is None else x.shape[a - 1] for a in made]
        places = {axis: place for place, axis in enumerate(axes, 1)}
        order = tuple(0 if a == 0 else places.get(i) for i, a in enumerate(x.order))
        return self.reshape(x, shape, order, "axes")

    def _permuted(self, x: Value, axes: Sequence[int]) -> Value:
        places = {axis: place for place, axis in enumerate(axes, 1)}
        order = tuple(places.get(i, a) for i, a in enumerate(x.order))
        given = [x.order[a] for a in axes]
        return self.put_at(f"{self.path}_permute", "permute", x, None, order, True, {"axes": given})

    def plain(self, x: Value) -> Value:
        """The value with all axes that ONNX has, in its order; the batch is the first here."""
        return self.lay(x, [a for a in range(x.rank) if x.order[a] != 0])

    def channels_last(self, x: Value, axis: int = 1) -> Value:
        """A value with the batch on its axis 0, and with this axis behind all others."""
        if x.batch != 0:
            where = "is part of an example" if x.batch is None else "is not that of the examples"
            raise Mixed(f"the axis 0 of its input {shown(x)} {where}")
        return self.lay(x, [*(a for a in range(1, x.rank) if a != axis), axis])

    def reshape(
        self, x: Value, shape: Sequence[int | None], order: tuple[int | None, ...], part: str = ""
    ) -> Value:
        """The same elements as they lie, in another shape; no layer where that is the one they have."""
        source, whole = self.reshaped.get(x.source, (x.source, x.shape))
        if tuple(shape) == x.shape:
            return replace(x, order=order)
        if tuple(shape) == whole:
            return replace(x, source=source, shape=whole, order=order)
        if sum(n is None for n in shape) > 1:
            raise Unfit(f"two axes of any length in {[*shape]} are not supported")
        before = replace(x, source=source, shape=whole, order=tuple(range(len(whole) + 1)))
        path = f"{self.path}_{part}" if part else self.path
        sizes = [-1 if n is None else n for n in shape]
        made = self.put_at(path, "reshape", before, None, order, True, {"shape": sizes})
        self.reshaped[made.source] = (source, whole)
        return made


def joined(sizes: Sequence[int | None]) -> int | None:
    """The size of the axis that several become."""
    return None if None in sizes else math.prod(n for n in sizes if n is not None)
