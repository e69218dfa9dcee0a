"""Lines, pictures and volumes with more around them, with less of them, and larger."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from cortex_core.layers.expect import floating, refuse, spatial
from cortex_core.layers.scope import Scope
from cortex_core.ops.indexing import pad
from cortex_core.ops.padding import extend
from cortex_core.ops.resize import resize
from cortex_core.ops.views import slice_
from cortex_core.registry import Size, base, field, layer
from cortex_core.registry.kinds import Margin


@base
class Padding:
    """A margin around all that is spatial."""

    kind: ClassVar[str]
    rank: ClassVar[int]

    padding: Margin = field(doc="elements added before and behind each axis, or one number")
    mode: Literal["zero", "reflect", "replicate"] = field(default="zero", doc="what is added")

    def forward(self, p: Scope, x: Any) -> Any:
        spatial(self, x)
        if self.mode == "zero":
            return pad(x, ((0, 0), *self.padding, (0, 0)))
        if self.mode == "reflect" and any(max(pair) >= n for pair, n in zip(self.padding, x.shape[1:])):
            margins = [list(pair) for pair in self.padding]
            refuse(f"{self.kind} cannot mirror {margins} elements of it: each must be less than its size", x)
        return extend(x, ((0, 0), *self.padding), self.mode)


@layer("padding1d", main="padding", rank=1, transparent=True)
class Padding1D(Padding):
    """The line with a margin at both ends: of zeros, or of what it holds itself.

    `reflect` mirrors it at its ends, which are not repeated; `replicate` repeats the ends.
    x (B, L, C) -> (B, before + L + after, C).

    As numpy.pad's modes constant, reflect and edge.

    Example:
        inputs: {signal: [4, 2]}
        layers: [padding1d: {padding: [[1, 2]], mode: reflect}]
    """


@layer("padding2d", main="padding", rank=2, transparent=True)
class Padding2D(Padding):
    """The picture with a margin around it: of zeros, or of what it holds itself.

    `reflect` mirrors it at its border, which is not repeated; `replicate` repeats the border.
    x (B, H, W, C) -> (B, top + H + bottom, left + W + right, C).

    As numpy.pad's modes constant, reflect and edge.

    Example:
        inputs: {image: [3, 4, 2]}
        layers: [padding2d: {padding: [[1, 0], [2, 1]], mode: reflect}]
    """


@layer("padding3d", main="padding", rank=3, transparent=True)
class Padding3D(Padding):
    """The volume with a margin around it: of zeros, or of what it holds itself.

    `reflect` mirrors it at its border, which is not repeated; `replicate` repeats the border.
    x (B, D, H, W, C) -> (B, front + D + back, top + H + bottom, left + W + right, C).

    As numpy.pad's modes constant, reflect and edge.

    Example:
        inputs: {film: [2, 3, 2, 1]}
        layers: [padding3d: {padding: [[1, 0], [0, 2], [1, 1]]}]
    """


@base
class Cropping:
    """All that is spatial without its margin."""

    kind: ClassVar[str]
    rank: ClassVar[int]

    cropping: Margin = field(doc="elements cut off before and behind each axis, or one number")

    def forward(self, p: Scope, x: Any) -> Any:
        spatial(self, x)
        sizes = [n - sum(pair) for n, pair in zip(x.shape[1:], self.cropping)]
        if min(sizes) < 1:
            refuse(f"{self.kind} of {[list(pair) for pair in self.cropping]} leaves nothing of it", x)
        starts = [before for before, _ in self.cropping]
        return slice_(x, (0, *starts, 0), (x.shape[0], *sizes, x.shape[-1]))


@layer("cropping1d", main="cropping", rank=1, transparent=True)
class Cropping1D(Cropping):
    """The line without its ends.   x (B, L, C) -> (B, L - before - after, C).  As a slice.

    Example:
        inputs: {signal: [5, 2]}
        layers: [cropping1d: [[1, 2]]]
    """


@layer("cropping2d", main="cropping", rank=2, transparent=True)
class Cropping2D(Cropping):
    """The picture without its margin.   x (B, H, W, C) -> (B, H - top - bottom, W - left - right, C).

    As a slice.

    Example:
        inputs: {image: [4, 5, 2]}
        layers: [cropping2d: [[1, 0], [2, 1]]]
    """


@layer("cropping3d", main="cropping", rank=3, transparent=True)
class Cropping3D(Cropping):
    """The volume without its margin.

    x (B, D, H, W, C) -> (B, D - front - back, H - top - bottom, W - left - right, C).  As a slice.

    Example:
        inputs: {film: [2, 3, 4, 1]}
        layers: [cropping3d: [[1, 0], [0, 1], [1, 1]]]
    """


@base
class Upsampling:
    """All that is spatial made larger."""

    kind: ClassVar[str]
    rank: ClassVar[int]

    size: Size = field(default=2, doc="how many times as large each axis becomes")

    def larger(self, x: Any, linear: bool) -> Any:
        """x with elements repeated, or in between."""
        spatial(self, x)
        if linear:
            floating(self, x)
        sizes = [n * times for n, times in zip(x.shape[1:], self.size)]
        return resize(x, sizes, self.size, linear)


@layer("upsampling1d", main="size", rank=1, transparent=True)
class Upsampling1D(Upsampling):
    """The line `size` times as long.   x (B, L, C) -> (B, L size, C)

    `nearest` repeats each element; `linear` weighs the two nearest by their distance, as `upsampling2d`.

    As PyTorch's interpolate with align_corners=False.

    Example:
        inputs: {signal: [3, 2]}
        layers: [upsampling1d: 3]
    """

    mode: Literal["nearest", "linear"] = field(default="nearest", doc="what is between the elements")

    def forward(self, p: Scope, x: Any) -> Any:
        return self.larger(x, self.mode == "linear")


@layer("upsampling2d", main="size", rank=2, transparent=True)
class Upsampling2D(Upsampling):
    """The picture `size` times as large.   x (B, H, W, C) -> (B, H size, W size, C)

    `nearest` repeats each element; `bilinear` weighs the two nearest along each axis by their distance,
    where elements are squares: half of a border's square lies beyond its middle, and is as the border.

    As PyTorch's interpolate with align_corners=False.

    Example:
        inputs: {image: [2, 3, 2]}
        layers: [upsampling2d: {size: [2, 3], mode: bilinear}]
    """

    mode: Literal["nearest", "bilinear"] = field(default="nearest", doc="what is between the elements")

    def forward(self, p: Scope, x: Any) -> Any:
        return self.larger(x, self.mode == "bilinear")


@layer("upsampling3d", main="size", rank=3, transparent=True)
class Upsampling3D(Upsampling):
    """The volume `size` times as large.   x (B, D, H, W, C) -> (B, D size, H size, W size, C)

    `nearest` repeats each element; `trilinear` weighs the two nearest along each axis by their distance, as
    `upsampling2d`.

    As PyTorch's interpolate with align_corners=False.

    Example:
        inputs: {film: [1, 2, 2, 2]}
        layers: [upsampling3d: [2, 1, 3]]
    """

    mode: Literal["nearest", "trilinear"] = field(default="nearest", doc="what is between the elements")

    def forward(self, p: Scope, x: Any) -> Any:
        return self.larger(x, self.mode == "trilinear")
