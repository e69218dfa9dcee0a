"""Convolutions, channels first.   x (N, C, *S) or (C, *S), weight (out, in / groups, *K)"""

from __future__ import annotations

from typing import Any

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_core.nn.functional.spatial import over_images
from cortex_core.ops.convolution import Sizes, conv, conv_transpose, per_axis
from cortex_core.ops.views import transpose


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Any:
    """(N, C, L), weight (out, C / groups, K), bias (out,) -> (N, out, L')"""
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Any:
    """(N, C, H, W), weight (out, C / groups, KH, KW), bias (out,) -> (N, out, H', W')

    ``padding``: a number for all axes, one each, 'valid' for 0, or 'same' for an output of the input's size.
    """
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Any:
    """(N, C, D, H, W), weight (out, C / groups, KD, KH, KW), bias (out,) -> (N, out, D', H', W')"""
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Any:
    """(N, C, L), weight (C, out / groups, K), bias (out,) -> (N, out, L')"""
    return _transposed(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Any:
    """(N, C, H, W), weight (C, out / groups, KH, KW), bias (out,) -> (N, out, H', W')"""
    return _transposed(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Any:
    """(N, C, D, H, W), weight (C, out / groups, KD, KH, KW), bias (out,) -> (N, out, D', H', W')"""
    return _transposed(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


def margins_of(
    what: str,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: Sizes | str,
    dilation: tuple[int, ...],
) -> tuple[tuple[int, int], ...]:
    """(before, after) for each spatial axis; of an odd sum 'same' puts the larger part behind."""
    if isinstance(padding, str):
        if padding == "valid":
            return ((0, 0),) * len(kernel)
        if padding != "same":
            raise ArgumentError(f"{what}: padding={padding!r}; choose a number, numbers, 'valid' or 'same'")
        if any(s != 1 for s in stride):
            raise ArgumentError(
                f"{what}: padding='same' needs stride 1, not {stride}; give the padding in numbers"
            )
        totals = [d * (k - 1) for k, d in zip(kernel, dilation)]
        return tuple((n // 2, n - n // 2) for n in totals)
    return tuple((n, n) for n in per_axis(f"{what}: padding", len(kernel), padding))


def _conv(
    spatial: int, x: Any, w: Any, bias: Any, stride: Sizes, padding: Any, dilation: Sizes, groups: int
) -> Any:
    what = f"conv{spatial}d"
    _expect(what, spatial, w, "(out, in / groups, *K)")
    strides = per_axis(f"{what}: stride", spatial, stride)
    steps = per_axis(f"{what}: dilation", spatial, dilation)
    pairs = margins_of(what, w.shape[2:], strides, padding, steps)
    kernel = transpose(w, (*range(2, spatial + 2), 1, 0))

    def f(image: Any) -> Any:
        if image.shape[-1] != w.shape[1] * groups:
            raise ShapeError(
                f"{what}: the input has {image.shape[-1]} channels, the weight {w.shape} in "
                f"{groups} groups needs {w.shape[1] * groups}"
            )
        y = conv(image, kernel, strides, pairs, steps, groups)
        return y if bias is None else y + bias

    return over_images(what, spatial, x, f)


def _transposed(
    spatial: int,
    x: Any,
    w: Any,
    bias: Any,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    groups: int,
    dilation: Sizes,
) -> Any:
    what = f"conv_transpose{spatial}d"
    _expect(what, spatial, w, "(in, out / groups, *K)")
    pairs = tuple((n, n) for n in per_axis(f"{what}: padding", spatial, padding))
    kernel = transpose(w, (*range(2, spatial + 2), 1, 0))

    def f(image: Any) -> Any:
        if image.shape[-1] != w.shape[0]:
            raise ShapeError(
                f"{what}: the input has {image.shape[-1]} channels, the weight {w.shape} needs {w.shape[0]}"
            )
        y = conv_transpose(image, kernel, stride, pairs, dilation, groups, output_padding)
        return y if bias is None else y + bias

    return over_images(what, spatial, x, f)


def _expect(what: str, spatial: int, w: Any, axes: str) -> None:
    if len(w.shape) != spatial + 2:
        raise ShapeError(f"{what}: the weight has shape {w.shape}; needs {spatial + 2} axes, {axes}")
