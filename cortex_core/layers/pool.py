"""Pooling: the largest or the mean of each window, per channel."""

from __future__ import annotations

from typing import Any, ClassVar

from cortex_core.layers.expect import spatial
from cortex_core.layers.scope import Scope
from cortex_core.layers.windows import Pairs, paddings
from cortex_core.ops.pooling import avg_pool, max_pool
from cortex_core.registry import Padding, Size, base, field, layer


@base
class Pooling:
    """What all pooling over windows shares."""

    kind: ClassVar[str]
    rank: ClassVar[int]

    size: Size = field(doc="size of the window")
    stride: Size = field(like="size", doc="step of the window; the size unless given")
    padding: Padding = field(default="valid", doc="around the input; same: the surplus goes behind")

    def pairs(self, x: Any) -> Pairs:
        """(before, after) for each spatial axis."""
        spatial(self, x)
        return paddings(self, x, self.size, self.stride, self.padding, (1,) * self.rank)


@base
class MaxPooling(Pooling):
    """The largest of each window."""

    def forward(self, p: Scope, x: Any) -> Any:
        return max_pool(x, self.size, self.stride, self.pairs(x))


@base
class AvgPooling(Pooling):
    """The mean of each window; padding does not count."""

    def forward(self, p: Scope, x: Any) -> Any:
        return avg_pool(x, self.size, self.stride, self.pairs(x), count_padding=False)


@layer("max_pool1d", main="size", rank=1, transparent=True)
class MaxPool1D(MaxPooling):
    """The largest of each window.   x (B, L, C) -> (B, L', C).  Riesenhuber and Poggio, 1999.

    Example:
        inputs: {signal: [6, 2]}
        layers: [max_pool1d: 2]
    """


@layer("max_pool2d", main="size", rank=2, transparent=True)
class MaxPool2D(MaxPooling):
    """The largest of each window.   x (B, H, W, C) -> (B, H', W', C).  Riesenhuber and Poggio, 1999.

    Example:
        inputs: {image: [4, 4, 2]}
        layers: [max_pool2d: 2]
    """


@layer("max_pool3d", main="size", rank=3, transparent=True)
class MaxPool3D(MaxPooling):
    """The largest of each window.   x (B, D, H, W, C) -> (B, D', H', W', C).  Ji et al., 2010.

    Example:
        inputs: {film: [2, 4, 4, 1]}
        layers: [max_pool3d: [1, 2, 2]]
    """


@layer("avg_pool1d", main="size", rank=1, transparent=True)
class AvgPool1D(AvgPooling):
    """The mean of each window; padding does not count.   x (B, L, C) -> (B, L', C).  LeCun et al., 1998.

    Example:
        inputs: {signal: [6, 2]}
        layers: [avg_pool1d: {size: 3, stride: 2, padding: same}]
    """


@layer("avg_pool2d", main="size", rank=2, transparent=True)
class AvgPool2D(AvgPooling):
    """The mean of each window; padding does not count.   x (B, H, W, C) -> (B, H', W', C).

    LeCun et al., 1998.

    Example:
        inputs: {image: [4, 4, 2]}
        layers: [avg_pool2d: 2]
    """


@layer("avg_pool3d", main="size", rank=3, transparent=True)
class AvgPool3D(AvgPooling):
    """The mean of each window; padding does not count.   x (B, D, H, W, C) -> (B, D', H', W', C).

    Ji et al., 2010.

    Example:
        inputs: {film: [2, 4, 4, 1]}
        layers: [avg_pool3d: 2]
    """
