"""Batch norm, layer norm, RMS norm, group norm and local response normalisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cortex_compute.errors import DTypeError, ShapeError
from cortex_compute.primitives.normalization import (
    BatchNorm,
    BatchNormGrad,
    LayerNorm,
    LayerNormGrad,
    vector_type,
)
from cortex_compute.types import dtype
from cortex_core.ops import reduce
from cortex_core.ops.apply import apply
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import decomposition_of, gradient_of
from cortex_core.ops.pointwise import cast, exp, log, pointwise, rsqrt
from cortex_core.ops.pooling import avg_pool
from cortex_core.ops.views import reshape

Norm = BatchNorm | LayerNorm | BatchNormGrad | LayerNormGrad


def batch_norm(x: Any, scale: Any | None, shift: Any | None, epsilon: float = 1e-5) -> tuple[Any, Any, Any]:
    """y = (x - mean) / sqrt(variance + epsilon) * scale + shift, per channel; also mean and biased variance.

    x (..., C), scale (C,) or None for 1, shift (C,) or None for 0 -> y (..., C), mean (C,), variance (C,).
    With h = (y - shift) / scale and r = 1 / sqrt(variance + epsilon):
    dx = scale r (g - mean(g) - h mean(g h));  dscale = sum(g h);  dshift = sum(g).
    """
    return apply(BatchNorm(epsilon), x, *_vectors(x, scale, shift))  # type: ignore[no-any-return]


def layer_norm(x: Any, scale: Any | None, shift: Any | None, epsilon: float = 1e-5) -> Any:
    """y = (x - mean) / sqrt(variance + epsilon) * scale + shift over the last axis.

    x (..., C), scale (C,) or None for 1, shift (C,) or None for 0 -> (..., C).
    With k = g scale:  dx = r (k - mean(k) - h mean(k h)), means over the last axis;  dscale and dshift as in
    `batch_norm`.
    """
    return apply(LayerNorm(epsilon), x, *_vectors(x, scale, shift))[0]


def normalize(
    x: Any, mean: Any, variance: Any, scale: Any | None, shift: Any | None, epsilon: float = 1e-5
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * scale + shift with given statistics, as batch norm predicts.

    An x that is narrower than the statistics, as it is for a layer in bfloat16, is computed in their type.
    The gradient comes from the scalar table; it flows to the statistics too.
    """
    if dtype(x.dtype).kind != "float":
        raise DTypeError(f"normalize: x is {x.dtype}; needs a floating type")
    factor = rsqrt(variance + epsilon)
    if scale is not None:
        factor = factor * scale
    wide = _as(x, mean) if dtype(x.dtype).itemsize < dtype(mean.dtype).itemsize else x
    return _as(_scaled(wide, mean, factor) if shift is None else _affine(wide, mean, factor, shift), x)


def rms_norm(x: Any, scale: Any | None = None, epsilon: float = 1e-6) -> Any:
    """y = x r * scale with r = 1 / sqrt(mean(x^2) + epsilon), the mean over the last axis.

    x (..., C), scale (C,) or None for 1 -> (..., C).  Zhang and Sennrich, 2019.
    With k = g scale:  dx = r (k - x r^2 mean(k x));  dscale = sum(g x r).
    """
    wide = _wide("rms_norm", x, scale=scale)
    r = _inverse_root(reduce.mean(wide * wide, -1, keepdims=True), epsilon)
    return _as(wide * r if scale is None else _product(wide, r, scale), x)


