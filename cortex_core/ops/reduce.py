"""Reductions over axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from cortex_compute.errors import CortexError
from cortex_compute.primitives.reduce import Reduce
from cortex_compute.types import normalize_axes
from cortex_core.ops.apply import apply
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import decomposition_of, gradient_of
from cortex_core.ops.indexing import pad
from cortex_core.ops.pointwise import cast, divide, equal, select
from cortex_core.ops.table import normal, op, sample
from cortex_core.ops.views import broadcast_to, reshape, transpose

Axes = int | Sequence[int] | None


def reduce(kind: str, x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """``kind`` (sum, mean, prod, max, min, argmax, argmin) over ``axis``: one, several, or None for all."""
    axes = normalize_axes(axis, len(x.shape), kind)
    if not axes and x.dtype.kind == "float" and kind not in ("argmax", "argmin"):
        return x
    return apply(Reduce(kind, axes, keepdims), x)


@op(sample(normal(2, 3, 4), dim=(0, 2), keepdim=True), sample(normal(2, 3), dim=1), sample(normal(2, 3)))
def sum(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """The sum over ``axis``.   dx = g, repeated along it: each element counts once"""
    return reduce("sum", x, axis, keepdims)


def mean(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """The mean over ``axis``.   dx = g / n, repeated"""
    return reduce("mean", x, axis, keepdims)


def prod(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """The product over ``axis``."""
    return reduce("prod", x, axis, keepdims)


def max(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """The largest along ``axis``; equal ones share the gradient."""
    return reduce("max", x, axis, keepdims)


def min(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """The smallest along ``axis``; equal ones share the gradient."""
    return reduce("min", x, axis, keepdims)


def argmax(x: Any, axis: int = -1, keepdims: bool = False) -> Any:
    """The place of the largest along one axis, int64; the first wins.  No gradient."""
    return reduce("argmax", x, axis, keepdims)


def argmin(x: Any, axis: int = -1, keepdims: bool = False) -> Any:
    """The place of the smallest along one axis, int64; the first wins.  No gradient."""
    return reduce("argmin", x, axis, keepdims)


def sum_to(x: Any, shape: tuple[int, ...]) -> Any:
    """``x`` summed over the axes along which ``shape`` would be broadcast to its shape."""
    if x.shape == shape:
        return x
    front = len(x.shape) - len(shape)
    axes = tuple(i for i in range(len(x.shape)) if i < front or (shape[i - front] == 1 and x.shape[i] != 1))
    out = apply(Reduce("sum", axes), x) if axes else x
    return out if out.shape == shape else reshape(out, shape)


@gradient_of(Reduce)
def _reduce(node: Node, g: Any) -> Any:
    """sum: dx = g;  mean: g / n;  max, min: g shared by the places of the extreme;  prod: decomposed"""
    p, (x,) = node.primitive, node.inputs
    assert isinstance(p, Reduce)
    assert p.body is None, "bodies are fused after differentiation"
    if p.kind in ("argmax", "argmin") or x.dtype.kind != "float":
        return (None,)
    kept = tuple(1 if i in p.axes else n for i, n in enumerate(x.shape))
    g = reshape(g, kept)
    if p.kind == "mean":
        g = divide(g, float(math.prod(x.shape[a] for a in p.axes)))
    if p.kind in ("sum", "mean"):
        return (broadcast_to(g, x.shape),)
    if p.kind == "prod":
        return NotImplemented
    hit = equal(x, reshape(node.outputs[0], kept))
    count = sum(cast(hit, x.dtype), p.axes, keepdims=True)
    return (select(hit, divide(g, count), 0.0),)


@decomposition_of(Reduce)
def _prod(p: Reduce, x: Any) -> Any:
    """A product as pairs of factors, pairs of pairs and so on: y / x is no gradient where a factor is 0."""
    if p.kind != "prod":
        raise CortexError(f"Reduce {p.kind} has no decomposition")
    kept = [n for a, n in enumerate(x.shape) if a not in p.axes]
    turned = transpose(x, [*p.axes, *(a for a in range(x.ndim) if a not in p.axes)])
    left = reshape(turned, (math.prod(x.shape[a] for a in p.axes), *kept))
    while (n := left.shape[0]) != 1:
        even = pad(left, [[0, n % 2 if n else 2], *([0, 0] for _ in kept)], 1)
        left = even[0::2] * even[1::2]
    return reshape(left, p.infer(x.type)[0].shape)
