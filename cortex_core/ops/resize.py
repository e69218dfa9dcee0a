"""Axes made longer or shorter: by repeated elements, or by a matrix that mixes neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cortex_compute.errors import ShapeError
from cortex_compute.primitives.normalization import vector_type
from cortex_core.ops.arrange import repeat_interleave
from cortex_core.ops.indexing import gather
from cortex_core.ops.linear import matmul
from cortex_core.ops.pointwise import cast
from cortex_core.ops.views import reshape

MOST_WEIGHTS = 2**24
"""Matrices that mix neighbours have no more elements: a description could ask for all memory."""


def resize(
    x: Any, sizes: Sequence[int], factors: Sequence[float], linear: bool, align_corners: bool = False
) -> Any:
    """x with other spatial axes.   (N, *S, C) -> (N, *sizes, C)

    ``factors`` say how many times as large each axis becomes: a size is rounded down.  Elements are squares
    whose outer edges coincide, or with ``align_corners`` points, the first and the last of which coincide.
    An element is the one at its place or, if ``linear``, its two neighbours along each axis, weighed by
    their distance, so that a border goes on as it is.
    dx = the sum of g over all elements that x has a part in, times its weight there
    """
    # The last axis first: then the copy of the larger array has the longer rows.
    for axis in range(len(sizes), 0, -1):
        n, m, factor = x.shape[axis], sizes[axis - 1], factors[axis - 1]
        if m == n and (align_corners or factor == 1):
            continue
        if linear:
            x = mix(x, linear_weights(n, m, factor, align_corners), axis)
        elif m > n and m % n == 0 and factor == m / n:
            x = repeat_interleave(x, m // n, axis)
        elif m != n:
            places = np.floor(np.arange(m) / factor).astype(np.int64)
            x = gather(x, np.minimum(places, n - 1), axis)
    return x


def mix(x: Any, weights: np.ndarray, axis: int) -> Any:
    """y[..., i, ...] = sum over j of weights[i, j] x[..., j, ...] along ``axis``, in one product.

    x (A..., n, B...), weights (m, n) -> (A..., m, B...).   dx = weightsᵀ g
    """
    before, n, behind = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    wide = cast(x, vector_type(x.dtype))  # weights in 16 bits would not add up to 1
    rows = reshape(wide, (math.prod(before), n, math.prod(behind)))
    y = matmul(weights.astype(wide.dtype.storage), rows)
    return cast(reshape(y, (*before, len(weights), *behind)), x.dtype)


def linear_weights(n: int, m: int, factor: float, align_corners: bool = False) -> np.ndarray:
    """The matrix (m, n) whose row i mixes the two neighbours of new element i."""
    _expect_bounded(n, m, "mixing neighbours", "; 'nearest' has no such bound")
    i = np.arange(m)
    at = i * ((n - 1) / max(m - 1, 1)) if align_corners else (i + 0.5) / factor - 0.5
    at = np.clip(at, 0, n - 1)
    weights: np.ndarray = np.maximum(0.0, 1.0 - np.abs(at[:, None] - np.arange(n)))
    return weights


def averaging(n: int, m: int) -> np.ndarray:
    """The matrix (m, n) whose row i takes the mean of window i: floor(i n / m) to ceil((i + 1) n / m)."""
    _expect_bounded(n, m, "means of windows")
    places, i = np.arange(n), np.arange(m)[:, None]
    inside = (places >= i * n // max(m, 1)) & (places < -(-(i + 1) * n // max(m, 1)))
    rows: np.ndarray = inside / inside.sum(1, keepdims=True)
    return rows


def _expect_bounded(n: int, m: int, how: str, otherwise: str = "") -> None:
    if m * n > MOST_WEIGHTS:
        told = f"an axis of {n:,} elements cannot become one of {m:,} by {how}"
        raise ShapeError(f"{told}: their product is at most {MOST_WEIGHTS:,}{otherwise}")
