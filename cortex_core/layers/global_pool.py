"""Pooling over all that is spatial."""

from __future__ import annotations

from typing import Any, ClassVar

from cortex_core.layers.expect import spatial
from cortex_core.layers.scope import Scope
from cortex_core.ops.pooling import avg_pool
from cortex_core.ops.reduce import max as largest
from cortex_core.ops.views import reshape
from cortex_core.registry import base, field, layer


@base
class GlobalPooling:
    """What all pooling over everything shares."""

    kind: ClassVar[str]
    rank: ClassVar[int]

    keepdims: bool = field(default=False, doc="keeps the axes, each of size 1")

    def inner(self, x: Any) -> tuple[int, ...]:
        """The spatial axes."""
        spatial(self, x)
        return tuple(range(1, len(x.shape) - 1))


@base
class GlobalAvgPooling(GlobalPooling):
    """The mean of one window over everything; backends have faster kernels for it than for a sum."""

    def forward(self, p: Scope, x: Any) -> Any:
        y = avg_pool(x, tuple(x.shape[a] for a in self.inner(x)))
        return y if self.keepdims else reshape(y, (x.shape[0], x.shape[-1]))


@base
class GlobalMaxPooling(GlobalPooling):
    """The largest of everything."""

    def forward(self, p: Scope, x: Any) -> Any:
        return largest(x, self.inner(x), keepdims=self.keepdims)


@layer("global_avg_pool1d", rank=1, transparent=True)
class GlobalAvgPool1D(GlobalAvgPooling):
    """The mean over the length.   x (B, L, C) -> (B, C).  Lin et al., 2014.

    Example:
        inputs: {signal: [5, 2]}
        layers: [global_avg_pool1d]
    """


@layer("global_avg_pool2d", rank=2, transparent=True)
class GlobalAvgPool2D(GlobalAvgPooling):
    """The mean over the image.   x (B, H, W, C) -> (B, C).  Lin et al., 2014.

    Example:
        inputs: {image: [3, 4, 2]}
        layers: [global_avg_pool2d]
    """


@layer("global_avg_pool3d", rank=3, transparent=True)
class GlobalAvgPool3D(GlobalAvgPooling):
    """The mean over the volume.   x (B, D, H, W, C) -> (B, C).  Lin et al., 2014.

    Example:
        inputs: {film: [2, 3, 2, 2]}
        layers: [global_avg_pool3d]
    """


@layer("global_max_pool1d", rank=1, transparent=True)
class GlobalMaxPool1D(GlobalMaxPooling):
    """The largest over the length.   x (B, L, C) -> (B, C).  Oquab et al., 2015.

    Example:
        inputs: {signal: [5, 2]}
        layers: [global_max_pool1d]
    """


@layer("global_max_pool2d", rank=2, transparent=True)
class GlobalMaxPool2D(GlobalMaxPooling):
    """The largest over the image.   x (B, H, W, C) -> (B, C).  Oquab et al., 2015.

    Example:
        inputs: {image: [3, 4, 2]}
        layers: [global_max_pool2d]
    """


@layer("global_max_pool3d", rank=3, transparent=True)
class GlobalMaxPool3D(GlobalMaxPooling):
    """The largest over the volume.   x (B, D, H, W, C) -> (B, C).  Oquab et al., 2015.

    Example:
        inputs: {film: [2, 3, 2, 2]}
        layers: [global_max_pool3d]
    """
