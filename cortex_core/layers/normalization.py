"""Normalisation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from cortex_compute.types import TensorType
from cortex_core.initializers import ones, zeros
from cortex_core.layers.expect import each_position, floating, refuse
from cortex_core.layers.scope import Parameter, Scope, Variable
from cortex_core.ops.normalization import batch_norm, group_norm, layer_norm, normalize, rms_norm
from cortex_core.ops.pointwise import maximum, pointwise, rsqrt
from cortex_core.ops.reduce import sum as total
from cortex_core.ops.views import reshape
from cortex_core.registry import base, field, layer

CHANNELS, ELEMENTS = slice(-1, None), slice(1, None)
"""The axes that a normalisation has parameters for: the last, or all but the batch."""
SHORTEST = 1e-12  # what a shorter length counts as
LONGEST = 1e18  # the square of a length up to it, and of the inverse, is a normal number of 32 bits


@pointwise
def moved(old: Any, new: Any, momentum: float, correction: float = 1.0) -> Any:
    """The moving mean, in which the old value has the weight ``momentum``"""
    return momentum * old + ((1 - momentum) * correction) * new


def unit(x: Any, axes: int | tuple[int, ...], shortest: float = SHORTEST) -> Any:
    """x divided by its Euclidean length along the axes, or by the shortest one if that is more"""
    return x * rsqrt(maximum(total(x * x, axes, keepdims=True), shortest**2))


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


@base
class Together:
    """The base of normalisations over the last axes of each example."""

    kind: ClassVar[str]

    axes: int = field(default=1, doc="how many of the last axes are normalised together", minimum=1)
    scale: bool = field(default=True, doc="multiplies by gamma, which is learnt")

    def forward(self, p: Scope, x: Any) -> Any:
        if self.axes == 1:
            return self.normalized(x, p.get("scale"), p.get("shift"))
        of_all = math.prod(x.shape[-self.axes :])
        vectors = (None if v is None else reshape(v, (of_all,)) for v in map(p.get, ("scale", "shift")))
        return reshape(self.normalized(reshape(x, (*x.shape[: -self.axes], of_all)), *vectors), x.shape)

    def normalized(self, x: Any, scale: Any | None, shift: Any | None) -> Any:
        """x normalised over the last axis."""
        raise NotImplementedError

    def step(self, p: Scope, x: Any) -> Any:
        """Of one position, where the positions are not normalised together."""
        return self.forward(p, each_position(self, x, len(x.shape) - self.axes))

    def last(self, x: TensorType) -> slice:
        """The axes that are normalised together."""
        if x.rank <= self.axes:
            refuse(f"{self.kind} needs at least {'one axis' if self.axes == 1 else f'{self.axes} axes'}", x)
        return slice(-self.axes, None)


@layer("layer_norm", transparent=True, positionwise=True)
class LayerNorm(Together):
    """(x - mean) / sqrt(var + epsilon) * gamma + beta over the last axis.   x (B, ..., C)

    With `axes` mean and variance are over so many last axes, of which each element has gamma and beta of its
    own.  Ba et al., 2016.

    Example:
        inputs: {features: [3, 4]}
        layers: [layer_norm]
    """

    epsilon: float = field(default=1e-5, doc="added to the variance", above=0)
    center: bool = field(default=True, doc="adds beta, which is learnt")

    def parameters(self, x: TensorType) -> Iterator[Parameter]:
        yield from affine(self, x, self.last(x))

    def normalized(self, x: Any, scale: Any | None, shift: Any | None) -> Any:
        return layer_norm(x, scale, shift, self.epsilon)


@layer("rms_norm", transparent=True, positionwise=True)
class RmsNorm(Together):
    """x / sqrt(mean(x^2) + epsilon) * gamma, the mean over the last axis.   x (B, ..., C)

    With `axes` the mean is over so many last axes, of which each element has a gamma of its own.
    Zhang and Sennrich, 2019.

    Example:
        inputs: {features: [3, 4]}
        layers: [rms_norm]
    """

    epsilon: float = field(default=1e-6, doc="added to the mean square", above=0)

    def parameters(self, x: TensorType) -> Iterator[Parameter]:
        yield from scaling(self, x, self.last(x))

    def normalized(self, x: Any, scale: Any | None, shift: Any | None) -> Any:
        return rms_norm(x, scale, self.epsilon)


@layer("unit_norm", main="axis", transparent=True, positionwise=True)
class UnitNorm:
    """x / max(sqrt(sum x^2), shortest), the sum along an axis: vectors of length 1.   x (B, ...) -> (B, ...)

    Schroff et al., 2015.

    Example:
        inputs: {features: [3, 4]}
        layers: [unit_norm]
    """

    axis: int = field(default=-1, doc="the axis along which the squares are summed, with the batch as 0")
    shortest: float = field(
        default=SHORTEST, doc="shorter vectors are divided by this", minimum=1 / LONGEST, maximum=LONGEST
    )

    def forward(self, p: Scope, x: Any) -> Any:
        floating(self, x)
        rank = len(x.shape)
        if not 0 < self.axis + rank * (self.axis < 0) < rank:
            refuse(f"unit_norm has no axis {self.axis} to sum along (0 is the batch)", x)
        return unit(x, self.axis, self.shortest)

    def step(self, p: Scope, x: Any) -> Any:
        """Of one position, where the axis is not that of the positions."""
        return self.forward(p, each_position(self, x, self.axis))


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
