"""Reductions over axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from cortex_compute.errors import CortexError, ShapeError
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.primitives.reduce import Reduce
from cortex_compute.types import normalize_axes
from cortex_core.ops.apply import apply
from cortex_core.ops.array import Array, Node
from cortex_core.ops.differentiate import decomposition_of, gradient_of
from cortex_core.ops.formulas import isclose, square
from cortex_core.ops.indexing import pad
from cortex_core.ops.lift import owned
from cortex_core.ops.pointwise import absolute, cast, divide, equal, not_equal, pointwise, select, sqrt
from cortex_core.ops.table import booleans, distinct, integers, normal, op, sample
from cortex_core.ops.views import broadcast_to, reshape, transpose

Axes = int | Sequence[int] | None


def reduce(kind: str, x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """``kind`` (sum, mean, prod, max, min, argmax, argmin) over ``axis``: one, several, or None for all."""
    rank = len(x.shape)
    if not rank and x.dtype.kind == "float" and kind not in ("argmax", "argmin"):
        return owned(x, x)
    primitive = _reduction(kind, tuple(axis) if isinstance(axis, list) else axis, rank, keepdims)
    if not primitive.axes and x.dtype.kind == "float":
        return owned(x, x)
    return apply(primitive, x)


@lru_cache(maxsize=1024)
def _reduction(kind: str, axis: int | tuple[int, ...] | None, rank: int, keepdims: bool) -> Reduce:
    if isinstance(axis, Array):
        two = f"; of two tensors take {kind}imum(a, b)" if kind in ("max", "min") else ""
        raise ShapeError(f"{kind}: the axis is a tensor of {axis.type}; needs whole numbers{two}")
    if isinstance(axis, (float, str)):
        raise ShapeError(f"{kind}: the axis is {axis!r}; needs whole numbers")
    return Reduce(kind, normalize_axes(axis, rank, kind), keepdims)


@op(sample(normal(2, 3, 4), dim=(0, 2), keepdim=True), sample(normal(2, 3), dim=1), sample(normal(2, 3)))
def sum(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """The sum over ``axis``.   dx = g, repeated along it: each element counts once"""
    return reduce("sum", x, axis, keepdims)


@op(sample(normal(2, 3, 4), dim=(0, 2), keepdim=True), sample(normal(2, 3), dim=1), sample(normal(2, 3)))
def mean(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """The mean over ``axis``.   dx = g / n, repeated along it"""
    return reduce("mean", x, axis, keepdims)


@op(sample(normal(2, 3), dim=1, keepdim=True), sample(normal(2, 3)), sample(normal(2, 3, 4), dim=0))
def prod(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """The product over ``axis``.   dx = g times the product of the other elements"""
    return reduce("prod", x, axis, keepdims)


@op(
    sample(distinct(2, 3, 4), dim=(0, 2), keepdim=True),
    sample(distinct(2, 3), dim=1),
    sample(distinct(2, 3)),
    torch="amax",
    aliases=("amax",),
)
def max(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """The largest along ``axis``.   dx = g at the largest; equal ones share it"""
    return reduce("max", x, axis, keepdims)


@op(
    sample(distinct(2, 3, 4), dim=(0, 2), keepdim=True),
    sample(distinct(2, 3), dim=1),
    sample(distinct(2, 3)),
    torch="amin",
    aliases=("amin",),
)
def min(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """The smallest along ``axis``.   dx = g at the smallest; equal ones share it"""
    return reduce("min", x, axis, keepdims)


PLACES = sample(distinct(2, 3), dim=1), sample(distinct(2, 3, 4), dim=0, keepdim=True), sample(distinct(2, 3))


@op(*PLACES, gradient=False)
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The place of the largest along ``axis``, or in all of x as if flat; int64; of equals the first wins.

    No gradient: places have none.
    """
    return _place("argmax", x, axis, keepdims)


