"""Softmax and its logarithm over the last axis."""

from __future__ import annotations

from typing import Any

from cortex_compute.errors import ShapeError
from cortex_compute.expression import build
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.primitives.reduce import Reduce
from cortex_compute.primitives.softmax import LogSoftmax, Softmax
from cortex_compute.types import DType
from cortex_gpu.cudnn import softmax as by_cudnn
from cortex_gpu.cudnn.library import Library
from cortex_gpu.ops.arrays import address, checked, compute, either, empty_like

PRODUCT = build(lambda a, b: a * b, 2)
OF_SOFTMAX = build(lambda y, g, total: y * (g - total), 3)
OF_LOGARITHM = build(lambda y, g, total: g - y.builder.make("exp", y) * total, 3)


def softmax(x: Any, logarithm: bool = False) -> Any:
    """exp(x) / sum(exp(x)) over the last axis, or its logarithm.   x (..., C) -> (..., C)"""
    d = _checked(x=x)

    def by_library(library: Library) -> Any:
        y = empty_like(x)
        by_cudnn.forward(library, _rows(x), d, address(x), address(y), logarithm)()
        return y

    return either(by_library, lambda: compute(LogSoftmax() if logarithm else Softmax(), x)[0], x)


def softmax_backward(y: Any, dy: Any, logarithm: bool = False) -> Any:
    """The gradient of x from the result y and its gradient."""
    d = _checked(y=y, dy=dy)
    if y.shape != dy.shape:
        raise ShapeError(f"dy has shape {dy.shape}, y has {y.shape}")

    def by_library(library: Library) -> Any:
        dx = empty_like(y)
        by_cudnn.backward(library, _rows(y), d, address(y), address(dy), address(dx), logarithm)()
        return dx

    def generated() -> Any:
        axis = (y.ndim - 1,)
        if logarithm:
            (total,) = compute(Reduce("sum", axis, True), dy)
            return compute(Elementwise(OF_LOGARITHM.code, OF_LOGARITHM.literals), y, dy, total)[0]
        (total,) = compute(Reduce("sum", axis, True, PRODUCT.code), y, dy)
        return compute(Elementwise(OF_SOFTMAX.code, OF_SOFTMAX.literals), y, dy, total)[0]

    return either(by_library, generated, y)


def _checked(**arrays: Any) -> DType:
    """The type of arrays with rows."""
    d = checked(**arrays)
    for name, a in arrays.items():
        if a.ndim < 1:
            raise ShapeError(f"{name} has no axes; a softmax is taken over the last one")
    return d


def _rows(x: Any) -> tuple[int, ...]:
    return x.size // x.shape[-1], x.shape[-1], 1, 1