def group_norm(
    x: Any, groups: int, scale: Any | None = None, shift: Any | None = None, epsilon: float = 1e-5
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * scale + shift, per example and group of neighbouring channels.

    Mean and variance are over the channels of the group and all axes between them and the batch.
    x (B, ..., C), scale (C,) or None for 1, shift (C,) or None for 0 -> (B, ..., C).  Wu and He, 2018.
    """
    if len(x.shape) < 2 or groups < 1 or x.shape[-1] % groups:
        raise ShapeError(f"group_norm: the channels of shape {x.shape} do not split into {groups} groups")
    each = x.shape[-1] // groups
    wide = _wide("group_norm", x, scale=scale, shift=shift)
    parts = reshape(wide, (x.shape[0], math.prod(x.shape[1:-1]), groups, each))
    mean = reduce.mean(parts, (1, 3), keepdims=True)
    rest = parts - mean
    variance = reduce.mean(rest * rest, (1, 3), keepdims=True)
    vectors = [None if v is None else reshape(v, (groups, each)) for v in (scale, shift)]
    y = normalize(parts, mean, variance, vectors[0], vectors[1], epsilon)
    return _as(reshape(y, x.shape), x)


def local_response_norm(x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    """y = x / d^beta with d = k + alpha s, s the sum of x^2 over ``size`` neighbouring channels.

    Channel c sees c - size // 2 to c + (size - 1) // 2, as far as there are any; ``k`` is above 0.
    x (..., C) -> (..., C).  Krizhevsky et al., 2012, section 3.3.
    dx = g d^-beta - 2 alpha beta x t, t the sum of g x d^(-beta - 1) over the windows that see x
    """
    wide = _wide("local_response_norm", x)
    if size < 1:
        raise ShapeError(f"local_response_norm: size is {size}; needs one channel at least")
    lines = reshape(wide * wide, (math.prod(x.shape[:-1]), x.shape[-1], 1))
    before, after = (min(n, x.shape[-1]) for n in (size // 2, (size - 1) // 2))  # there are no more
    window = before + 1 + after
    means = avg_pool(lines, window, 1, ((before, after),), count_padding=True)
    return _as(_damped(wide, reshape(means, x.shape), alpha=alpha * window, beta=beta, k=k), x)


def _wide(what: str, x: Any, **vectors: Any | None) -> Any:
    """x in the type that sums over it are taken in.  Rejects ``vectors`` that are not (C,)."""
    if dtype(x.dtype).kind != "float":
        raise DTypeError(f"{what}: x is {x.dtype}; needs a floating type")
    if not x.shape:
        raise ShapeError(f"{what}: x has shape (); needs (..., channels)")
    for name, v in vectors.items():
        if v is not None and tuple(v.shape) != tuple(x.shape[-1:]):
            raise ShapeError(f"{what}: {name} has shape {v.shape}, x {x.shape} needs {x.shape[-1:]}")
    return cast(x, vector_type(x.dtype))


@pointwise
def _inverse_root(mean: Any, epsilon: float) -> Any:
    return rsqrt(mean + epsilon)


@pointwise
def _damped(x: Any, mean: Any, alpha: float, beta: float, k: float) -> Any:
    return x * exp(-beta * log(k + alpha * mean))  # a power takes NumPy twice as long


@pointwise
def _product(x: Any, r: Any, scale: Any) -> Any:
    return x * r * scale


@pointwise
def _scaled(x: Any, mean: Any, factor: Any) -> Any:
    return (x - mean) * factor


@pointwise
def _affine(x: Any, mean: Any, factor: Any, shift: Any) -> Any:
    return (x - mean) * factor + shift


def _vectors(x: Any, scale: Any | None, shift: Any | None) -> tuple[Any, Any]:
    of, channels = dtype(x.dtype), x.shape[-1:]
    storage = of.storage if of.itemsize > 2 else np.float32
    ones = np.ones(channels, storage) if scale is None else scale
    return ones, np.zeros(channels, storage) if shift is None else shift


@gradient_of(BatchNorm, LayerNorm)
def _norm(node: Node, g: Any, g_mean: Any, g_variance: Any) -> Any:
    """With r = 1 / sqrt(variance + epsilon), h = (x - mean) r, k = g scale, and means over what mean is over:
    dx = r (k - mean(k) - h mean(k h)),  dscale = sum(g h),  dshift = sum(g)

    Of y alone; gradients of the statistics are left to the decomposition.
    """
    if g_mean is not None or g_variance is not None:
        return NotImplemented
    p, (x, scale, _), (_, mean, variance) = node.primitive, node.inputs, node.outputs
    assert isinstance(p, (BatchNorm, LayerNorm))
    gradient = BatchNormGrad if isinstance(p, BatchNorm) else LayerNormGrad
    return apply(gradient(p.epsilon), x, scale, mean, variance, g)


def _axes(p: Norm, x: Any) -> tuple[int, ...]:
    """The axes that mean and variance are taken over."""
    last = len(x.shape) - 1
    return tuple(range(last)) if isinstance(p, (BatchNorm, BatchNormGrad)) else (last,)


def _moments(p: Norm, x: Any) -> tuple[Any, Any, Any]:
    """x - mean, mean and variance; the reduced axes stay with size 1."""
    axes = _axes(p, x)
    mean = reduce.mean(x, axes, keepdims=True)
    rest = x - mean
    return rest, mean, reduce.mean(rest * rest, axes, keepdims=True)


def _as(x: Any, like: Any) -> Any:
    """x in the data type of another: a narrow x has wide vectors."""
    return x if x.dtype is like.dtype else cast(x, like.dtype)


@decomposition_of(BatchNorm)
@decomposition_of(LayerNorm)
def _norm_decomposed(p: Norm, x: Any, scale: Any, shift: Any) -> tuple[Any, ...]:
    rest, mean, variance = _moments(p, _as(x, scale))
    y = rest * rsqrt(variance + p.epsilon) * scale + shift
    kept = [n for a, n in enumerate(x.shape) if a not in _axes(p, x)]
    return _as(y, x), reshape(mean, kept), reshape(variance, kept)


@decomposition_of(BatchNormGrad)
@decomposition_of(LayerNormGrad)
def _norm_gradient_decomposed(
    p: Norm, x: Any, scale: Any, mean: Any, variance: Any, g: Any
) -> tuple[Any, ...]:
    """Statistics computed again, so that x is differentiated through them; the saved ones get nothing."""
    axes, front, g = _axes(p, x), tuple(range(len(x.shape) - 1)), _as(g, scale)
    rest, _, variance = _moments(p, _as(x, scale))
    r = rsqrt(variance + p.epsilon)
    h, k = rest * r, g * scale
    dx = r * (k - reduce.mean(k, axes, keepdims=True) - h * reduce.mean(k * h, axes, keepdims=True))
    return _as(dx, x), reduce.sum(g * h, front), reduce.sum(g, front)
