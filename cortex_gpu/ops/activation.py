"""Pointwise functions by cuDNN."""

from __future__ import annotations

from typing import Any

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_gpu.cudnn import activation as by_cudnn
from cortex_gpu.cudnn.constants import ACTIVATIONS
from cortex_gpu.ops.arrays import address, checked, empty_like, filled, needed


def activation(x: Any, name: str, coefficient: float = 1.0) -> Any:
    """sigmoid, relu, tanh, clipped_relu (at ``coefficient``), elu (times ``coefficient``) or swish of x."""
    d = checked(x=x)
    library = needed("activation")
    _known(name)
    y = empty_like(x)
    places = address(x), address(y)
    return filled(y, lambda: by_cudnn.forward(library, name, coefficient, x.shape, d, *places))


def activation_backward(x: Any, y: Any, dy: Any, name: str, coefficient: float = 1.0) -> Any:
    """The gradient of x from the result y and its gradient."""
    d = checked(x=x, y=y, dy=dy)
    library = needed("activation_backward")
    _known(name)
    if not x.shape == y.shape == dy.shape:
        raise ShapeError(f"x {x.shape}, y {y.shape} and dy {dy.shape} differ in shape")
    dx = empty_like(x)
    places = address(y), address(dy), address(x), address(dx)
    return filled(dx, lambda: by_cudnn.backward(library, name, coefficient, x.shape, d, *places))


def _known(name: str) -> None:
    if name not in ACTIVATIONS:
        raise ArgumentError(f"{name!r} is no activation of cuDNN; known are {', '.join(ACTIVATIONS)}")
