"""Pooling: the largest or the mean of each window, per channel."""

from __future__ import annotations

from cortex_core.registry import Padding, Size, base, field, layer


@base
class Pooling:
    """The fields that all pooling over windows shares."""

    size: Size = field(doc="size of the window")
    stride: Size = field(like="size", doc="step of the window; the size unless given")
    padding: Padding = field(default="valid", doc="around the input; same: the surplus goes behind")


@layer("max_pool1d", main="size", rank=1, transparent=True)
class MaxPool1D(Pooling):
    """The largest of each window.   x (B, L, C) -> (B, L', C)"""


@layer("max_pool2d", main="size", rank=2, transparent=True)
class MaxPool2D(Pooling):
    """The largest of each window.   x (B, H, W, C) -> (B, H', W', C)"""


@layer("avg_pool1d", main="size", rank=1, transparent=True)
class AvgPool1D(Pooling):
    """The mean of each window; padding does not count.   x (B, L, C) -> (B, L', C)"""


@layer("avg_pool2d", main="size", rank=2, transparent=True)
class AvgPool2D(Pooling):
    """The mean of each window; padding does not count.   x (B, H, W, C) -> (B, H', W', C)"""


@layer("global_avg_pool1d", rank=1, transparent=True)
class GlobalAvgPool1D:
    """The mean over the length.   x (B, L, C) -> (B, C)"""


@layer("global_avg_pool2d", rank=2, transparent=True)
class GlobalAvgPool2D:
    """The mean over the image.   x (B, H, W, C) -> (B, C)"""


@layer("global_max_pool1d", rank=1, transparent=True)
class GlobalMaxPool1D:
    """The largest over the length.   x (B, L, C) -> (B, C)"""


@layer("global_max_pool2d", rank=2, transparent=True)
class GlobalMaxPool2D:
    """The largest over the image.   x (B, H, W, C) -> (B, C)"""