@op(*PLACES, gradient=False)
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The place of the smallest along ``axis``, or in all of x as if flat; int64; of equals the first wins.

    No gradient: places have none.
    """
    return _place("argmin", x, axis, keepdims)


def _place(kind: str, x: Any, axis: int | None, keepdims: bool) -> Any:
    if axis is not None:
        return reduce(kind, x, axis, keepdims)
    found = reduce(kind, reshape(x, (math.prod(x.shape),)), 0)
    return reshape(found, (1,) * len(x.shape)) if keepdims else found


SPREAD = (
    sample(normal(2, 3, 4), dim=(0, 2), keepdim=True),
    sample(normal(2, 3), dim=1, correction=0),
    sample(normal(5), unbiased=False),
    sample(normal(2, 3)),
)


@op(*SPREAD)
def var(
    x: Any,
    axis: Axes = None,
    *,
    keepdims: bool = False,
    ddof: float = 1,
    correction: float | None = None,
    unbiased: bool | None = None,
) -> Any:
    """The variance over ``axis``: the squares of x - mean(x), summed and divided by n - ddof.

    ``correction`` is PyTorch's word for ``ddof``, and ``unbiased`` stands for 1 or 0.
    dx = 2 g (x - mean(x)) / (n - ddof): what flows through the mean sums to 0.
    """
    if unbiased is not None:
        if correction is not None:
            raise TypeError("var: correction and unbiased say the same; give one of them")
        correction = float(unbiased)
    axes = normalize_axes(axis, len(x.shape), "var")
    n = math.prod(x.shape[a] for a in axes)
    freedom = n - (ddof if correction is None else correction)
    squares = _squared_difference(x, reduce("mean", x, axes, True))
    return divide(reduce("sum", squares, axes, keepdims), float(freedom if freedom > 0 else 0))


@pointwise
def _squared_difference(x: Any, mean: Any) -> Any:
    return square(x - mean)


@op(*SPREAD)
def std(
    x: Any,
    axis: Axes = None,
    *,
    keepdims: bool = False,
    ddof: float = 1,
    correction: float | None = None,
    unbiased: bool | None = None,
) -> Any:
    """The standard deviation over ``axis``, the square root of `var`.   dx = g (x - mean(x)) / (y (n - ddof))

    Where y = 0 the gradient is 0.
    """
    spread = var(x, axis, keepdims=keepdims, ddof=ddof, correction=correction, unbiased=unbiased)
    return _root(spread)


@pointwise
def _root(x: Any) -> Any:
    """The square root of a sum of squares, whose gradient at 0 is that of the sum: 0."""
    return select(x > 0, sqrt(select(x > 0, x, 1.0)), x)


@op(sample(normal(2, 3)), sample(normal(2, 3), 2, dim=1), sample(normal(2, 3), 1, dim=0, keepdim=True),
    sample(distinct(2, 3), float("inf"), dim=1), sample(distinct(2, 3), float("-inf")),
    sample(normal(2, 3, 4), 3, dim=(0, 2)), sample(normal(2, 3), 0, dim=1),
    torch=lambda torch, x, p=2, **axes: torch.linalg.vector_norm(x, p, **axes))  # fmt: skip
def norm(x: Any, p: float | str = 2, axis: Axes = None, keepdims: bool = False) -> Any:
    """(sum |x|^p)^(1/p) over ``axis``; the largest |x| for p = inf, the smallest for -inf, the count of those
    that are not 0 for p = 0.

    dx = g sign(x) (|x| / y)^(p-1), for p = 2: g x / y.  Where y = 0 the gradient is 0.  For inf and -inf it
    goes to the extreme, for p = 0 there is none.
    """
    if p in (2, "fro"):
        return _root(sum(square(x), axis, keepdims))
    size = absolute(x)
    if p in (math.inf, -math.inf):
        return (max if p == math.inf else min)(size, axis, keepdims)
    if p == 0:
        return sum(cast(not_equal(x, 0), x.dtype), axis, keepdims)
    if isinstance(p, str):
        raise ValueError(f"norm: p is {p!r}; known are numbers, inf, -inf and 'fro'")
    return (
        sum(size, axis, keepdims)
        if p == 1
        else _power_root(sum(size ** float(p), axis, keepdims), p=float(p))
    )


@pointwise
def _power_root(x: Any, p: float) -> Any:
    return select(x > 0, select(x > 0, x, 1.0) ** (1 / p), x)


@op(
    sample(booleans(3, 4), dim=1),
    sample(booleans(3, 4), dim=0, keepdim=True),
    sample(booleans(2, 2)),
    gradient=False,
)
def any(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Whether an element along ``axis`` is not 0; of none it is false.   No gradient: truth has none."""
    return not_equal(count_nonzero(x, axis, keepdims), 0)


