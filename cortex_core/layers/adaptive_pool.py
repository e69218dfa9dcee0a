"""Pooling to a size that is given, whatever that of the input is."""

from __future__ import annotations

from typing import Any, ClassVar

from cortex_core.layers.expect import floating, spatial
from cortex_core.layers.scope import Scope
from cortex_core.ops.pooling import adaptive_avg_pool, adaptive_max_pool
from cortex_core.registry import Size, base, field, layer


@base
class AdaptivePooling:
    """What all of them share."""

    kind: ClassVar[str]
    rank: ClassVar[int]

    size: Size = field(doc="size of the output along each spatial axis")


@base
class AdaptiveAvgPooling(AdaptivePooling):
    """The mean of each window."""

    def forward(self, p: Scope, x: Any) -> Any:
        spatial(self, x)
        floating(self, x)
        return adaptive_avg_pool(x, self.size)


@base
class AdaptiveMaxPooling(AdaptivePooling):
    """The largest of each window."""

    def forward(self, p: Scope, x: Any) -> Any:
        spatial(self, x)
        floating(self, x)
        return adaptive_max_pool(x, self.size)


@layer("adaptive_avg_pool1d", main="size", rank=1, transparent=True)
class AdaptiveAvgPool1D(AdaptiveAvgPooling):
    """The means of windows that cut the line into `size` parts, whatever its size is.

    Window i of m is from floor(i n / m) to ceil((i + 1) n / m): windows overlap where m does not divide n.
    x (B, L, C) -> (B, size, C).  He et al., 2014: one level of spatial pyramid pooling.

    Example:
        inputs: {signal: [5, 2]}
        layers: [adaptive_avg_pool1d: 3]
    """


@layer("adaptive_avg_pool2d", main="size", rank=2, transparent=True)
class AdaptiveAvgPool2D(AdaptiveAvgPooling):
    """The means of windows that cut the image into `size` parts, whatever its size is.

    Window i of m is from floor(i n / m) to ceil((i + 1) n / m): windows overlap where m does not divide n.
    x (B, H, W, C) -> (B, *size, C).  He et al., 2014: one level of spatial pyramid pooling.

    Example:
        inputs: {image: [5, 4, 2]}
        layers: [adaptive_avg_pool2d: [3, 2]]
    """


@layer("adaptive_avg_pool3d", main="size", rank=3, transparent=True)
class AdaptiveAvgPool3D(AdaptiveAvgPooling):
    """The means of windows that cut the volume into `size` parts, whatever its size is.

    Window i of m is from floor(i n / m) to ceil((i + 1) n / m): windows overlap where m does not divide n.
    x (B, D, H, W, C) -> (B, *size, C).  He et al., 2014: one level of spatial pyramid pooling.

    Example:
        inputs: {film: [2, 3, 4, 1]}
        layers: [adaptive_avg_pool3d: [1, 2, 2]]
    """


@layer("adaptive_max_pool1d", main="size", rank=1, transparent=True)
class AdaptiveMaxPool1D(AdaptiveMaxPooling):
    """The largest elements of windows that cut the line into `size` parts, whatever its size is.

    Window i of m is from floor(i n / m) to ceil((i + 1) n / m): windows overlap where m does not divide n.
    x (B, L, C) -> (B, size, C).  He et al., 2014: one level of spatial pyramid pooling.

    Example:
        inputs: {signal: [5, 2]}
        layers: [adaptive_max_pool1d: 3]
    """


@layer("adaptive_max_pool2d", main="size", rank=2, transparent=True)
class AdaptiveMaxPool2D(AdaptiveMaxPooling):
    """The largest elements of windows that cut the image into `size` parts, whatever its size is.

    Window i of m is from floor(i n / m) to ceil((i + 1) n / m): windows overlap where m does not divide n.
    x (B, H, W, C) -> (B, *size, C).  He et al., 2014: one level of spatial pyramid pooling.

    Example:
        inputs: {image: [5, 4, 2]}
        layers: [adaptive_max_pool2d: [3, 2]]
    """


@layer("adaptive_max_pool3d", main="size", rank=3, transparent=True)
class AdaptiveMaxPool3D(AdaptiveMaxPooling):
    """The largest elements of windows that cut the volume into `size` parts, whatever its size is.

    Window i of m is from floor(i n / m) to ceil((i + 1) n / m): windows overlap where m does not divide n.
    x (B, D, H, W, C) -> (B, *size, C).  He et al., 2014: one level of spatial pyramid pooling.

    Example:
        inputs: {film: [2, 3, 4, 1]}
        layers: [adaptive_max_pool3d: [1, 2, 2]]
    """
