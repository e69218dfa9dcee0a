"""Dropout, of elements, of whole channels and of whole examples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

from cortex_compute.primitives.random import LEVELS, bernoulli_threshold
from cortex_core.layers.expect import floating, spatial
from cortex_core.layers.scope import Scope
from cortex_core.ops.pointwise import select
from cortex_core.registry import base, field, layer

END = -1.0507009873554805 * 1.6732632423543772
"""The value of selu at -infinity."""


def drop(x: Any, rate: float, draw: Callable[[float], Any]) -> Any:
    """x, where ``draw(1 - rate)``, true with that probability, does not hold, falls to 0; the rest grows."""
    keep = bernoulli_threshold(1 - rate) / LEVELS  # what the 16-bit draws really give
    if keep == 1:
        return x
    return select(draw(1 - rate), x * (1 / max(keep, 1 / LEVELS)), 0.0)


@layer("dropout", main="rate", transparent=True, positionwise=True)
class Dropout:
    """In training each element falls to 0 with probability ``rate``; the others grow by 1 / (1 - rate).

    x (B, ...) -> (B, ...).  Srivastava et al., 2014.

    Example:
        inputs: {features: [4]}
        layers: [dense: 3, dropout: 0.5]
    """

    rate: float = field(doc="the fraction that falls", minimum=0, below=1)

    def forward(self, p: Scope, x: Any) -> Any:
        floating(self, x)
        return drop(x, self.rate, lambda keep: p.bernoulli(keep, x.shape)) if p.training else x


@layer("stochastic_depth", main="rate", transparent=True, positionwise=True)
class StochasticDepth:
    """In training all of an example falls to 0 with probability ``rate``; the others grow by 1 / (1 - rate).

    Behind the layers of a residual block, which that example then does without.
    x (B, ...) -> (B, ...).  Huang et al., 2016.

    Example:
        inputs: {features: [4]}
        layers: [dense: 4, stochastic_depth: 0.2, add: {from: [stochastic_depth, features]}]
    """

    rate: float = field(doc="the fraction of the examples that falls", minimum=0, below=1)

    def forward(self, p: Scope, x: Any) -> Any:
        floating(self, x)
        examples = (x.shape[0], *(1,) * (len(x.shape) - 1))
        return drop(x, self.rate, lambda keep: p.bernoulli(keep, examples)) if p.training else x


@layer("alpha_dropout", main="rate", transparent=True, positionwise=True)
class AlphaDropout:
    """In training each element becomes -1.7581, where selu ends, with probability ``rate``.

    All are then scaled and moved, so that a mean of 0 and a variance of 1 stay: a x + b with
    a = 1 / sqrt((1 - rate) (1 + rate 1.7581^2)) and b = 1.7581 a rate.
    x (B, ...) -> (B, ...).  Klambauer et al., 2017.

    Example:
        inputs: {features: [4]}
        layers: [dense: {units: 3, activation: selu}, alpha_dropout: 0.1]
    """

    rate: float = field(doc="the fraction that becomes -1.7581", minimum=0, below=1)

    def forward(self, p: Scope, x: Any) -> Any:
        floating(self, x)
        keep = bernoulli_threshold(1 - self.rate) / LEVELS  # what the 16-bit draws really give
        if not p.training or keep == 1:
            return x
        factor = 1 / math.sqrt(max(keep, 1 / LEVELS) * (1 + (1 - keep) * END**2))
        kept = select(p.bernoulli(1 - self.rate, x.shape), x, END)
        return kept * factor - END * factor * (1 - keep)


@base
class SpatialDropout:
    """Dropout of whole channels: their neighbours in space would tell what an element was."""

    kind: ClassVar[str]
    rank: ClassVar[int]

    rate: float = field(doc="the fraction of the channels that falls", minimum=0, below=1)

    def forward(self, p: Scope, x: Any) -> Any:
        spatial(self, x)
        floating(self, x)
        channels = (x.shape[0], *(1,) * self.rank, x.shape[-1])
        return drop(x, self.rate, lambda keep: p.bernoulli(keep, channels)) if p.training else x


@layer("spatial_dropout1d", main="rate", rank=1, transparent=True, positionwise=True)
class SpatialDropout1D(SpatialDropout):
    """In training each channel of an example falls to 0 with probability ``rate``, over all its length.

    The others grow by 1 / (1 - rate).   x (B, L, C) -> (B, L, C).  Tompson et al., 2015.

    Example:
        inputs: {signal: [4, 2]}
        layers: [conv1d: {filters: 3, kernel: 2}, spatial_dropout1d: 0.5]
    """


@layer("spatial_dropout2d", main="rate", rank=2, transparent=True, positionwise=True)
class SpatialDropout2D(SpatialDropout):
    """In training each channel of an example falls to 0 with probability ``rate``, all over the image.

    The others grow by 1 / (1 - rate).   x (B, H, W, C) -> (B, H, W, C).  Tompson et al., 2015.

    Example:
        inputs: {image: [3, 3, 2]}
        layers: [conv2d: {filters: 3, kernel: 2}, spatial_dropout2d: 0.5]
    """


@layer("spatial_dropout3d", main="rate", rank=3, transparent=True, positionwise=True)
class SpatialDropout3D(SpatialDropout):
    """In training each channel of an example falls to 0 with probability ``rate``, all over the volume.

    The others grow by 1 / (1 - rate).   x (B, D, H, W, C) -> (B, D, H, W, C).  Tompson et al., 2015.

    Example:
        inputs: {film: [2, 3, 2, 2]}
        layers: [conv3d: {filters: 3, kernel: 2}, spatial_dropout3d: 0.5]
    """
