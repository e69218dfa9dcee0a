"""Ops that gather, scatter, join, pad and select by place.  Places are integers and have no gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cortex_compute.errors import PlaceError, ShapeError
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
from cortex_core.ops.array import Array, Node
from cortex_core.ops.differentiate import gradient_of
from cortex_core.ops.lift import as_array, known, owned
from cortex_core.ops.table import integers, normal, op, sample
from cortex_core.ops.views import flip, narrow, reshape, slice_, squeeze


@op(
    sample(normal(4, 3), integers(2, 3, below=4)),
    sample(normal(2, 4), integers(5, below=4), 1),
    name="take",
    torch=lambda torch, x, ids, axis=0: torch.index_select(x, axis, ids.reshape(-1)).unflatten(
        axis, ids.shape
    ),
)
def gather(x: Any, ids: Any, axis: int = 0) -> Any:
    """The slices of x at ``ids`` along ``axis``.   x (A..., n, B...), ids (S...) -> (A..., S..., B...)

    An id out of range takes the nearest slice.   dx = the slices of g, added at their ids to zeros
    """
    return apply(Gather(normalize_axis(axis, len(x.shape), "gather")), x, ids)


@op(
    sample(normal(4, 3), 0, integers(5, below=4), normal(5, 3)),
    sample(normal(2, 4), 1, integers(3, below=4), normal(2, 3)),
)
def index_add(x: Any, dim: int, index: Any, source: Any) -> Any:
    """`scatter_add` with PyTorch's order of arguments.   dx = g, dsource = g at the places"""
    check_places("index_add", index, x.shape[normalize_axis(dim, len(x.shape), "index_add")])
    return scatter_add(x, index, source, dim)


@op(sample(normal(4, 3), 0, integers(5, below=4)), sample(normal(2, 4), 1, integers(3, below=4)))
def index_select(x: Any, dim: int, index: Any) -> Any:
    """`gather` with PyTorch's order of arguments.   dx = the slices of g, added at their places to zeros"""
    check_places("index_select", index, x.shape[normalize_axis(dim, len(x.shape), "index_select")])
    return gather(x, index, dim)


def scatter_add(x: Any, ids: Any, g: Any, axis: int = 0) -> Any:
    """x with the slices of ``g`` added at ``ids`` along ``axis``; ids that repeat add.

    x (A..., n, B...), ids (S...), g (A..., S..., B...) -> like x.   dx = h, dg = h at ids, where h is dy
    """
    return apply(ScatterAdd(normalize_axis(axis, len(x.shape), "scatter_add")), x, ids, g)


@op(
    sample(normal(4, 3), integers(4, 2, below=3), dim=-1),
    sample(normal(4, 3), integers(2, 3, below=4), dim=0),
    name="take_along_axis",
    aliases=("take_along_dim",),
    torch="take_along_dim",
)
def take_along(x: Any, ids: Any, axis: int = -1) -> Any:
    """For each element of ``ids`` the element of x at that place along ``axis``, as np.take_along_axis.

    x (A..., n, B...), ids (A..., m, B...) -> like ids, from 0 on.   dx = g added at the places to zeros
    """
    at = normalize_axis(axis, len(x.shape), "take_along")
    y = apply(TakeAlong(at), x, ids)
    check_places("take_along", ids, x.shape[at])
    return y


@op(
    sample(normal(4, 3), 1, integers(4, 5, below=3)),
    sample(normal(4, 3, 2), 0, integers(2, 1, 2, below=4)),
    name="gather",
)
def gatherelements(x: Any, dim: int, index: Any) -> Any:
    """y[..., i, ...] = x[..., index[..., i, ...], ...]: each element has its own place along ``dim``.

    ``index`` may be shorter than x along the other axes.   dx = g added at the places to zeros
    """
    at, index = elements("gather", x, dim, index)
    sizes = [n if a == at else m for a, (n, m) in enumerate(zip(x.shape, index.shape))]
    part = x if tuple(sizes) == x.shape else slice_(x, [0] * len(sizes), sizes)
    return apply(TakeAlong(at), part, index)


@op(
    sample(normal(4, 3), 1, integers(4, 5, below=3), normal(4, 5)),
    sample(normal(4, 3), 0, integers(2, 2, below=4), normal(2, 2)),
    name="scatter_add",
)
def scatter_addelements(x: Any, dim: int, index: Any, src: Any) -> Any:
    """x with src[..., i, ...] added at [..., index[..., i, ...], ...]: the adjoint of `gather` with ``dim``.

    ``index`` may be shorter than x and ``src`` along the other axes.   dx = g, dsrc = g at the places, else 0
    """
    at, index = elements("scatter_add", x, dim, index)
    part = corner("scatter_add", src, index)
    added = apply(ScatterAlong(at, x.shape[at]), index, part)
    return x + pad(added, [[0, n - m] for n, m in zip(x.shape, added.shape)])


