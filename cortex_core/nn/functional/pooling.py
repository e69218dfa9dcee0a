"""Pooling, channels first.   x (N, C, *S) or (C, *S)"""

from __future__ import annotations

from typing import Any

import numpy as np

from cortex_compute.errors import ShapeError
from cortex_core.nn.functional.spatial import over_images
from cortex_core.ops import pooling, reduce
from cortex_core.ops.convolution import Sizes, per_axis
from cortex_core.ops.indexing import concatenate
from cortex_core.ops.linear import matmul
from cortex_core.ops.views import narrow


def max_pool1d(
    input: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    *,
    ceil_mode: bool = False,
) -> Any:
    """The largest of each window.   (N, C, L) -> (N, C, L')"""
    return _max_pool(1, input, kernel_size, stride, padding, ceil_mode)


def max_pool2d(
    input: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    *,
    ceil_mode: bool = False,
) -> Any:
    """The largest of each window.   (N, C, H, W) -> (N, C, H', W')"""
    return _max_pool(2, input, kernel_size, stride, padding, ceil_mode)


def avg_pool1d(
    input: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """The mean of each window.   (N, C, L) -> (N, C, L')"""
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(
    input: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """The mean of each window; zeros of the padding count unless told.   (N, C, H, W) -> (N, C, H', W')"""
    return _avg_pool(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


def adaptive_avg_pool1d(input: Any, output_size: int | None) -> Any:
    """Means of windows that cut the axis into ``output_size`` parts.   (N, C, L) -> (N, C, output_size)"""
    sizes = _wanted("adaptive_avg_pool1d", 1, input, (output_size,))
    return _adaptive_avg("adaptive_avg_pool1d", input, sizes)


def adaptive_avg_pool2d(input: Any, output_size: int | tuple[int | None, int | None] | None) -> Any:
    """Means of windows that cut the image into ``output_size`` parts; None keeps the size.

    (N, C, H, W) -> (N, C, *output_size).  Window i of m is from floor(i n / m) to ceil((i + 1) n / m).
    """
    sizes = _wanted("adaptive_avg_pool2d", 2, input, _pair(output_size))
    return _adaptive_avg("adaptive_avg_pool2d", input, sizes)


def adaptive_max_pool1d(input: Any, output_size: int | None) -> Any:
    """The largest of each window; windows as of `adaptive_avg_pool1d`.   (N, C, L) -> (N, C, output_size)"""
    sizes = _wanted("adaptive_max_pool1d", 1, input, (output_size,))
    return _adaptive_max("adaptive_max_pool1d", input, sizes)


def adaptive_max_pool2d(input: Any, output_size: int | tuple[int | None, int | None] | None) -> Any:
    """The largest of each window; windows as of `adaptive_avg_pool2d`.  (N, C, H, W) -> (N, C, *output_size)

    Where windows overlap, equal largest elements share the gradient.
    """
    sizes = _wanted("adaptive_max_pool2d", 2, input, _pair(output_size))
    return _adaptive_max("adaptive_max_pool2d", input, sizes)


def _max_pool(spatial: int, x: Any, size: Sizes, stride: Sizes | None, padding: Sizes, ceil: bool) -> Any:
    what = f"max_pool{spatial}d"
    margins = _margins(what, spatial, size, padding)
    return over_images(what, spatial, x, lambda image: pooling.max_pool(image, size, stride, margins, ceil))


def _avg_pool(
    spatial: int, x: Any, size: Sizes, stride: Sizes | None, padding: Sizes, ceil: bool, counted: bool
) -> Any:
    what = f"avg_pool{spatial}d"
    margins = _margins(what, spatial, size, padding)
    return over_images(
        what, spatial, x, lambda image: pooling.avg_pool(image, size, stride, margins, ceil, counted)
    )


def _margins(what: str, spatial: int, size: Sizes, padding: Sizes) -> tuple[tuple[int, int], ...]:
    """A window of padding alone has no largest element: PyTorch's rule is at most half a window."""
    sizes = per_axis(f"{what}: kernel_size", spatial, size)
    margins = per_axis(f"{what}: padding", spatial, padding)
    if any(not 0 <= 2 * p <= k for p, k in zip(margins, sizes)):
        raise ShapeError(f"{what}: padding {margins} is not from 0 to half of kernel_size {sizes}")
    return tuple((p, p) for p in margins)


def _pair(size: Any) -> tuple[int | None, ...]:
    return tuple(size) if isinstance(size, (tuple, list)) else (size,) * 2


def _wanted(what: str, spatial: int, x: Any, given: tuple[int | None, ...]) -> tuple[int, ...]:
    """The sizes of the output; None keeps that of the input."""
    if len(given) != spatial or len(x.shape) not in (spatial + 1, spatial + 2):
        raise ShapeError(f"{what}: an output of {given} does not fit an input of shape {x.shape}")
    return tuple(n if m is None else m for n, m in zip(x.shape[-spatial:], given))


def _window(x: Any, wanted: tuple[int, ...]) -> tuple[int, ...] | None:
    """The one size of all windows, if they do not overlap."""
    sizes = x.shape[-len(wanted) :]
    if not all(m and n % m == 0 for n, m in zip(sizes, wanted)):
        return None
    return tuple(n // m for n, m in zip(sizes, wanted))


def _adaptive_avg(what: str, x: Any, wanted: tuple[int, ...]) -> Any:
    window, spatial = _window(x, wanted), len(wanted)
    if window is not None:
        return over_images(what, spatial, x, lambda image: pooling.avg_pool(image, window))
    sizes = x.shape[-spatial:]
    right = _averaging(sizes[-1], wanted[-1], x.dtype)
    x = matmul(x, right, transpose_b=True)
    return x if spatial == 1 else matmul(_averaging(sizes[0], wanted[0], x.dtype), x)


def _adaptive_max(what: str, x: Any, wanted: tuple[int, ...]) -> Any:
    window, spatial = _window(x, wanted), len(wanted)
    if window is not None and 0 not in window:
        return over_images(what, spatial, x, lambda image: pooling.max_pool(image, window))
    for axis, m in zip(range(-spatial, 0), wanted):
        n = x.shape[axis]
        if not (m and n):
            raise ShapeError(f"{what}: the input has shape {x.shape}, the output {wanted}; one is empty")
        bounds = [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
        x = concatenate([reduce.max(narrow(x, axis, a, b - a), axis, keepdims=True) for a, b in bounds], axis)
    return x


def _averaging(n: int, m: int, dtype: Any) -> np.ndarray:
    """The matrix (m, n) whose row i takes the mean of window i."""
    places, i = np.arange(n), np.arange(m)[:, None]
    inside = (places >= i * n // max(m, 1)) & (places < -(-(i + 1) * n // max(m, 1)))
    rows: np.ndarray = inside / inside.sum(1, keepdims=True)
    return rows.astype(dtype.storage)
