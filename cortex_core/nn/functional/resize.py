"""Images made larger or smaller.   x (N, C, *S)"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_core.nn.functional.spatial import channels_first, channels_last
from cortex_core.ops.resize import resize
from cortex_core.ops.views import reshape, transpose

LINEAR = ("linear", "bilinear", "trilinear")  # of one, two and three axes


def interpolate(
    input: Any,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Any:
    """An image of ``size``, or ``scale_factor`` times as large, rounded down.   (N, C, *S) -> (N, C, *size)

    ``mode`` "nearest" repeats elements; "linear", "bilinear" or "trilinear", of one, two or three axes,
    weighs the neighbours by their distance.  Elements are squares whose outer edges coincide, or with
    ``align_corners`` points, the first and the last of which coincide.
    """
    spatial = len(input.shape) - 2
    if spatial < 1 or (size is None) == (scale_factor is None):
        raise ShapeError(
            f"interpolate: the input has shape {input.shape}; needs (N, C, ...), and size or scale_factor"
        )
    if mode != "nearest" and (spatial > 3 or mode != LINEAR[spatial - 1]):
        known = " or ".join(repr(m) for m in ("nearest", *LINEAR[spatial - 1 : spatial]))
        raise ArgumentError(f"interpolate: mode={mode!r}; {spatial} axes take {known}")
    if mode == "nearest" and align_corners is not None:
        raise ArgumentError("interpolate: align_corners is of the linear modes: leave it out")
    sizes, factors = _sizes(input.shape[2:], size, scale_factor)
    linear, corners = mode != "nearest", bool(align_corners)
    return channels_first(resize(channels_last(input), sizes, factors, linear, corners))


def _sizes(old: Sequence[int], size: Any, factor: Any) -> tuple[list[int], list[float]]:
    """The new size of each axis, and how many times the old one it is."""
    given = factor if size is None else size
    each = list(given) if isinstance(given, (list, tuple)) else [given] * len(old)
    if len(each) != len(old):
        raise ShapeError(f"interpolate: {each} is not one number for each of the axes {tuple(old)}")
    sizes = [math.floor(n * f) for n, f in zip(old, each)] if size is None else [int(m) for m in each]
    if min(*sizes, *old) < 1:
        raise ShapeError(f"interpolate: {tuple(old)} cannot become {tuple(sizes)}; needs sizes above 0")
    return sizes, [float(f) for f in each] if size is None else [m / n for n, m in zip(old, sizes)]


def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """Channels become squares of elements.   (..., C r², H, W) -> (..., C, H r, W r).  Shi et al., 2016"""
    r, rank = upscale_factor, len(input.shape)
    if rank < 3 or r < 1 or input.shape[-3] % r**2:
        raise ShapeError(f"pixel_shuffle: the channels of shape {input.shape} do not split into {r} * {r}")
    *front, c, h, w = input.shape
    k = rank - 3
    x = reshape(input, (*front, c // r**2, r, r, h, w))
    x = transpose(x, (*range(k + 1), k + 3, k + 1, k + 4, k + 2))
    return reshape(x, (*front, c // r**2, h * r, w * r))


def pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """Squares of elements become channels.   (..., C, H r, W r) -> (..., C r², H, W)"""
    r, rank = downscale_factor, len(input.shape)
    if rank < 3 or r < 1 or input.shape[-2] % r or input.shape[-1] % r:
        raise ShapeError(f"pixel_unshuffle: the image of shape {input.shape} does not split into {r} * {r}")
    *front, c, h, w = input.shape
    k = rank - 3
    x = reshape(input, (*front, c, h // r, r, w // r, r))
    x = transpose(x, (*range(k + 1), k + 2, k + 4, k + 1, k + 3))
    return reshape(x, (*front, c * r**2, h // r, w // r))
