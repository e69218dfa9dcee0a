"""Pictures with more around them, with less of them, and larger."""

from __future__ import annotations

from typing import Any, Literal

from cortex_core.layers.expect import floating, refuse, spatial
from cortex_core.layers.scope import Scope
from cortex_core.ops.indexing import pad
from cortex_core.ops.padding import extend
from cortex_core.ops.resize import resize
from cortex_core.ops.views import slice_
from cortex_core.registry import Size, field, layer
from cortex_core.registry.kinds import Margin


@layer("padding2d", main="padding", rank=2, transparent=True)
class Padding2D:
    """The picture with a margin around it: of zeros, or of what it holds itself.

    `reflect` mirrors it at its border, which is not repeated; `replicate` repeats the border.
    x (B, H, W, C) -> (B, top + H + bottom, left + W + right, C).

    As numpy.pad's modes constant, reflect and edge.

    Example:
        inputs: {image: [3, 4, 2]}
        layers: [padding2d: {padding: [[1, 0], [2, 1]], mode: reflect}]
    """

    padding: Margin = field(doc="elements added: [[top, bottom], [left, right]], or one number")
    mode: Literal["zero", "reflect", "replicate"] = field(default="zero", doc="what is added")

    def forward(self, p: Scope, x: Any) -> Any:
        spatial(self, x)
        if self.mode == "zero":
            return pad(x, ((0, 0), *self.padding, (0, 0)))
        if self.mode == "reflect" and any(max(pair) >= n for pair, n in zip(self.padding, x.shape[1:])):
            margins = [list(pair) for pair in self.padding]
            refuse(f"padding2d cannot mirror {margins} elements of it: each must be less than its size", x)
        return extend(x, ((0, 0), *self.padding), self.mode)


@layer("cropping2d", main="cropping", rank=2, transparent=True)
class Cropping2D:
    """The picture without its margin.   x (B, H, W, C) -> (B, H - top - bottom, W - left - right, C).

    As a slice.

    Example:
        inputs: {image: [4, 5, 2]}
        layers: [cropping2d: [[1, 0], [2, 1]]]
    """

    cropping: Margin = field(doc="elements cut off: [[top, bottom], [left, right]], or one number")

    def forward(self, p: Scope, x: Any) -> Any:
        spatial(self, x)
        height, width = (n - sum(pair) for n, pair in zip(x.shape[1:], self.cropping))
        if min(height, width) < 1:
            refuse(f"cropping2d of {[list(pair) for pair in self.cropping]} leaves nothing of it", x)
        (top, _), (left, _) = self.cropping
        return slice_(x, (0, top, left, 0), (x.shape[0], height, width, x.shape[3]))


@layer("upsampling2d", main="size", rank=2, transparent=True)
class Upsampling2D:
    """The picture `size` times as large.   x (B, H, W, C) -> (B, H size, W size, C)

    `nearest` repeats each element; `bilinear` weighs the two nearest along each axis by their distance,
    where elements are squares: half of a border's square lies beyond its middle, and is as the border.

    As PyTorch's interpolate with align_corners=False.

    Example:
        inputs: {image: [2, 3, 2]}
        layers: [upsampling2d: {size: [2, 3], mode: bilinear}]
    """

    size: Size = field(default=2, doc="how many times as high and as wide")
    mode: Literal["nearest", "bilinear"] = field(default="nearest", doc="what is between the elements")

    def forward(self, p: Scope, x: Any) -> Any:
        spatial(self, x)
        if self.mode == "bilinear":
            floating(self, x)
        sizes = [n * times for n, times in zip(x.shape[1:], self.size)]
        return resize(x, sizes, self.size, self.mode == "bilinear")
