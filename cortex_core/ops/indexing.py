"""Ops that gather, scatter, join, pad and select by place.  Places are integers and have no gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cortex_compute.errors import ShapeError
from cortex_compute.expression import Literal, Number
from cortex_compute.primitives.indexing import (
    Concatenate,
    Cumsum,
    Gather,
    OneHot,
    Pad,
    ScatterAdd,
    ScatterAlong,
    ScatterRows,
    TakeAlong,
    TopK,
)
from cortex_compute.types import dtype as as_dtype
from cortex_compute.types import normalize_axis
from cortex_core.ops.apply import apply
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import gradient_of
from cortex_core.ops.views import flip, reshape, slice_


def gather(x: Any, ids: Any, axis: int = 0) -> Any:
    """The slices of x at ``ids`` along ``axis``.   x (A..., n, B...), ids (S...) -> (A..., S..., B...)

    An id out of range takes the nearest slice.   dx = g's slices added at their ids to zeros
    """
    return apply(Gather(normalize_axis(axis, len(x.shape), "gather")), x, ids)


def scatter_add(x: Any, ids: Any, g: Any, axis: int = 0) -> Any:
    """x with the slices of ``g`` added at ``ids`` along ``axis``; ids that repeat add.

    x (A..., n, B...), ids (S...), g (A..., S..., B...) -> like x.   dx = h, dg = h at ids, where h is dy
    """
    return apply(ScatterAdd(normalize_axis(axis, len(x.shape), "scatter_add")), x, ids, g)


def take_along(x: Any, ids: Any, axis: int = -1) -> Any:
    """For each element of ``ids`` the element of x at that place along ``axis``, as np.take_along_axis.

    x (A..., n, B...), ids (A..., m, B...) -> like ids.   dx = g added at the places to zeros
    """
    return apply(TakeAlong(normalize_axis(axis, len(x.shape), "take_along")), x, ids)


def concatenate(arrays: Sequence[Any], axis: int = 0) -> Any:
    """The arrays one after the other along ``axis``.   dx_k = the part of g where x_k lies"""
    if not arrays:
        raise ShapeError("concatenate: needs at least one array")
    return apply(Concatenate(normalize_axis(axis, len(arrays[0].shape), "concatenate")), *arrays)


def stack(arrays: Sequence[Any], axis: int = 0) -> Any:
    """The arrays, all of one shape, side by side along a new axis.   dx_k = g at k"""
    if not arrays:
        raise ShapeError("stack: needs at least one array")
    shape = arrays[0].shape
    for i, x in enumerate(arrays):
        if x.shape != shape:
            raise ShapeError(f"stack: array {i} has shape {x.shape}, array 0 has {shape}")
    at = normalize_axis(axis, len(shape) + 1, "stack")
    return concatenate([reshape(x, (*shape[:at], 1, *shape[at:])) for x in arrays], at)


def split(x: Any, parts: int | Sequence[int], axis: int = 0) -> list[Any]:
    """x cut along ``axis``: into ``parts`` equal pieces, or into pieces of the sizes given.  Views."""
    at = normalize_axis(axis, len(x.shape), "split")
    n = x.shape[at]
    if isinstance(parts, int):
        if parts < 1 or n % parts:
            raise ShapeError(f"split: axis {at} of shape {x.shape} has no {parts} equal parts")
        parts = [n // parts] * parts
    if sum(parts) != n or min(parts, default=0) < 0:
        raise ShapeError(f"split: the sizes {list(parts)} do not add up to axis {at} of shape {x.shape}")
    pieces, start = [], 0
    for size in parts:
        pieces.append(_part(x, at, start, size))
        start += size
    return pieces


def _part(x: Any, axis: int, start: int, size: int) -> Any:
    starts = [start if i == axis else 0 for i in range(len(x.shape))]
    return slice_(x, starts, [size if i == axis else n for i, n in enumerate(x.shape)])


def pad(x: Any, padding: Sequence[Sequence[int]], value: Number = 0) -> Any:
    """x with [before, after] elements of ``value`` around each axis; negative: cut off.   dx = g inside"""
    rank = len(x.shape)
    if len(padding) != rank or any(len(pair) != 2 for pair in padding):
        raise ShapeError(
            f"pad: x has shape {x.shape}, padding is {padding}; needs [before, after] for each axis"
        )
    low, high = (tuple(int(pair[i]) for pair in padding) for i in (0, 1))
    return _pad(x, low, high, (0,) * rank, value)


def _pad(x: Any, low: Sequence[int], high: Sequence[int], interior: Sequence[int], value: Number = 0) -> Any:
    if not any((*low, *high, *interior)):
        return x
    return apply(Pad(tuple(low), tuple(high), tuple(interior), Literal(value)), x)


def unslice(g: Any, shape: tuple[int, ...], starts: Sequence[int], steps: Sequence[int]) -> Any:
    """The adjoint of a slice: ``g`` in zeros of ``shape``, at start, start + step, ...   dg = the slice"""
    backwards = [i for i, (size, step) in enumerate(zip(g.shape, steps)) if step < 0 and size > 1]
    low, high, interior = [], [], []
    for n, size, start, step in zip(shape, g.shape, starts, steps):
        last = start + (size - 1) * step
        first = min(start, last) if size else 0
        end = max(start, last) + 1 if size else 0
        low.append(first)
        high.append(n - end)
        interior.append(abs(step) - 1 if size > 1 else 0)
    return _pad(flip(g, backwards) if backwards else g, low, high, interior)


def one_hot(ids: Any, classes: int, dtype: object = "float32") -> Any:
    """1 at the class, 0 elsewhere; an id out of range gives zeros.   ids (S...) -> (S..., classes)

    No gradient.
    """
    return apply(OneHot(classes, as_dtype(dtype)), ids)


def top_k(x: Any, k: int, largest: bool = True) -> tuple[Any, Any]:
    """The k largest (or smallest) along the last axis, best first, and their places, int64.

    x (..., n) -> values (..., k), ids (..., k); of equals the first wins.   dx = g at the places taken
    """
    values, ids = apply(TopK(k, largest), x)
    return values, ids


def cumsum(x: Any, axis: int = -1, reverse: bool = False) -> Any:
    """Running sums along ``axis``, or from its end (``reverse``).   dx = running sums of g the other way"""
    return apply(Cumsum(normalize_axis(axis, len(x.shape), "cumsum"), reverse), x)


@gradient_of(Gather)
def _gather(node: Node, g: Any) -> Any:
    x, ids = node.inputs
    axis = node.primitive.axis
    return lambda: apply(ScatterRows(axis, x.shape[axis]), ids, g), None


@gradient_of(ScatterRows)
def _scatter_rows(node: Node, g: Any) -> Any:
    return None, lambda: gather(g, node.inputs[0], node.primitive.axis)


@gradient_of(ScatterAdd)
def _scatter_add(node: Node, g: Any) -> Any:
    return g, None, lambda: gather(g, node.inputs[1], node.primitive.axis)


@gradient_of(TakeAlong)
def _take_along(node: Node, g: Any) -> Any:
    x, ids = node.inputs
    axis = node.primitive.axis
    return lambda: apply(ScatterAlong(axis, x.shape[axis]), ids, g), None


@gradient_of(ScatterAlong)
def _scatter_along(node: Node, g: Any) -> Any:
    return None, lambda: take_along(g, node.inputs[0], node.primitive.axis)


@gradient_of(Concatenate)
def _concatenate(node: Node, g: Any) -> Any:
    axis = node.primitive.axis
    return split(g, [x.shape[axis] for x in node.inputs], axis)


@gradient_of(Pad)
def _pad_gradient(node: Node, g: Any) -> Any:
    """What was cut off gets 0; the rest lies in g with steps of interior + 1."""
    p, (x,) = node.primitive, node.inputs
    assert isinstance(p, Pad)

    def inside() -> Any:
        cut = [max(0, -a) for a in p.low], [max(0, -a) for a in p.high]
        whole = _pad(g, *cut, (0,) * len(cut[0]))
        return slice_(whole, [max(0, a) for a in p.low], x.shape, [i + 1 for i in p.interior])

    return (inside,)


@gradient_of(TopK)
def _top_k(node: Node, g: Any, places: Any) -> Any:
    if g is None:
        return (None,)
    x, axis = node.inputs[0], len(node.inputs[0].shape) - 1
    return (lambda: apply(ScatterAlong(axis, x.shape[axis]), node.outputs[1], g),)


@gradient_of(Cumsum)
def _cumsum(node: Node, g: Any) -> Any:
    p = node.primitive
    assert isinstance(p, Cumsum)
    return (lambda: cumsum(g, p.axis, not p.reverse),)


@gradient_of(OneHot)
def _one_hot(node: Node, g: Any) -> Any:
    return (None,)
