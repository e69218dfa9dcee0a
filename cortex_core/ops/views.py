"""Ops that only look at memory differently: reshape, transpose, slices, broadcasts."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from cortex_compute.errors import DTypeError, PlaceError, ShapeError
from cortex_compute.primitives.views import Broadcast, Reshape, Slice, Transpose, View
from cortex_compute.types import normalize_axes, normalize_axis
from cortex_core.ops.apply import apply
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import gradient_of
from cortex_core.ops.lift import listed
from cortex_core.ops.table import normal, op, sample


@op(
    sample(normal(2, 6), (3, 4)),
    sample(normal(2, 6), -1, 3),
    sample(normal(0, 3), (3, 0)),
    aliases=("view",),
    torch=lambda torch, x, *shape: x.reshape(*shape),
)
def reshape(x: Any, *shape: Any) -> Any:
    """The same elements in row-major order; one size may be -1.   dx = g reshaped back

    ``shape`` is one tuple, or its sizes.
    """
    sizes = listed(shape)
    if -1 in sizes:
        known = math.prod(n for n in sizes if n != -1)
        if sizes.count(-1) > 1 or not known or math.prod(x.shape) % known:
            raise ShapeError(f"reshape: {x.shape} cannot become {sizes}")
        sizes = tuple(math.prod(x.shape) // known if n == -1 else n for n in sizes)
    if min(sizes, default=0) < 0:
        raise ShapeError(f"reshape: {x.shape} cannot become {sizes}: one size may be -1, the others not")
    return x if sizes == x.shape else apply(_view(Reshape, sizes), x)


@lru_cache(maxsize=4096)
def _view(kind: Callable[[tuple[int, ...]], View], shape: tuple[int, ...]) -> View:
    """A view, made once: eager code asks for the same few again and again."""
    return kind(shape)


@op(sample(normal(2, 3), normal(3, 2)), torch=lambda torch, x, other: x.view_as(other))
def view_as(x: Any, other: Any) -> Any:
    """`reshape` to the shape of ``other``.   dx = g reshaped back;  nothing flows to ``other``"""
    return reshape(x, other.shape)


@op(sample(normal(2, 6), 1, (2, -1)), sample(normal(4, 3), 0, (2, 2)))
def unflatten(x: Any, dim: int, sizes: Sequence[int]) -> Any:
    """One axis as several, of which one size may be -1: `flatten` undone.   dx = g reshaped back"""
    at, parts = normalize_axis(dim, len(x.shape), "unflatten"), listed((sizes,))
    known = math.prod(n for n in parts if n != -1)
    if parts.count(-1) == 1 and known:
        parts = tuple(x.shape[at] // known if n == -1 else n for n in parts)
    if -1 in parts or math.prod(parts) != x.shape[at]:
        raise ShapeError(f"unflatten: axis {at} of shape {x.shape} cannot become {tuple(sizes)}")
    return reshape(x, (*x.shape[:at], *parts, *x.shape[at + 1 :]))


@op(sample(normal(2, 3, 4), 1), sample(normal(2, 3, 4), 0, 1), sample(normal()))
def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """The axes from ``start_dim`` to ``end_dim`` as one.   dx = g reshaped back"""
    if not x.shape:
        return reshape(x, (1,))
    first, last = (normalize_axis(a, len(x.shape), "flatten") for a in (start_dim, end_dim))
    if first > last:
        raise ShapeError(f"flatten: start_dim {start_dim} lies behind end_dim {end_dim} in shape {x.shape}")
    return reshape(x, (*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :]))


@op(sample(normal(2, 3)), sample(normal()))
def ravel(x: Any) -> Any:
    """All elements on one axis.   dx = g reshaped back"""
    return flatten(x)


@op(sample(normal(2, 1, 3, 1)), sample(normal(2, 1, 1), dim=-1), sample(normal(1, 1, 3), dim=(0, 2)))
def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Any:
    """Without the axes of size 1 among ``axis`` (default: all); others stay.   dx = g reshaped back"""
    axes = normalize_axes(axis, len(x.shape), "squeeze")
    return reshape(x, tuple(n for a, n in enumerate(x.shape) if a not in axes or n != 1))


@op(sample(normal(2, 3), dim=1), sample(normal(2, 3), dim=-1), aliases=("expand_dims",))
def unsqueeze(x: Any, axis: int) -> Any:
    """With a new axis of size 1 at ``axis``.   dx = g reshaped back"""
    at = normalize_axis(axis, len(x.shape) + 1, "unsqueeze")
    return reshape(x, (*x.shape[:at], 1, *x.shape[at:]))


@op(sample(normal(2, 3, 4), 0, 2), sample(normal(2, 3), -1, 0))
def transpose(x: Any, *axes: Any) -> Any:
    """Two axes swapped, or all in the order of one sequence; without either reversed.   dx = g put back"""
    if len(axes) == 2:
        return swapaxes(x, *axes)
    given = axes[0] if len(axes) == 1 else axes or None
    if isinstance(given, int):
        raise ShapeError(f"transpose: one axis, {given}, does not say with which to swap it; give two")
    return _ordered("transpose", x, range(len(x.shape))[::-1] if given is None else given)


@op(sample(normal(2, 3)), sample(normal(4)))
def t(x: Any) -> Any:
    """A matrix with rows and columns swapped; a vector or a number as it is.   dx = g put back"""
    if len(x.shape) > 2:
        raise ShapeError(f"t: needs at most two axes, got shape {x.shape}; mT swaps the last two")
    return transpose(x)


@op(sample(normal(2, 3, 4), (2, 0, 1)), torch="permute")
def permute(x: Any, *axes: Any) -> Any:
    """The axes in the order given, as one sequence or as numbers.   dx = g with the axes put back"""
    return _ordered("permute", x, listed(axes))


def _ordered(what: str, x: Any, axes: Sequence[int]) -> Any:
    rank = len(x.shape)
    order = tuple(normalize_axis(a, rank, what) for a in axes)
    if sorted(order) != list(range(rank)):
        raise ShapeError(f"{what}: axes {tuple(axes)} are no order of the {rank} axes of shape {x.shape}")
    return x if order == tuple(range(rank)) else apply(_view(Transpose, order), x)


@op(sample(normal(2, 3, 4), 0, -1), aliases=("swapdims",))
def swapaxes(x: Any, axis0: int, axis1: int) -> Any:
    """Two axes swapped.   dx = g with them swapped back"""
    order = list(range(len(x.shape)))
    a, b = (normalize_axis(axis, len(order), "swapaxes") for axis in (axis0, axis1))
    order[a], order[b] = b, a
    return _ordered("swapaxes", x, order)


@op(sample(normal(2, 3, 4), 0, -1), sample(normal(2, 3, 4), (0, 1), (2, 0)), aliases=("movedim",))
def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Any:
    """The axes ``source`` moved to ``destination``; the others keep their order.   dx = g moved back"""
    rank = len(x.shape)
    places = [
        [normalize_axis(a, rank, "moveaxis") for a in listed((axes,))] for axes in (source, destination)
    ]
    if any(len(set(listed)) != len(places[0]) for listed in places):
        raise ShapeError(f"moveaxis: {source} and {destination} must name as many axes, each once")
    order = [a for a in range(rank) if a not in places[0]]
    for to, axis in sorted(zip(places[1], places[0])):
        order.insert(to, axis)
    return _ordered("moveaxis", x, order)


@op(sample(normal(2, 1, 3), (2, 4, 3)), sample(normal(3), (2, 3)), sample(normal(), (2,)))
def broadcast_to(x: Any, shape: Sequence[int]) -> Any:
    """x repeated by NumPy's rule.   dx = g summed over the repeated axes"""
    return x if tuple(shape) == x.shape else apply(_view(Broadcast, tuple(shape)), x)


