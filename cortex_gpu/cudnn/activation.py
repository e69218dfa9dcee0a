"""Functions of one number: relu, clipped_relu, elu, sigmoid, tanh, swish."""

from __future__ import annotations

from collections.abc import Callable

from cortex_compute.types import DType
from cortex_gpu.cudnn import constants as c
from cortex_gpu.cudnn.descriptors import Sizes, activation, factors, row
from cortex_gpu.cudnn.library import Library


def forward(
    library: Library, name: str, coefficient: float, shape: Sizes, dtype: DType, x: int, y: int
) -> Callable[[], None]:
    """A call that computes y; ``coefficient`` is clipped_relu's upper bound and elu's alpha."""
    how, array = activation(library, c.ACTIVATIONS[name], coefficient), row(library, shape, dtype)
    alpha, beta = factors(dtype)
    return library.launcher("ActivationForward", how, alpha, array, x, beta, array, y)


def backward(
    library: Library,
    name: str,
    coefficient: float,
    shape: Sizes,
    dtype: DType,
    y: int,
    dy: int,
    x: int,
    dx: int,
) -> Callable[[], None]:
    """A call that computes dx."""
    how, array = activation(library, c.ACTIVATIONS[name], coefficient), row(library, shape, dtype)
    alpha, beta = factors(dtype)
    arrays = alpha, array, y, array, dy, array, x, beta, array, dx
    return library.launcher("ActivationBackward", how, *arrays)