def elements(what: str, x: Any, dim: int, index: Any) -> tuple[int, Any]:
    """The axis, and the index, checked: its shape, and its numbers where they are known."""
    at, index = normalize_axis(dim, len(x.shape), what), as_array(index)
    others = (a != at and m > n for a, (n, m) in enumerate(zip(x.shape, index.shape)))
    if len(index.shape) != len(x.shape) or any(others):
        raise ShapeError(f"{what}: index {index.shape} must fit into x {x.shape} on every axis but {at}")
    check_places(what, index, x.shape[at])
    return at, index


def corner(what: str, src: Any, index: Any) -> Any:
    """The first elements of ``src`` along each axis, as many as ``index`` has."""
    if len(src.shape) != len(index.shape) or any(n > m for n, m in zip(index.shape, src.shape)):
        raise ShapeError(f"{what}: index {index.shape} reaches beyond src {src.shape}")
    return src if src.shape == index.shape else slice_(src, [0] * len(src.shape), index.shape)


def check_places(what: str, ids: Any, size: int) -> None:
    """Rejects places outside 0 ... size - 1, if their numbers are known."""
    if not known(ids):
        return
    places = np.asarray(ids)
    if places.size and not ((low := places.min()) >= 0 and places.max() < size):
        found = low if low < 0 else places.max()
        raise PlaceError(f"{what}: there is no place {found} on an axis of {size}; needs 0 to {size - 1}")


@op(
    sample([normal(2, 3), normal(4, 3)], dim=0),
    sample([normal(2, 3), normal(2, 1), normal(2, 0)], dim=-1),
    name="cat",
    aliases=("concatenate", "concat"),
    method=False,
)
def concatenate(arrays: Sequence[Any], axis: int = 0) -> Any:
    """The arrays one after the other along ``axis``.   dx_k = the part of g where x_k lies"""
    arrays = several("cat", arrays)
    return apply(Concatenate(normalize_axis(axis, len(arrays[0].shape), "concatenate")), *arrays)


def several(what: str, arrays: Any) -> list[Any]:
    """The arrays that an op joins."""
    if isinstance(arrays, Array):
        raise ShapeError(
            f"{what}: needs a list of tensors, {what}([a, b]), and got one of {as_array(arrays).type}"
        )
    if not len(arrays):
        raise ShapeError(f"{what}: needs at least one array")
    return [as_array(x) for x in arrays]


@op(sample([normal(2, 3), normal(2, 3)]), sample([normal(2), normal(2)], dim=-1), method=False)
def stack(arrays: Sequence[Any], axis: int = 0) -> Any:
    """The arrays, all of one shape, side by side along a new axis.   dx_k = g at k"""
    arrays = several("stack", arrays)
    shape = arrays[0].shape
    for i, x in enumerate(arrays):
        if x.shape != shape:
            raise ShapeError(f"stack: array {i} has shape {x.shape}, array 0 has {shape}")
    at = normalize_axis(axis, len(shape) + 1, "stack")
    return concatenate([reshape(x, (*shape[:at], 1, *shape[at:])) for x in arrays], at)


@op(sample(normal(5, 2), 2), sample(normal(2, 6), [1, 0, 5], dim=1))
def split(x: Any, sizes: int | Sequence[int], axis: int = 0) -> list[Any]:
    """x cut along ``axis`` into pieces of the sizes given; one size is that of each, but of a smaller last.

    They are views.   dx = the gradients of the pieces, one after the other
    """
    at = normalize_axis(axis, len(x.shape), "split")
    n = x.shape[at]
    if isinstance(sizes, (int, np.integer)):
        if sizes < 1:
            raise ShapeError(f"split: pieces of size {sizes}; needs at least 1")
        sizes = [min(sizes, n - start) for start in range(0, max(n, 1), sizes)]
    if sum(sizes) != n or min(sizes, default=0) < 0:
        raise ShapeError(f"split: the sizes {list(sizes)} do not add up to axis {at} of shape {x.shape}")
    return [narrow(x, at, sum(sizes[:i]), size) for i, size in enumerate(sizes)]


