"""Pooling: the largest or the mean of each window, per channel."""

from __future__ import annotations

from typing import Any, ClassVar

from cortex_core.layers.expect import floating, spatial
from cortex_core.layers.scope import Scope
from cortex_core.layers.windows import Pairs, paddings
from cortex_core.ops.pooling import adaptive_avg_pool, avg_pool, max_pool
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


def whole_mean(layer: Any, x: Any) -> Any:
    """The mean of one window over all that is spatial; backends have faster kernels for it than for a sum."""
    size = tuple(x.shape[a] for a in inner(layer, x))
    return reshape(avg_pool(x, size), (x.shape[0], x.shape[-1]))


@layer("global_avg_pool1d", rank=1, transparent=True)
class GlobalAvgPool1D:
    """The mean over the length.   x (B, L, C) -> (B, C).  Lin et al., 2014.

    Example:
        inputs: {signal: [5, 2]}
        layers: [global_avg_pool1d]
    """

    def forward(self, p: Scope, x: Any) -> Any:
        return whole_mean(self, x)


@layer("global_avg_pool2d", rank=2, transparent=True)
class GlobalAvgPool2D:
    """The mean over the image.   x (B, H, W, C) -> (B, C).  Lin et al., 2014.

    Example:
        inputs: {image: [3, 4, 2]}
        layers: [global_avg_pool2d]
    """

    def forward(self, p: Scope, x: Any) -> Any:
        return whole_mean(self, x)


@layer("global_max_pool1d", rank=1, transparent=True)
class GlobalMaxPool1D:
    """The largest over the length.   x (B, L, C) -> (B, C).  Oquab et al., 2015.

    Example:
        inputs: {signal: [5, 2]}
        layers: [global_max_pool1d]
    """

    def forward(self, p: Scope, x: Any) -> Any:
        return largest(x, inner(self, x))


@layer("global_max_pool2d", rank=2, transparent=True)
class GlobalMaxPool2D:
    """The largest over the image.   x (B, H, W, C) -> (B, C).  Oquab et al., 2015.

    Example:
        inputs: {image: [3, 4, 2]}
        layers: [global_max_pool2d]
    """

    def forward(self, p: Scope, x: Any) -> Any:
        return largest(x, inner(self, x))


@layer("adaptive_avg_pool2d", main="size", rank=2, transparent=True)
class AdaptiveAvgPool2D:
    """The means of windows that cut the image into `size` parts, whatever its size is.

    Window i of m is from floor(i n / m) to ceil((i + 1) n / m): windows overlap where m does not divide n.
    x (B, H, W, C) -> (B, *size, C).  He et al., 2014: one level of spatial pyramid pooling.

    Example:
        inputs: {image: [5, 4, 2]}
        layers: [adaptive_avg_pool2d: [3, 2]]
    """

    size: Size = field(doc="height and width of the output")

    def forward(self, p: Scope, x: Any) -> Any:
        spatial(self, x)
        floating(self, x)
        return adaptive_avg_pool(x, self.size)