@op(
    sample(booleans(3, 4), dim=1),
    sample(booleans(3, 4), dim=0, keepdim=True),
    sample(booleans(2, 2)),
    gradient=False,
)
def all(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Whether every element along ``axis`` is not 0; of none it is true.   No gradient: truth has none."""
    return equal(sum(equal(x, 0), axis, keepdims), 0)


@op(
    sample(normal(2, 3), normal(2, 3)),
    sample(normal(2, 3), normal(2, 3), atol=9.0),
    torch=lambda torch, *xs, **bounds: torch.tensor(torch.allclose(*xs, **bounds)),
    gradient=False,
)
def allclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Whether all elements are close: see `isclose`.   No gradient: truth has none."""
    return all(isclose(a, b, rtol, atol, equal_nan))


@op(sample(integers(3, 4, below=2), dim=1), sample(booleans(3, 4)), gradient=False)
def count_nonzero(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """How many elements along ``axis`` are not 0, int64.   No gradient: counts have none."""
    return sum(not_equal(x, 0), axis, keepdims)


def sum_to(x: Any, shape: tuple[int, ...]) -> Any:
    """``x`` summed over the axes along which ``shape`` would be broadcast to its shape."""
    if x.shape == shape:
        return x
    total = _sum_over_repeats(x.shape, shape)
    out = apply(total, x) if total.axes else x
    return out if out.shape == shape else reshape(out, shape)


@lru_cache(maxsize=1024)
def _sum_over_repeats(whole: tuple[int, ...], shape: tuple[int, ...]) -> Reduce:
    front = len(whole) - len(shape)
    return Reduce(
        "sum", tuple(i for i, n in enumerate(whole) if i < front or (shape[i - front] == 1 and n != 1))
    )


@gradient_of(Reduce)
def _reduce(node: Node, g: Any) -> Any:
    """sum: dx = g;  mean: g / n;  max, min: g shared by the places of the extreme;  prod: decomposed"""
    p, x = node.primitive, node.inputs[0]
    assert isinstance(p, Reduce)
    if p.body is not None:
        return NotImplemented
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
def _decomposed(p: Reduce, *inputs: Any) -> Any:
    """A body by itself.  A product as pairs of factors, pairs of pairs and so on: y / x is no gradient where
    a factor is 0.
    """
    if p.body is not None:
        return apply(Reduce(p.kind, p.axes, p.keepdims), apply(Elementwise(p.body, p.literals), *inputs))
    (x,) = inputs
    if p.kind != "prod":
        raise CortexError(f"Reduce {p.kind} has no decomposition")
    kept = [n for a, n in enumerate(x.shape) if a not in p.axes]
    turned = transpose(x, [*p.axes, *(a for a in range(x.ndim) if a not in p.axes)])
    left = reshape(turned, (math.prod(x.shape[a] for a in p.axes), *kept))
    while (n := left.shape[0]) != 1:
        even = pad(left, [[0, n % 2 if n else 2], *([0, 0] for _ in kept)], 1)
        left = even[0::2] * even[1::2]
    return reshape(left, p.infer(x.type)[0].shape)
