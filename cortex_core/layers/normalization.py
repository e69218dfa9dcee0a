"""Normalisation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

from cortex_compute.types import TensorType
from cortex_core.initializers import ones, zeros
from cortex_core.layers.expect import refuse
from cortex_core.layers.scope import Parameter, Scope, Variable
from cortex_core.ops.normalization import batch_norm, group_norm, layer_norm, normalize, rms_norm
from cortex_core.ops.pointwise import pointwise
from cortex_core.ops.views import reshape
from cortex_core.registry import field, layer

CHANNELS, ELEMENTS = slice(-1, None), slice(1, None)
"""The axes that a normalisation has parameters for: the last, or all but the batch."""


@pointwise
def moved(old: Any, new: Any, momentum: float, correction: float = 1.0) -> Any:
    """The moving mean, in which the old value has the weight ``momentum``"""
    return momentum * old + ((1 - momentum) * correction) * new


def scaling(layer: Any, x: TensorType, axes: slice = CHANNELS) -> Iterator[Parameter]:
    """The factor behind a normalisation, one for each place along the axes."""
    if x.rank < 2:
        refuse(f"{layer.kind} needs at least one axis", x)
    if layer.scale:
        yield Parameter("scale", x.shape[axes], ones, precise=True)


def affine(layer: Any, x: TensorType, axes: slice = CHANNELS) -> Iterator[Parameter]:
    """The factor and the summand behind a normalisation."""
    yield from scaling(layer, x, axes)
    if layer.center:
        yield Parameter("shift", x.shape[axes], zeros, precise=True)


@layer("batch_norm", transparent=True, positionwise=True)
class BatchNorm:
    """(x - mean) / sqrt(var + epsilon) * gamma + beta per channel, over batch and space.   x (B, ..., C)

    Training uses the batch's mean and variance, prediction the running ones; so does training where the
    layer is ``trainable: false``, and leaves them as they are.  With ``mode: elementwise`` each element of an
    example has statistics, gamma and beta of its own, over the batch alone.
    Ioffe and Szegedy, 2015.

    Example:
        inputs: {image: [3, 3, 2]}
        layers: [batch_norm]
    """

    momentum: float = field(default=0.9, doc="weight of the old running value", minimum=0, maximum=1)
    epsilon: float = field(default=1e-5, doc="added to the variance", above=0)
    scale: bool = field(default=True, doc="multiplies by gamma, which is learnt")
    center: bool = field(default=True, doc="adds beta, which is learnt")
    mode: Literal["spatial", "elementwise"] = field(
        default="spatial", doc="statistics of a channel over batch and space, or of an element over the batch"
    )

    def parameters(self, x: TensorType) -> Iterator[Parameter | Variable]:
        axes = ELEMENTS if self.mode == "elementwise" else CHANNELS
        yield from affine(self, x, axes)
        yield Variable("moving_mean", x.shape[axes], 0.0)
        yield Variable("moving_variance", x.shape[axes], 1.0)

    def forward(self, p: Scope, x: Any) -> Any:
        scale, shift = p.get("scale"), p.get("shift")
        if not p.training or p.frozen:
            return normalize(x, p.moving_mean, p.moving_variance, scale, shift, self.epsilon)
        if self.mode == "elementwise":
            y, mean, variance = self._of_elements(x, scale, shift)
        else:
            y, mean, variance = batch_norm(x, scale, shift, self.epsilon)
        n = x.size // mean.size
        unbiased = n / max(1, n - 1)  # the running variance estimates that of all data, as PyTorch has it
        p.update("moving_mean", moved(p.moving_mean, mean, self.momentum))
        p.update("moving_variance", moved(p.moving_variance, variance, self.momentum, unbiased))
        return y

    def _of_elements(self, x: Any, *vectors: Any | None) -> Iterator[Any]:
        """The elements of an example as so many channels."""
        elements = x.shape[1:]
        scale, shift = (None if v is None else reshape(v, (v.size,)) for v in vectors)
        flat = reshape(x, (x.shape[0], math.prod(elements)))
        y, *moments = batch_norm(flat, scale, shift, self.epsilon)
        yield reshape(y, x.shape)
        yield from (reshape(m, elements) for m in moments)

    def step(self, p: Scope, x: Any) -> Any:
        """Of one position, where all share their numbers."""
        if self.mode == "elementwise" and len(x.shape) > 2:
            refuse("batch_norm has other numbers for each position by 'mode: elementwise'", x)
        return self.forward(p, x)


@layer("layer_norm", transparent=True, positionwise=True)
class LayerNorm:
    """(x - mean) / sqrt(var + epsilon) * gamma + beta over the last axis.   x (B, ..., C)

    Ba et al., 2016.

    Example:
        inputs: {features: [3, 4]}
        layers: [layer_norm]
    """

    epsilon: float = field(default=1e-5, doc="added to the variance", above=0)
    scale: bool = field(default=True, doc="multiplies by gamma, which is learnt")
    center: bool = field(default=True, doc="adds beta, which is learnt")

    def parameters(self, x: TensorType) -> Iterator[Parameter]:
        yield from affine(self, x)

    def forward(self, p: Scope, x: Any) -> Any:
        return layer_norm(x, p.get("scale"), p.get("shift"), self.epsilon)


@layer("rms_norm", transparent=True, positionwise=True)
class RmsNorm:
    """x / sqrt(mean(x^2) + epsilon) * gamma, the mean over the last axis.   x (B, ..., C)

    Zhang and Sennrich, 2019.

    Example:
        inputs: {features: [3, 4]}
        layers: [rms_norm]
    """

    epsilon: float = field(default=1e-6, doc="added to the mean square", above=0)
    scale: bool = field(default=True, doc="multiplies by gamma, which is learnt")

    def parameters(self, x: TensorType) -> Iterator[Parameter]:
        yield from scaling(self, x)

    def forward(self, p: Scope, x: Any) -> Any:
        return rms_norm(x, p.get("scale"), self.epsilon)


@layer("group_norm", main="groups", transparent=True)
class GroupNorm:
    """(x - mean) / sqrt(var + epsilon) * gamma + beta, per example and group of neighbouring channels.

    x (B, ..., C), C a multiple of groups; mean and var are over the group's channels and all of space.
    Wu and He, 2018.

    Example:
        inputs: {image: [2, 3, 4]}
        layers: [group_norm: 2]
    """

    groups: int = field(doc="into how many groups the channels are divided", minimum=1)
    epsilon: float = field(default=1e-5, doc="added to the variance", above=0)
    scale: bool = field(default=True, doc="multiplies by gamma, which is learnt")
    center: bool = field(default=True, doc="adds beta, which is learnt")

    def parameters(self, x: TensorType) -> Iterator[Parameter]:
        yield from affine(self, x)
        if x.shape[-1] % self.groups:
            refuse(f"group_norm needs channels that divide into {self.groups} groups", x)

    def forward(self, p: Scope, x: Any) -> Any:
        return group_norm(x, self.groups, p.get("scale"), p.get("shift"), self.epsilon)
