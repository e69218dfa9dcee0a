"""Ops that only look at memory differently: reshape, transpose, slices, broadcasts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from cortex_compute.errors import ShapeError
from cortex_compute.primitives.views import Broadcast, Reshape, Slice, Transpose
from cortex_compute.types import normalize_axis
from cortex_core.ops.apply import apply
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import gradient_of


def reshape(x: Any, shape: Sequence[int]) -> Any:
    """The same elements in row-major order; one size may be -1.   dx = g reshaped back"""
    sizes = tuple(shape)
    if -1 in sizes:
        known = math.prod(n for n in sizes if n != -1)
        if sizes.count(-1) > 1 or not known or math.prod(x.shape) % known:
            raise ShapeError(f"reshape: {x.shape} cannot become {sizes}")
        sizes = tuple(math.prod(x.shape) // known if n == -1 else n for n in sizes)
    return x if sizes == x.shape else apply(Reshape(sizes), x)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """The axes in another order (default: reversed).   dx = g with the axes put back"""
    rank = len(x.shape)
    order = range(rank)[::-1] if axes is None else [normalize_axis(a, rank, "transpose") for a in axes]
    return x if list(order) == list(range(rank)) else apply(Transpose(tuple(order)), x)


def broadcast_to(x: Any, shape: Sequence[int]) -> Any:
    """x repeated by NumPy's rule.   dx = g summed over the repeated axes"""
    return x if tuple(shape) == x.shape else apply(Broadcast(tuple(shape)), x)


def slice_(x: Any, starts: Sequence[int], sizes: Sequence[int], steps: Sequence[int] | None = None) -> Any:
    """x[start : start + size * step : step] along every axis.   dx = g in a field of zeros"""
    steps = (1,) * len(x.shape) if steps is None else tuple(steps)
    return apply(Slice(tuple(starts), tuple(sizes), steps), x)


def flip(x: Any, axis: int | Sequence[int]) -> Any:
    """x backwards along ``axis``.   dx = g backwards"""
    listed = (axis,) if isinstance(axis, int) else axis
    axes = {normalize_axis(a, len(x.shape), "flip") for a in listed}
    starts = [n - 1 if i in axes and n else 0 for i, n in enumerate(x.shape)]
    return slice_(x, starts, x.shape, [-1 if i in axes else 1 for i in range(len(x.shape))])


def index(x: Any, key: Any) -> Any:
    """Basic indexing: integers, slices, None and Ellipsis; always a view."""
    keys = key if isinstance(key, tuple) else (key,)
    rank = len(x.shape)
    given = sum(k is not None and k is not Ellipsis for k in keys)
    if given > rank:
        raise ShapeError(f"index: {given} indices for shape {x.shape}")
    if Ellipsis not in [k for k in keys if k is None or k is Ellipsis]:
        keys = (*keys, Ellipsis)
    starts: list[int] = []
    sizes: list[int] = []
    steps: list[int] = []
    shape: list[int] = []
    for k in keys:
        axis = len(starts)
        if k is None:
            shape.append(1)
        elif k is Ellipsis:
            fill = rank - given
            starts += [0] * fill
            steps += [1] * fill
            sizes += x.shape[axis : axis + fill]
            shape += x.shape[axis : axis + fill]
            given = rank
        elif isinstance(k, slice):
            run = range(*k.indices(x.shape[axis]))
            starts.append(run.start if len(run) else 0)
            steps.append(run.step)
            sizes.append(len(run))
            shape.append(len(run))
        else:
            starts.append(normalize_axis(int(k), x.shape[axis], f"index on axis {axis} of shape {x.shape}"))
            steps.append(1)
            sizes.append(1)
    whole = tuple(sizes) == x.shape and all(s == 1 for s in steps)
    return reshape(x if whole else slice_(x, starts, sizes, steps), shape)


@gradient_of(Reshape)
def _reshape(node: Node, g: Any) -> Any:
    return (lambda: reshape(g, node.inputs[0].shape),)


@gradient_of(Transpose)
def _transpose(node: Node, g: Any) -> Any:
    axes = node.primitive.axes
    return (lambda: transpose(g, [axes.index(i) for i in range(len(axes))]),)


@gradient_of(Broadcast)
def _broadcast(node: Node, g: Any) -> Any:
    from cortex_core.ops.reduce import sum_to

    return (lambda: sum_to(g, node.inputs[0].shape),)


@gradient_of(Slice)
def _slice(node: Node, g: Any) -> Any:
    from cortex_core.ops.indexing import unslice

    p = node.primitive
    return (lambda: unslice(g, node.inputs[0].shape, p.starts, p.steps),)
