"""Normalisation.   x (N, C, ...)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_compute.types import dtype as as_dtype
from cortex_core.layers.normalization import moved
from cortex_core.nn import functional as F
from cortex_core.nn import init
from cortex_core.nn.functional.normalization import batch_normalized, instance_statistics
from cortex_core.nn.linear import empty
from cortex_core.nn.module import Module
from cortex_core.ops.pointwise import cast, pointwise
from cortex_core.ops.views import reshape
from cortex_core.tensor import Tensor, no_grad

AXES = {2: "(N, C)", 3: "(N, C, L)", 4: "(N, C, H, W)", 5: "(N, C, D, H, W)"}


@pointwise
def _cumulative(old: Any, new: Any, count: Any) -> Any:
    """The mean of ``count`` values, of which ``new`` is the last."""
    return old + (new - old) / count


class _Running(Module):
    """Parameters and running statistics, one of each for every channel."""

    ranks: ClassVar[tuple[int, ...]]
    running_mean: Any
    running_var: Any
    num_batches_tracked: Any

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        dtype: object,
        bias: bool,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.register_parameter("weight", empty(num_features, dtype=dtype) if affine else None)
        self.register_parameter("bias", empty(num_features, dtype=dtype) if affine and bias else None)
        kind = as_dtype(dtype or "float32").storage
        for name, first in (("running_mean", np.zeros), ("running_var", np.ones)):
            self.register_buffer(name, Tensor(first(num_features, kind)) if track_running_stats else None)
        count = Tensor(np.zeros((), np.int64)) if track_running_stats else None
        self.register_buffer("num_batches_tracked", count)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights of 1, biases of 0, no statistics yet."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def reset_running_stats(self) -> None:
        """Forgets the statistics: mean 0, variance 1, no batch seen."""
        if self.track_running_stats:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.zeros_(self.num_batches_tracked)

    def expect(self, x: Any) -> None:
        """Refuses an input of other channels or of other axes."""
        if len(x.shape) not in self.ranks or x.shape[1] != self.num_features:
            axes = " or ".join(AXES[rank] for rank in self.ranks)
            raise ShapeError(
                f"{self!r}: the input has shape {x.shape}; needs {axes} with C = {self.num_features}"
            )

    def track(self, mean: Any, variance: Any) -> None:
        """Moves the running statistics towards those of a batch."""
        keep = 1 - (self.momentum or 0.0)
        self.running_mean = moved(self.running_mean, mean, momentum=keep)
        self.running_var = moved(self.running_var, variance, momentum=keep)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Running):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: object = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, bias)

    def forward(self, input: Any) -> Any:
        self.expect(input)
        if not self.training and self.track_running_stats:
            statistics = self.running_mean, self.running_var
            return F.batch_norm(input, *statistics, self.weight, self.bias, eps=self.eps)
        y, mean, variance = batch_normalized(input, self.weight, self.bias, self.eps)
        if self.track_running_stats:
            with no_grad():
                self.track(mean, variance)
        return y

    def track(self, mean: Any, variance: Any) -> None:
        self.num_batches_tracked = self.num_batches_tracked + 1
        if self.momentum is not None:
            return super().track(mean, variance)
        count = cast(self.num_batches_tracked, mean.dtype)
        self.running_mean = _cumulative(self.running_mean, mean, count)
        self.running_var = _cumulative(self.running_var, variance, count)


class BatchNorm1d(_BatchNorm):
    """(x - mean) / sqrt(var + eps) * weight + bias per channel, over batch and length.   (N, C) or (N, C, L)

    Training uses the batch's statistics, evaluation the running ones: new = (1 - momentum) old + momentum
    batch's, the variance unbiased; with ``momentum=None`` the mean of all batches.  Ioffe and Szegedy, 2015.
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """(x - mean) / sqrt(var + eps) * weight + bias per channel, over batch and image.   (N, C, H, W)

    See `BatchNorm1d`.
    """

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """(x - mean) / sqrt(var + eps) * weight + bias per channel, over batch and volume.   (N, C, D, H, W)

    See `BatchNorm1d`.
    """

    ranks = (5,)


class _InstanceNorm(_Running):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        dtype: object = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, bias)

    def forward(self, input: Any) -> Any:
        if len(input.shape) == self.ranks[0] - 1:  # one example
            return reshape(self.forward(reshape(input, (1, *input.shape))), input.shape)
        self.expect(input)
        parts = self.running_mean, self.running_var, self.weight, self.bias
        if not self.training and self.track_running_stats:
            return F.instance_norm(input, *parts, use_input_stats=False, eps=self.eps)
        if self.track_running_stats:
            with no_grad():
                self.track(*instance_statistics(input))
        return F.instance_norm(input, None, None, self.weight, self.bias, eps=self.eps)


class InstanceNorm1d(_InstanceNorm):
    """(x - mean) / sqrt(var + eps) per channel of each example, over the length.   (N, C, L) or (C, L)

    See `InstanceNorm2d`.
    """

    ranks = (3,)


class InstanceNorm2d(_InstanceNorm):
    """(x - mean) / sqrt(var + eps) per channel of each example, over the image.   (N, C, H, W) or (C, H, W)

    With ``track_running_stats`` evaluation uses running statistics.  Ulyanov et al., 2016.
    """

    ranks = (4,)


class LayerNorm(Module):
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axes, of the shape given.

    Ba et al., 2016.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: object = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _shape(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        weight = empty(*self.normalized_shape, dtype=dtype) if elementwise_affine else None
        self.register_parameter("weight", weight)
        shift = empty(*self.normalized_shape, dtype=dtype) if elementwise_affine and bias else None
        self.register_parameter("bias", shift)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights of 1, biases of 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Any) -> Any:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class RMSNorm(Module):
    """x / sqrt(mean(x²) + eps) * weight over the last axes, of the shape given.  Zhang and Sennrich, 2019

    ``eps`` is that of the data type unless given.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: object = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _shape(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        weight = empty(*self.normalized_shape, dtype=dtype) if elementwise_affine else None
        self.register_parameter("weight", weight)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights of 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Any) -> Any:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """(x - mean) / sqrt(var + eps) * weight + bias over each group of channels and all space of each example.

    (N, C, ...) -> (N, C, ...).  Wu and He, 2018.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: object = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ArgumentError(
                f"GroupNorm: {num_channels} channels do not split into num_groups={num_groups}"
            )
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self.register_parameter("weight", empty(num_channels, dtype=dtype) if affine else None)
        self.register_parameter("bias", empty(num_channels, dtype=dtype) if affine and bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights of 1, biases of 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Any) -> Any:
        if input.shape[1:2] != (self.num_channels,):
            raise ShapeError(
                f"{self!r}: the input has shape {input.shape}; axis 1 must be {self.num_channels}"
            )
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class LocalResponseNorm(Module):
    """x / (k + alpha mean(x²))^beta, the mean over ``size`` neighbouring channels.   (N, C, ...)

    See `functional.local_response_norm`.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        if size < 1:
            raise ArgumentError(f"LocalResponseNorm: size={size}; needs at least one channel")
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Any) -> Any:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


def _shape(given: int | Sequence[int]) -> tuple[int, ...]:
    return (given,) if isinstance(given, int) else tuple(given)
