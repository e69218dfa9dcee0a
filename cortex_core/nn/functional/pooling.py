"""Pooling, channels first.   x (N, C, *S) or (C, *S)"""

from __future__ import annotations

from typing import Any

from cortex_compute.errors import ShapeError
from cortex_core.nn.functional.spatial import over_images
from cortex_core.ops import pooling
from cortex_core.ops.convolution import Sizes, per_axis


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


def max_pool3d(
    input: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    *,
    ceil_mode: bool = False,
) -> Any:
    """The largest of each window.   (N, C, D, H, W) -> (N, C, D', H', W')"""
    return _max_pool(3, input, kernel_size, stride, padding, ceil_mode)


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


def avg_pool3d(
    input: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """The mean of each window; zeros of the padding count unless told.   (N, C, *S) -> (N, C, *S')"""
    return _avg_pool(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


def adaptive_avg_pool1d(input: Any, output_size: int | None) -> Any:
    """Means of windows that cut the axis into ``output_size`` parts.   (N, C, L) -> (N, C, output_size)"""
    sizes = _wanted("adaptive_avg_pool1d", 1, input, (output_size,))
    return over_images("adaptive_avg_pool1d", 1, input, lambda x: pooling.adaptive_avg_pool(x, sizes))


def adaptive_avg_pool2d(input: Any, output_size: int | tuple[int | None, int | None] | None) -> Any:
    """Means of windows that cut the image into ``output_size`` parts; None keeps the size.

    (N, C, H, W) -> (N, C, *output_size).  Window i of m is from floor(i n / m) to ceil((i + 1) n / m).
    """
    sizes = _wanted("adaptive_avg_pool2d", 2, input, _each(output_size, 2))
    return over_images("adaptive_avg_pool2d", 2, input, lambda x: pooling.adaptive_avg_pool(x, sizes))


def adaptive_avg_pool3d(
    input: Any, output_size: int | tuple[int | None, int | None, int | None] | None
) -> Any:
    """Means of windows that cut the volume into ``output_size`` parts, as `adaptive_avg_pool2d`.

    (N, C, D, H, W) -> (N, C, *output_size)
    """
    sizes = _wanted("adaptive_avg_pool3d", 3, input, _each(output_size, 3))
    return over_images("adaptive_avg_pool3d", 3, input, lambda x: pooling.adaptive_avg_pool(x, sizes))


def adaptive_max_pool1d(input: Any, output_size: int | None) -> Any:
    """The largest of each window; windows as of `adaptive_avg_pool1d`.   (N, C, L) -> (N, C, output_size)"""
    sizes = _wanted("adaptive_max_pool1d", 1, input, (output_size,))
    return over_images("adaptive_max_pool1d", 1, input, lambda x: pooling.adaptive_max_pool(x, sizes))


def adaptive_max_pool2d(input: Any, output_size: int | tuple[int | None, int | None] | None) -> Any:
    """The largest of each window; windows as of `adaptive_avg_pool2d`.  (N, C, H, W) -> (N, C, *output_size)

    Where windows overlap, equal largest elements share the gradient.
    """
    sizes = _wanted("adaptive_max_pool2d", 2, input, _each(output_size, 2))
    return over_images("adaptive_max_pool2d", 2, input, lambda x: pooling.adaptive_max_pool(x, sizes))


def adaptive_max_pool3d(
    input: Any, output_size: int | tuple[int | None, int | None, int | None] | None
) -> Any:
    """The largest of each window, as of `adaptive_avg_pool3d`.   (N, C, D, H, W) -> (N, C, *output_size)"""
    sizes = _wanted("adaptive_max_pool3d", 3, input, _each(output_size, 3))
    return over_images("adaptive_max_pool3d", 3, input, lambda x: pooling.adaptive_max_pool(x, sizes))


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


def _each(size: Any, spatial: int) -> tuple[int | None, ...]:
    return tuple(size) if isinstance(size, (tuple, list)) else (size,) * spatial


def _wanted(what: str, spatial: int, x: Any, given: tuple[int | None, ...]) -> tuple[int, ...]:
    """The sizes of the output; None keeps that of the input."""
    if len(given) != spatial or len(x.shape) not in (spatial + 1, spatial + 2):
        raise ShapeError(f"{what}: an output of {given} does not fit an input of shape {x.shape}")
    return tuple(n if m is None else m for n, m in zip(x.shape[-spatial:], given))
