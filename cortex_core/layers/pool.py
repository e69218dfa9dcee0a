"""Pooling: the largest or the mean of each window, per channel."""

from __future__ import annotations

from typing import Any, ClassVar

from cortex_core.layers.expect import spatial
from cortex_core.layers.scope import Scope
from cortex_core.layers.windows import Pairs, paddings
from cortex_core.ops.pooling import avg_pool, max_pool
from cortex_core.ops.reduce import max as largest
from cortex_core.ops.views import reshape
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


def inner(layer: Any, x: Any) -> tuple[int, ...]:
    """The spatial axes."""
    spatial(layer, x)
    return tuple(range(1, len(x.shape) - 1))


@layer("max_pool1d", main="size", rank=1, transparent=True)
class MaxPool1D(MaxPooling):
    """The largest of each window.   x (B, L, C) -> (B, L', C)"""


@layer("max_pool2d", main="size", rank=2, transparent=True)
class MaxPool2D(MaxPooling):
    """The largest of each window.   x (B, H, W, C) -> (B, H', W', C)"""


@layer("avg_pool1d", main="size", rank=1, transparent=True)
class AvgPool1D(AvgPooling):
    """The mean of each window; padding does not count.   x (B, L, C) -> (B, L', C)"""


@layer("avg_pool2d", main="size", rank=2, transparent=True)
class AvgPool2D(AvgPooling):
    """The mean of each window; padding does not count.   x (B, H, W, C) -> (B, H', W', C)"""


def whole_mean(layer: Any, x: Any) -> Any:
    """The mean of one window over all that is spatial; backends have faster kernels for it than for a sum."""
    size = tuple(x.shape[a] for a in inner(layer, x))
    return reshape(avg_pool(x, size), (x.shape[0], x.shape[-1]))


@layer("global_avg_pool1d", rank=1, transparent=True)
class GlobalAvgPool1D:
    """The mean over the length.   x (B, L, C) -> (B, C)"""

    def forward(self, p: Scope, x: Any) -> Any:
        return whole_mean(self, x)


@layer("global_avg_pool2d", rank=2, transparent=True)
class GlobalAvgPool2D:
    """The mean over the image.   x (B, H, W, C) -> (B, C)"""

    def forward(self, p: Scope, x: Any) -> Any:
        return whole_mean(self, x)


@layer("global_max_pool1d", rank=1, transparent=True)
class GlobalMaxPool1D:
    """The largest over the length.   x (B, L, C) -> (B, C)"""

    def forward(self, p: Scope, x: Any) -> Any:
        return largest(x, inner(self, x))


@layer("global_max_pool2d", rank=2, transparent=True)
class GlobalMaxPool2D:
    """The largest over the image.   x (B, H, W, C) -> (B, C)"""

    def forward(self, p: Scope, x: Any) -> Any:
        return largest(x, inner(self, x))
