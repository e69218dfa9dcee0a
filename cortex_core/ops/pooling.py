"""Pooling over windows, channels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cortex_compute.errors import ShapeError
from cortex_compute.primitives.pooling import (
    Averaging,
    AvgPool,
    AvgPoolGrad,
    MaxPool,
    MaxPoolGrad,
    MaxPoolPick,
    Pooling,
)
from cortex_compute.primitives.windows import Padding
from cortex_core.ops.apply import apply
from cortex_core.ops.array import Node
from cortex_core.ops.convolution import Margins, Sizes, margins, per_axis
from cortex_core.ops.differentiate import gradient_of
from cortex_core.ops.indexing import concatenate
from cortex_core.ops.reduce import max as largest
from cortex_core.ops.resize import averaging, mix
from cortex_core.ops.views import narrow

MOST_PARTS = 4096
"""Windows that overlap are an operation each: a description could ask for any number of them."""


def max_pool(
    x: Any, size: Sizes, stride: Sizes | None = None, padding: Margins = 0, ceil: bool = False
) -> Any:
    """The largest element of each window, per channel; padding never wins.   (N, *S, C) -> (N, *S', C)

    ``stride`` is ``size`` unless given; ``ceil`` rounds the number of windows up, as in PyTorch.
    dx = g at the winner of each window, the first one of equals; else 0
    """
    y, _ = apply(MaxPool(*_windows("max_pool", x, size, stride, padding), ceil), x)
    return y


def avg_pool(
    x: Any,
    size: Sizes,
    stride: Sizes | None = None,
    padding: Margins = 0,
    ceil: bool = False,
    count_padding: bool = False,
) -> Any:
    """The mean of each window, per channel.   (N, *S, C) -> (N, *S', C)

    It is over the elements of x alone, with ``count_padding`` over those of the padding too, which are 0.
    dx = g / divisor, at every element of each window
    """
    return apply(AvgPool(*_windows("avg_pool", x, size, stride, padding), ceil, count_padding), x)


def adaptive_avg_pool(x: Any, sizes: Sequence[int]) -> Any:
    """Means of windows that cut each spatial axis into so many parts.   (N, *S, C) -> (N, *sizes, C)

    Window i of m is from floor(i n / m) to ceil((i + 1) n / m): where m does not divide n they overlap.
    dx = the sum of g / elements over the windows that x lies in
    """
    window = _equal_windows(x, sizes)
    if window is not None:
        return avg_pool(x, window)
    if 0 in x.shape[1:-1]:
        raise ShapeError(f"adaptive_avg_pool: x has shape {x.shape}: there is no mean of nothing")
    for axis, m in enumerate(sizes, 1):
        x = mix(x, averaging(x.shape[axis], m), axis)
    return x


def adaptive_max_pool(x: Any, sizes: Sequence[int]) -> Any:
    """The largest of each window; windows as of `adaptive_avg_pool`.   (N, *S, C) -> (N, *sizes, C)

    dx = g at the winners; where windows overlap, equal largest elements share it
    """
    window = _equal_windows(x, sizes)
    if window is not None:
        return max_pool(x, window)
    for axis, m in enumerate(sizes, 1):
        n = x.shape[axis]
        if not (m and n):
            raise ShapeError(f"adaptive_max_pool: x has shape {x.shape}, the output {sizes}; one is empty")
        if m > MOST_PARTS:
            told = f"adaptive_max_pool: axis {axis} of {n:,} elements cannot become one of {m:,}"
            raise ShapeError(f"{told}: where windows overlap there are at most {MOST_PARTS:,}")
        bounds = [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
        x = concatenate([largest(narrow(x, axis, a, b - a), axis, keepdims=True) for a, b in bounds], axis)
    return x


def _equal_windows(x: Any, sizes: Sequence[int]) -> tuple[int, ...] | None:
    """The one size of all windows, if they do not overlap and hold something."""
    if not all(n and m and n % m == 0 for n, m in zip(x.shape[1:-1], sizes)):
        return None
    return tuple(n // m for n, m in zip(x.shape[1:-1], sizes))


def _windows(
    what: str, x: Any, size: Sizes, stride: Sizes | None, padding: Margins
) -> tuple[tuple[int, ...], tuple[int, ...], Padding]:
    spatial = len(x.shape) - 2
    sizes = per_axis(f"{what}: size", spatial, size)
    strides = sizes if stride is None else per_axis(f"{what}: stride", spatial, stride)
    return sizes, strides, margins(f"{what}: padding", spatial, padding)


def _shared(p: Pooling) -> tuple[tuple[int, ...], tuple[int, ...], Padding, bool]:
    return p.size, p.stride, p.padding, p.ceil


@gradient_of(MaxPool)
def _max_pool(node: Node, g: Any, _: Any) -> Any:
    """dx = g at the winner of each window, the first one of equals; else 0"""
    p, (x,), (y, residual) = node.primitive, node.inputs, node.outputs
    assert isinstance(p, MaxPool)
    return (lambda: apply(MaxPoolGrad(*_shared(p)), x, y, residual, g),)


@gradient_of(MaxPoolGrad)
def _max_pool_grad(node: Node, d: Any) -> Any:
    """Linear in g alone, as the winners change nowhere:  the gradient of g is d at the winners."""
    p, (x, y, residual, _) = node.primitive, node.inputs
    assert isinstance(p, MaxPoolGrad)
    return None, None, None, lambda: apply(MaxPoolPick(*_shared(p)), x, y, residual, d)


@gradient_of(MaxPoolPick)
def _max_pool_pick(node: Node, d: Any) -> Any:
    """The adjoint of MaxPoolGrad:  the gradient of v is d, brought back to the winners."""
    p, (x, y, residual, _) = node.primitive, node.inputs
    assert isinstance(p, MaxPoolPick)
    return None, None, None, lambda: apply(MaxPoolGrad(*_shared(p)), x, y, residual, d)


def _counted(p: Averaging) -> tuple[tuple[int, ...], tuple[int, ...], Padding, bool, bool]:
    return *_shared(p), p.count_padding


@gradient_of(AvgPool)
def _avg_pool(node: Node, g: Any) -> Any:
    """dx = g / divisor, at every element of each window"""
    p, (x,) = node.primitive, node.inputs
    assert isinstance(p, AvgPool)
    return (lambda: apply(AvgPoolGrad(*_counted(p), x.shape), g),)


@gradient_of(AvgPoolGrad)
def _avg_pool_grad(node: Node, d: Any) -> Any:
    """The adjoint:  the gradient of g is AvgPool(d)."""
    p = node.primitive
    assert isinstance(p, AvgPoolGrad)
    return (lambda: apply(AvgPool(*_counted(p)), d),)
