"""Batch norm and local response normalisation."""

from __future__ import annotations

from typing import Any, NamedTuple

from cortex_compute.errors import ArgumentError, DTypeError, ShapeError
from cortex_compute.expression import build
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.primitives.normalization import BatchNorm, BatchNormGrad, vector_type
from cortex_gpu.cudnn import lrn
from cortex_gpu.cudnn import normalization as by_cudnn
from cortex_gpu.cudnn.lrn import Response
from cortex_gpu.cudnn.normalization import Batch
from cortex_gpu.ops.arrays import (
    address,
    back,
    checked,
    compute,
    cudnn,
    dims,
    dtype_of,
    empty_like,
    images,
    last,
    needed,
    spatial,
)


class Saved(NamedTuple):
    """What `batch_norm` keeps for its gradient: the mean, and by cuDNN 1 / sqrt(variance + epsilon), else
    the variance; (C,) each."""

    mean: Any
    spread: Any


def batch_norm(
    x: Any, scale: Any, shift: Any, epsilon: float = 1e-5, layout: str = "NHWC"
) -> tuple[Any, Saved]:
    """y = (x - mean) / sqrt(variance + epsilon) * scale + shift, per channel of the batch.

    x (N, *S, C) or channels first; scale and shift (C,), float32 (float64 beside a float64 x).
    """
    d, first = _checked(x, layout, scale=scale, shift=shift)
    if (library := cudnn()) is None:
        y, mean, variance = compute(BatchNorm(epsilon), images(x, first), scale, shift)
        return back(y, first), Saved(mean, variance)
    y, saved = empty_like(x), Saved(empty_like(scale), empty_like(scale))
    by_cudnn.training(
        library, Batch(dims(x.shape, first), epsilon, d, first), address(x), address(y), address(scale),
        address(shift), (address(saved.mean), address(saved.spread)),
    )()  # fmt: skip
    return y, saved


def batch_norm_backward(
    x: Any, dy: Any, scale: Any, saved: Saved, epsilon: float = 1e-5, layout: str = "NHWC"
) -> tuple[Any, Any, Any]:
    """The gradients of x, scale and shift from that of y and what `batch_norm` saved."""
    checked(x=x, dy=dy)
    d, first = _checked(x, layout, scale=scale, mean=saved.mean, spread=saved.spread)
    if x.shape != dy.shape:
        raise ShapeError(f"dy has shape {dy.shape}, x has {x.shape}")
    if (library := cudnn()) is None:
        arrays = images(x, first), scale, saved.mean, saved.spread, images(dy, first)
        dx, dscale, dshift = compute(BatchNormGrad(epsilon), *arrays)
        return back(dx, first), dscale, dshift
    dx, dscale, dshift = empty_like(x), empty_like(scale), empty_like(scale)
    by_cudnn.backward(
        library, Batch(dims(x.shape, first), epsilon, d, first), address(x), address(dy), address(scale),
        (address(saved.mean), address(saved.spread)), address(dx), address(dscale), address(dshift),
    )()  # fmt: skip
    return dx, dscale, dshift


def batch_norm_inference(
    x: Any, scale: Any, shift: Any, mean: Any, variance: Any, epsilon: float = 1e-5, layout: str = "NHWC"
) -> Any:
    """The same with a given mean and variance, (C,) each."""
    d, first = _checked(x, layout, scale=scale, shift=shift, mean=mean, variance=variance)
    if (library := cudnn()) is None:
        formula = build(
            lambda x, a, b, m, v: (
                (x - m) * x.builder.make("rsqrt", v + epsilon) * a + b
            ), 5
        )  # fmt: skip
        p = Elementwise(formula.code, formula.literals)
        return back(compute(p, images(x, first), scale, shift, mean, variance)[0], first)
    y = empty_like(x)
    by_cudnn.inference(
        library, Batch(dims(x.shape, first), epsilon, d, first), address(x), address(y), address(scale),
        address(shift), address(mean), address(variance),
    )()  # fmt: skip
    return y


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
    y = empty_like(x)
    lrn.forward(needed("local_response"), response, address(x), address(y))()
    return y


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
    dx = empty_like(x)
    library = needed("local_response_backward")
    lrn.backward(library, response, address(y), address(dy), address(x), address(dx))()
    return dx


def _response(x: Any, size: int, alpha: float, beta: float, k: float, layout: str) -> Response:
    d, first = checked(x=x), last(layout)
    spatial("x", x)
    if not 1 <= size <= 16:
        raise ArgumentError(f"size is {size}; needs 1 to 16")
    if beta < 0.01 or k < 1e-5:
        raise ArgumentError(f"beta is {beta} and k {k}; they are at least 0.01 and 1e-5")
    return Response(dims(x.shape, first), size, alpha, beta, k, d, first)