@op(
    sample(normal(2, 1, 3), -1, 4, -1),
    sample(normal(3), (2, 3)),
    torch=lambda torch, x, *sizes: x.expand(*sizes),
)
def expand(x: Any, *sizes: Any) -> Any:
    """x repeated to these sizes, of which -1 keeps what x has.   dx = g summed over the repeated axes"""
    shape = listed(sizes)
    front = len(shape) - len(x.shape)
    if front < 0 or -1 in shape[:front]:
        raise ShapeError(f"expand: shape {x.shape} cannot become {shape}: name every axis, -1 only old ones")
    return broadcast_to(x, [x.shape[i - front] if n == -1 else n for i, n in enumerate(shape)])


@op(sample(normal(3, 1), normal(2, 3, 4)), torch=lambda torch, x, other: x.expand_as(other))
def expand_as(x: Any, other: Any) -> Any:
    """x repeated to the shape of ``other``.   dx = g summed over the repeats;  nothing flows to ``other``"""
    return expand(x, other.shape)


def slice_(x: Any, starts: Sequence[int], sizes: Sequence[int], steps: Sequence[int] | None = None) -> Any:
    """x[start : start + size * step : step] along every axis.   dx = g in a field of zeros"""
    steps = (1,) * len(x.shape) if steps is None else tuple(steps)
    return apply(Slice(tuple(starts), tuple(sizes), steps), x)


@op(sample(normal(4, 3), dim=0, start=1, length=2), sample(normal(4, 3), dim=1, start=0, length=0))
def narrow(x: Any, axis: int, start: int, length: int) -> Any:
    """The part of ``length`` from ``start`` along ``axis``.   dx = g in a field of zeros"""
    at = normalize_axis(axis, len(x.shape), "narrow")
    if not 0 <= start <= start + length <= x.shape[at]:
        raise ShapeError(f"narrow: {start} + {length} leaves axis {at} of shape {x.shape}")
    starts = [start if i == at else 0 for i in range(len(x.shape))]
    return slice_(x, starts, [length if i == at else n for i, n in enumerate(x.shape)])