@op(sample(normal(7, 2), 3), sample(normal(2, 6), 3, dim=1))
def chunk(x: Any, chunks: int, axis: int = 0) -> list[Any]:
    """x cut along ``axis`` into at most so many pieces of one size, the last one perhaps smaller.

    They are views.   dx = the gradients of the pieces, one after the other
    """
    if chunks < 1:
        raise ShapeError(f"chunk: {chunks} pieces; needs at least 1")
    n = x.shape[normalize_axis(axis, len(x.shape), "chunk")]
    return split(x, max(1, -(-n // chunks)), axis)


@op(sample(normal(3, 2)), sample(normal(3, 2), dim=-1))
def unbind(x: Any, axis: int = 0) -> list[Any]:
    """The slices along ``axis``, each without it.   dx = the gradients of the slices, side by side"""
    at = normalize_axis(axis, len(x.shape), "unbind")
    return [squeeze(piece, at) for piece in (split(x, 1, at) if x.shape[at] else [])]


@op(
    sample(normal(2, 3), [[1, 0], [2, 1]], 0.5),
    sample(normal(4, 3), [[-1, 0], [0, 2]]),
    torch=lambda torch, x, padding, value=0.0: torch.nn.functional.pad(
        x, [*padding[1], *padding[0]], value=value
    ),
)
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


@op(
    sample(integers(2, 3, below=4), 4),
    gradient=False,
    method=False,
    torch=lambda torch, ids, classes: torch.nn.functional.one_hot(ids, classes).float(),
)
def one_hot(ids: Any, classes: int, dtype: object = "float32") -> Any:
    """1 at the class, 0 elsewhere; an id out of range gives zeros.   ids (S...) -> (S..., classes)

    No gradient: places have none.
    """
    return apply(OneHot(classes, as_dtype(dtype)), ids)


def top_k(x: Any, k: int, largest: bool = True) -> tuple[Any, Any]:
    """The k largest (or smallest) along the last axis, best first, and their places, int64.

    x (..., n) -> values (..., k), ids (..., k); of equals the first wins.   dx = g at the places taken
    """
    values, ids = apply(TopK(k, largest), x)
    return values, ids


@op(sample(normal(2, 3), dim=0), sample(normal(2, 3, 2), dim=-2))
def cumsum(x: Any, axis: int = -1, reverse: bool = False) -> Any:
    """Running sums along ``axis``, or from its end (``reverse``).   dx = running sums of g the other way"""
    return apply(Cumsum(normalize_axis(axis, len(x.shape), "cumsum"), reverse), x)


@op(sample(normal(5), dim=0), sample(normal(2, 3, 2), dim=-2), sample(np.array([2.0, 0.0, 3.0, 0.0]), dim=0))
def cumprod(x: Any, axis: int) -> Any:
    """Running products along ``axis``: of one, two, four and so on neighbours, from those of half as many.

    dx_i = the sum over j >= i of g_j times the product of the others up to j
    """
    at = normalize_axis(axis, len(x.shape), "cumprod")
    y, n, reach = owned(x, x) if x.shape[at] < 2 else x, x.shape[at], 1
    while reach < n:
        before = [[reach if a == at else 0, 0] for a in range(len(x.shape))]
        y = y * pad(narrow(y, at, 0, n - reach), before, 1)
        reach *= 2
    return y


@gradient_of(Gather)
def _gather(node: Node, g: Any) -> Any:
    """A slice counts once for each time it is taken: dx = g added at the ids"""
    x, ids = node.inputs
    axis = node.primitive.axis

    def rows() -> Any:
        primitive = ScatterRows(axis, x.shape[axis])
        made = node.kind.deferred(primitive, ids, g)
        return apply(primitive, ids, g) if made is None else made

    return rows, None


@gradient_of(ScatterRows)
def _scatter_rows(node: Node, g: Any) -> Any:
    """g at the ids: each slice is read where it was added"""
    return None, lambda: gather(g, node.inputs[0], node.primitive.axis)


@gradient_of(ScatterAdd)
def _scatter_add(node: Node, g: Any) -> Any:
    """y = x + what is scattered: dx = h, dg = h at the ids"""
    return g, None, lambda: gather(g, node.inputs[1], node.primitive.axis)


@gradient_of(TakeAlong)
def _take_along(node: Node, g: Any) -> Any:
    """An element counts once for each time it is taken: dx = g added at the places"""
    x, ids = node.inputs
    axis = node.primitive.axis
    return lambda: apply(ScatterAlong(axis, x.shape[axis]), ids, g), None


@gradient_of(ScatterAlong)
def _scatter_along(node: Node, g: Any) -> Any:
    """dg = what is at its place"""
    return None, lambda: apply(TakeAlong(node.primitive.axis), g, node.inputs[0])


@gradient_of(Concatenate)
def _concatenate(node: Node, g: Any) -> Any:
    """dx_k = the part of g where x_k lies"""
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
    """dx = g at the places of the k best, else 0: a small change of x changes no place"""
    if g is None:
        return (None,)
    x, axis = node.inputs[0], len(node.inputs[0].shape) - 1
    return (lambda: apply(ScatterAlong(axis, x.shape[axis]), node.outputs[1], g),)


@gradient_of(Cumsum)
def _cumsum(node: Node, g: Any) -> Any:
    """x_i counts in all sums from y_i on: dx_i = g_i + g_(i+1) + ..."""
    p = node.primitive
    assert isinstance(p, Cumsum)
    return (lambda: cumsum(g, p.axis, not p.reverse),)


@gradient_of(OneHot)
def _one_hot(node: Node, g: Any) -> Any:
    """Places have no gradient."""
    return (None,)
