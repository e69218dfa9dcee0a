"""Batch norm per channel, in training and in use, and its gradients.

Scale, shift, mean and variance are float32, beside float64 float64.  A training pass leaves the mean and
1 / sqrt(variance + epsilon) for the gradient.
"""

from __future__ import annotations

from collections.abc import Callable

from cortex_compute.frozen import frozen
from cortex_compute.types import DType, float32, float64
from cortex_gpu.cudnn import constants as c
from cortex_gpu.cudnn.descriptors import Descriptor, Sizes, factors, image
from cortex_gpu.cudnn.library import Library


@frozen
class Batch:
    """An image (N, C, *S) of sizes ``dims``."""

    dims: Sizes
    epsilon: float
    dtype: DType
    channels_last: bool = True

    @property
    def vectors(self) -> DType:
        """The type of what there is once per channel."""
        return float64 if self.dtype is float64 else float32

    def described(self, library: Library) -> tuple[Descriptor, Descriptor]:
        """The image, and what there is once per channel."""
        per_channel = 1, self.dims[1], *(1 for _ in self.dims[2:])
        array = image(library, self.dims, self.dtype, self.channels_last)
        return array, image(library, per_channel, self.vectors, self.channels_last)


def training(
    library: Library,
    batch: Batch,
    x: int,
    y: int,
    scale: int,
    shift: int,
    saved: tuple[int, int],
) -> Callable[[], None]:
    """A call that computes y and ``saved`` (mean, inverse deviation)."""
    (array, vector), (one, zero) = batch.described(library), factors(batch.dtype)
    return library.launcher(
        "BatchNormalizationForwardTraining", c.BATCHNORM_SPATIAL, one, zero, array, x, array, y, vector,
        scale, shift, 0.0, None, None, batch.epsilon, *saved,  # no running statistics
    )  # fmt: skip


def inference(
    library: Library, batch: Batch, x: int, y: int, scale: int, shift: int, mean: int, variance: int
) -> Callable[[], None]:
    """A call that computes y with a given mean and variance."""
    (array, vector), (one, zero) = batch.described(library), factors(batch.dtype)
    return library.launcher(
        "BatchNormalizationForwardInference", c.BATCHNORM_SPATIAL, one, zero, array, x, array, y, vector,
        scale, shift, mean, variance, batch.epsilon,
    )  # fmt: skip


def backward(
    library: Library,
    batch: Batch,
    x: int,
    dy: int,
    scale: int,
    saved: tuple[int, int],
    dx: int,
    dscale: int,
    dshift: int,
) -> Callable[[], None]:
    """A call that computes the three gradients from what `training` saved."""
    (array, vector), (one, zero) = batch.described(library), factors(batch.dtype)
    return library.launcher(
        "BatchNormalizationBackward", c.BATCHNORM_SPATIAL, one, zero, one, zero, array, x, array, dy, array,
        dx, vector, scale, dscale, dshift, batch.epsilon, *saved,
    )  # fmt: skip
