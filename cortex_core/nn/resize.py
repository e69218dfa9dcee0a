"""Images made larger or smaller, as modules, and padding around them.   x (N, C, H, W)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from cortex_core.nn import functional as F
from cortex_core.nn.module import Module


class Upsample(Module):
    """An image of ``size``, or ``scale_factor`` times as large; see `functional.interpolate`"""

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
    ) -> None:
        super().__init__()
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners

    def forward(self, input: Any) -> Any:
        return F.interpolate(input, self.size, self.scale_factor, self.mode, self.align_corners)

    def extra_repr(self) -> str:
        size = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        return f"{size}, mode={self.mode!r}"


class PixelShuffle(Module):
    """Channels become squares of elements.   (..., C r², H, W) -> (..., C, H r, W r).  Shi et al., 2016"""

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Any) -> Any:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Squares of elements become channels.   (..., C, H r, W r) -> (..., C r², H, W)"""

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Any) -> Any:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class _Pad2d(Module):
    """``padding``: one number, or (left, right, top, bottom)."""

    mode: ClassVar[str]

    def __init__(self, padding: int | tuple[int, int, int, int]) -> None:
        super().__init__()
        self.padding = (padding,) * 4 if isinstance(padding, int) else tuple(padding)

    def forward(self, input: Any) -> Any:
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return str(self.padding)


class ZeroPad2d(_Pad2d):
    """Zeros around the image, as many as ``padding``: a number, or (left, right, top, bottom)"""

    mode = "constant"


class ReflectionPad2d(_Pad2d):
    """The image reflected at its border, which is not repeated; ``padding`` as of `ZeroPad2d`"""

    mode = "reflect"


class ReplicationPad2d(_Pad2d):
    """The border of the image repeated; ``padding`` as of `ZeroPad2d`"""

    mode = "replicate"
