"""Normalisations, channels first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from cortex_compute.errors import ShapeError
from cortex_compute.primitives.normalization import vector_type
from cortex_core.layers.normalization import moved
from cortex_core.nn.functional.spatial import channels_first, channels_last
from cortex_core.ops import normalization, reduce
from cortex_core.ops.pointwise import cast
from cortex_core.ops.views import reshape
from cortex_core.tensor import no_grad


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """(x - mean) / sqrt(var + eps) * weight + bias per channel.   x (N, C, ...), the others (C,)

    Without ``training`` the statistics are the running ones; with it those of the batch, and running ones
    that are given change in place: new = (1 - momentum) old + momentum batch's, the variance unbiased.
    """
    if not training:
        return normalized(input, running_mean, running_var, weight, bias, eps)
    y, mean, variance = batch_normalized(input, weight, bias, eps)
    if running_mean is not None:
        with no_grad():
            running_mean.copy_(moved(running_mean, mean, momentum=1 - momentum))
            running_var.copy_(moved(running_var, variance, momentum=1 - momentum))
    return y


def batch_normalized(x: Any, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any]:
    """Normalised over all but the channels, and the batch's mean and unbiased variance, without history.

    x (N, C, ...) -> (N, C, ...), (C,), (C,)
    """
    n = math.prod(x.shape) // max(x.shape[1], 1)
    if n == 1:
        raise ShapeError(
            f"batch_norm: the input has shape {x.shape}: one value per channel has no variance; "
            "train on more than one, or call eval() first"
        )
    y, mean, variance = normalization.batch_norm(channels_last(x), weight, bias, eps)
    y = channels_first(y)
    with no_grad():
        return y, mean, variance * (n / max(n - 1, 1))


def normalized(x: Any, mean: Any, variance: Any, weight: Any, bias: Any, eps: float) -> Any:
    """Normalised by given statistics (C,).   x (N, C, ...)"""
    return channels_first(normalization.normalize(channels_last(x), mean, variance, weight, bias, eps))


def layer_norm(
    input: Any, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axes, whose sizes are given, as weight's."""
    rows = _last_axes("layer_norm", input, normalized_shape)
    scale, shift = (None if v is None else _wide(reshape(v, rows[-1:]), input) for v in (weight, bias))
    return reshape(normalization.layer_norm(reshape(input, rows), scale, shift, eps), input.shape)


def rms_norm(
    input: Any, normalized_shape: Sequence[int], weight: Any = None, eps: float | None = None
) -> Any:
    """x / sqrt(mean(x²) + eps) * weight over the last axes.  ``eps``: that of the data type, unless given."""
    rows = _last_axes("rms_norm", input, normalized_shape)
    scale = None if weight is None else _wide(reshape(weight, rows[-1:]), input)
    y = normalization.rms_norm(reshape(input, rows), scale, input.dtype.eps if eps is None else eps)
    return reshape(y, input.shape)


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Normalised over each group of channels and all space of each example.   x (N, C, ...), weight (C,)"""
    if len(input.shape) < 2 or input.shape[1] % num_groups:
        raise ShapeError(
            f"group_norm: the channels of shape {input.shape} do not split into {num_groups} groups"
        )
    rows = reshape(input, (input.shape[0], num_groups, math.prod(input.shape[1:]) // num_groups))
    y = reshape(normalization.layer_norm(rows, None, None, eps), input.shape)
    return affine(y, weight, bias)


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Normalised over the space of each channel of each example.   x (N, C, ...), the others (C,)

    Without ``use_input_stats`` by the running statistics; with it those that are given change in place.
    """
    if not use_input_stats:
        return normalized(input, running_mean, running_var, weight, bias, eps)
    if running_mean is not None:
        with no_grad():
            mean, variance = instance_statistics(input)
            running_mean.copy_(moved(running_mean, mean, momentum=1 - momentum))
            running_var.copy_(moved(running_var, variance, momentum=1 - momentum))
    return group_norm(input, input.shape[1], weight, bias, eps)


def instance_statistics(x: Any) -> tuple[Any, Any]:
    """Means over the batch of each example's mean and unbiased variance.   x (N, C, ...) -> (C,), (C,)"""
    rows = reshape(x, (*x.shape[:2], math.prod(x.shape[2:])))
    n = rows.shape[-1]
    rest = rows - reduce.mean(rows, -1, keepdims=True)
    variance = reduce.sum(rest * rest, -1) / float(max(n - 1, 1))
    return reduce.mean(rows, (0, 2)), reduce.mean(variance, 0)


def local_response_norm(
    input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Any:
    """x / (k + alpha mean(x²))^beta, the mean over ``size`` neighbouring channels, 0 beyond the last ones.

    x (N, C, ...).  Krizhevsky et al., 2012, who have the sum instead of the mean.
    """
    if len(input.shape) < 3:
        raise ShapeError(f"local_response_norm: the input has shape {input.shape}; needs (N, C, ...)")
    y = normalization.local_response_norm(channels_last(input), size, alpha / size, beta, k)
    return channels_first(y)


def affine(x: Any, weight: Any, bias: Any) -> Any:
    """x weight + bias per channel.   x (N, C, ...)"""
    shape = (-1, *(1,) * (len(x.shape) - 2))
    if weight is not None:
        x = x * reshape(weight, shape)
    return x if bias is None else x + reshape(bias, shape)


def _wide(vector: Any, x: Any) -> Any:
    """float32 where it has x's 16 bits, as the ops want it."""
    return cast(vector, vector_type(x.dtype)) if vector.dtype == x.dtype else vector


def _last_axes(what: str, x: Any, sizes: Sequence[int]) -> tuple[int, ...]:
    """x's shape with the last axes as one, and at least one axis before it."""
    if not sizes or x.shape[-len(sizes) :] != tuple(sizes):
        raise ShapeError(f"{what}: the last axes of shape {x.shape} are not normalized_shape={tuple(sizes)}")
    return (*(x.shape[: -len(sizes)] or (1,)), math.prod(sizes))
