"""Batch norm and local response normalisation."""

from __future__ import annotations

from typing import Any, NamedTuple

from cortex_compute.errors import ArgumentError, DTypeError, ShapeError
from cortex_compute.expression import build
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.primitives.normalization import BatchNorm, BatchNormGrad, vector_type
from cortex_gpu.cudnn import lrn
from cortex_gpu.cudnn import normalization as by_cudnn
from cortex_gpu.cudnn.library import Library
from cortex_gpu.cudnn.lrn import Response
from cortex_gpu.cudnn.normalization import Batch
from cortex_gpu.ops.arrays import (
    address,
    back,
    checked,
    compute,
    counted,
    dims,
    dtype_of,
    either,
    empty_like,
    filled,
    images,
    last,
    needed,
    spatial,
)


class Saved(NamedTuple):
    """What `batch_norm` keeps for its gradient: the mean and the variance of each channel, (C,).

    ``inverse``: cuDNN was it, and left 1 / sqrt(variance + epsilon) instead of the variance.
    """

    mean: Any
    spread: Any
    inverse: bool


def batch_norm(
    x: Any, scale: Any, shift: Any, epsilon: float = 1e-5, layout: str = "NHWC"
) -> tuple[Any, Saved]:
    """y = (x - mean) / sqrt(variance + epsilon) * scale + shift, per channel of the batch.

    x (N, *S, C) or channels first; scale and shift (C,), float32 (float64 beside a float64 x).
    """
    d, first = _checked(x, layout, scale=scale, shift=shift)

    def generated() -> tuple[Any, Saved]:
        y, mean, variance = compute(BatchNorm(epsilon), images(x, first), scale, shift)
        return back(y, first), Saved(mean, variance, False)

    def by_library(library: Library) -> tuple[Any, Saved]:
        y, saved = empty_like(x), Saved(empty_like(scale), empty_like(scale), True)
        by_cudnn.training(
            library, Batch(dims(x.shape, first), epsilon, d, first), address(x), address(y), address(scale),
            address(shift), (address(saved.mean), address(saved.spread)),
        )()  # fmt: skip
        return y, saved

    return either(by_library, generated, x)


def batch_norm_backward(
    x: Any, dy: Any, scale: Any, saved: Saved, epsilon: float = 1e-5, layout: str = "NHWC"
) -> tuple[Any, Any, Any]:
    """The gradients of x, scale and shift from that of y and what `batch_norm` saved."""
    checked(x=x, dy=dy)
    d, first = _checked(x, layout, scale=scale, mean=saved.mean, spread=saved.spread)
    if x.shape != dy.shape:
        raise ShapeError(f"dy has shape {dy.shape}, x has {x.shape}")
    if not saved.inverse:
        arrays = images(x, first), scale, saved.mean, saved.spread, images(dy, first)
        dx, dscale, dshift = compute(BatchNormGrad(epsilon), *arrays)
        return back(dx, first), dscale, dshift
    dx, dscale, dshift = empty_like(x), empty_like(scale), empty_like(scale)
    by_cudnn.backward(
        needed("batch_norm_backward"), Batch(dims(x.shape, first), epsilon, d, first), address(x),
        address(dy), address(scale), (address(saved.mean), address(saved.spread)), address(dx),
        address(dscale), address(dshift),
    )()  # fmt: skip
    return dx, dscale, dshift


def batch_norm_inference(
    x: Any, scale: Any, shift: Any, mean: Any, variance: Any, epsilon: float = 1e-5, layout: str = "NHWC"
) -> Any:
    """The same with a given mean and variance, (C,) each."""
    d, first = _checked(x, layout, scale=scale, shift=shift, mean=mean, variance=variance)

    def generated() -> Any:
        formula = build(
            lambda x, a, b, m, v: (
                (x - m) * x.builder.make("rsqrt", v + epsilon) * a + b
            ), 5
        )  # fmt: skip
        p = Elementwise(formula.code, formula.literals)
        return back(compute(p, images(x, first), scale, shift, mean, variance)[0], first)

    def by_library(library: Library) -> Any:
        y = empty_like(x)
        by_cudnn.inference(
            library, Batch(dims(x.shape, first), epsilon, d, first), address(x), address(y), address(scale),
            address(shift), address(mean), address(variance),
        )()  # fmt: skip
        return y

    return either(by_library, generated, x)


def _checked(x: Any, layout: str, **vectors: Any) -> tuple[Any, bool]:
    """x's type, and whether channels come last."""
    d, first = checked(x=x), last(layout)
    spatial("x", x)
    channels = x.shape[-1 if first else 1]
    checked(**vectors)
    for name, a in vectors.items():
        if a.shape != (channels,):
            raise ShapeError(f"{name} has shape {a.shape}, x {x.shape} needs {(channels,)}")
        if dtype_of(name, a) is not vector_type(d):
            raise DTypeError(f"{name} is {a.dtype}; beside an x of {d} it is {vector_type(d)}")
    return d, first


def local_response(
    x: Any, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0, layout: str = "NHWC"
) -> Any:
    """y = x / (k + alpha / size sum(x^2))^beta, the sum over ``size`` channels around each (2012)."""
    response = _response(x, size, alpha, beta, k, layout)
    library, y = needed("local_response"), empty_like(x)
    return filled(y, lambda: lrn.forward(library, response, address(x), address(y)))


def local_response_backward(
    x: Any,
    y: Any,
    dy: Any,
    size: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 2.0,
    layout: str = "NHWC",
) -> Any:
    """The gradient of x from the result y and its gradient."""
    checked(x=x, y=y, dy=dy)
    response = _response(x, size, alpha, beta, k, layout)
    if not x.shape == y.shape == dy.shape:
        raise ShapeError(f"x {x.shape}, y {y.shape} and dy {dy.shape} differ in shape")
    library, dx = needed("local_response_backward"), empty_like(x)
    places = address(y), address(dy), address(x), address(dx)
    return filled(dx, lambda: lrn.backward(library, response, *places))


def _response(x: Any, size: int, alpha: float, beta: float, k: float, layout: str) -> Response:
    d, first = checked(x=x), last(layout)
    spatial("x", x)
    if counted("size", size) > 16:
        raise ArgumentError(f"size is {size}; needs 1 to 16")
    if beta < 0.01 or k < 1e-5:
        raise ArgumentError(f"beta is {beta} and k {k}; they are at least 0.01 and 1e-5")
    return Response(dims(x.shape, first), counted("size", size), alpha, beta, k, d, first)