@op(sample(normal(4, 3), (0,)), sample(normal(2, 3, 4), dims=(0, -1)))
def flip(x: Any, axis: int | Sequence[int], *more: int) -> Any:
    """x backwards along ``axis``: one, several, or a sequence.   dx = g backwards"""
    axes = normalize_axes(listed((axis, *more)), len(x.shape), "flip")
    starts = [n - 1 if i in axes and n else 0 for i, n in enumerate(x.shape)]
    return slice_(x, starts, x.shape, [-1 if i in axes else 1 for i in range(len(x.shape))])


@op(sample(normal(3, 4)), sample(normal(3, 4), 1), sample(normal(2, 3, 4), -1, 0, 2), sample(normal(3, 4), 9))
def diagonal(x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """x[..., i, i + offset] over the axes ``dim1`` and ``dim2``, as the last axis.

    dx = g on the diagonal, 0 elsewhere.  Along the two axes, flattened, it is every (columns + 1)-th element.
    """
    x = moveaxis(x, (dim1, dim2), (-2, -1))
    *rest, rows, columns = x.shape
    size = max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))
    start = (offset if offset >= 0 else -offset * columns) if size else 0
    flat = reshape(x, (*rest, rows * columns))
    return slice_(flat, [0] * len(rest) + [start], [*rest, size], [1] * len(rest) + [columns + 1])


def index(x: Any, key: Any) -> Any:
    """Basic indexing: integers, slices, None and Ellipsis; always a view."""
    keys = key if isinstance(key, tuple) else (key,)
    plain = tuple([(k.start, k.stop, k.step) if isinstance(k, slice) else k for k in keys])
    part, shape = _part(plain, tuple(map(type, keys)), x.shape)
    return reshape(x if part is None else apply(part, x), shape)


@lru_cache(maxsize=4096)
def _part(
    keys: tuple[Any, ...], _types: tuple[type, ...], whole: tuple[int, ...]
) -> tuple[Slice | None, tuple[int, ...]]:
    """The slice that an index takes of an array of shape ``whole``, and the shape that it then has.

    A slice stands in ``keys`` as (start, stop, step).
    """
    rank = len(whole)
    given = sum(k is not None and k is not Ellipsis for k in keys)
    if given > rank:
        raise PlaceError(f"index: {given} indices for shape {whole}")
    dots = [k is Ellipsis for k in keys].count(True)
    if dots > 1:
        raise ShapeError("index: more than one Ellipsis does not say which axes it stands for")
    starts: list[int] = []
    sizes: list[int] = []
    steps: list[int] = []
    shape: list[int] = []
    for k in keys if dots else (*keys, Ellipsis):
        axis = len(starts)
        if k is None:
            shape.append(1)
        elif k is Ellipsis:
            fill = rank - given
            starts += [0] * fill
            steps += [1] * fill
            sizes += whole[axis : axis + fill]
            shape += whole[axis : axis + fill]
        elif isinstance(k, tuple):
            run = range(*slice(*k).indices(whole[axis]))
            starts.append(run.start if len(run) else 0)
            steps.append(run.step)
            sizes.append(len(run))
            shape.append(len(run))
        else:
            starts.append(_place(k, axis, whole))
            steps.append(1)
            sizes.append(1)
    everything = tuple(sizes) == whole and all(s == 1 for s in steps)
    return None if everything else Slice(tuple(starts), tuple(sizes), tuple(steps)), tuple(shape)


def _place(k: Any, axis: int, shape: tuple[int, ...]) -> int:
    try:
        place = operator.index(k)
    except TypeError:
        raise DTypeError(
            f"index: {k!r:.60} is no integer, slice, None, Ellipsis, mask or index array"
        ) from None
    if not -shape[axis] <= place < shape[axis]:
        raise PlaceError(f"index: there is no place {place} on axis {axis} of shape {shape}")
    return place % shape[axis]


@gradient_of(Reshape)
def _reshape(node: Node, g: Any) -> Any:
    """The elements stay: dx = g in the old shape"""
    return (lambda: reshape(g, node.inputs[0].shape),)


@gradient_of(Transpose)
def _transpose(node: Node, g: Any) -> Any:
    """The elements stay: dx = g with the axes put back"""
    axes = node.primitive.axes
    return (lambda: transpose(g, [axes.index(i) for i in range(len(axes))]),)


@gradient_of(Broadcast)
def _broadcast(node: Node, g: Any) -> Any:
    """An element counts once for each copy: dx = g summed over the copies"""
    from cortex_core.ops.reduce import sum_to

    return (lambda: sum_to(g, node.inputs[0].shape),)


@gradient_of(Slice)
def _slice(node: Node, g: Any) -> Any:
    """What was left out has no influence: dx = g in a field of zeros"""
    from cortex_core.ops.indexing import unslice

    p = node.primitive
    return (lambda: unslice(g, node.inputs[0].shape, p.starts, p.steps),)
