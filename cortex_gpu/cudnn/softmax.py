"""Softmax and its logarithm over the channels of an image, or the rows of a matrix."""

from __future__ import annotations

from collections.abc import Callable

from cortex_compute.types import DType
from cortex_gpu.cudnn import constants as c
from cortex_gpu.cudnn.descriptors import Sizes, factors, image
from cortex_gpu.cudnn.library import Library

ALGORITHMS = {False: c.SOFTMAX_ACCURATE, True: c.SOFTMAX_LOG}
"""By whether the logarithm is wanted; both subtract the largest element first."""


def forward(
    library: Library, dims: Sizes, dtype: DType, x: int, y: int, logarithm: bool = False
) -> Callable[[], None]:
    """A call that computes y from x, (N, C, *S) of these sizes, channels last; both are addresses."""
    array, (alpha, beta) = image(library, dims, dtype, True), factors(dtype)
    how = ALGORITHMS[logarithm], c.SOFTMAX_MODE_CHANNEL
    return library.launcher("SoftmaxForward", *how, alpha, array, x, beta, array, y)


def backward(
    library: Library,
    dims: Sizes,
    dtype: DType,
    y: int,
    dy: int,
    dx: int,
    logarithm: bool = False,
) -> Callable[[], None]:
    """A call that computes dx from y and its gradient."""
    array, (alpha, beta) = image(library, dims, dtype, True), factors(dtype)
    how = ALGORITHMS[logarithm], c.SOFTMAX_MODE_CHANNEL
    return library.launcher("SoftmaxBackward", *how, alpha, array, y, array, dy, beta, array, dx)
