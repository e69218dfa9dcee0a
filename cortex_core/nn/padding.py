"""Padding around the last axes, as modules: of a line, an image or a volume.

``padding`` is one number for all sides, or (before, after) from the last axis on, such as (left, right, top,
bottom).
"""

from __future__ import annotations

from typing import Any, ClassVar

from cortex_compute.errors import ArgumentError
from cortex_core.nn import functional as F
from cortex_core.nn.module import Module


class _Pad(Module):
    axes: ClassVar[int]
    mode: ClassVar[str] = "constant"

    def __init__(self, padding: int | tuple[int, ...]) -> None:
        super().__init__()
        sides = 2 * self.axes
        self.padding = (padding,) * sides if isinstance(padding, int) else tuple(padding)
        if len(self.padding) != sides:
            raise ArgumentError(f"{type(self).__name__}: padding={padding}; needs one number, or {sides}")

    def forward(self, input: Any) -> Any:
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return str(self.padding)


class _ConstantPad(_Pad):
    def __init__(self, padding: int | tuple[int, ...], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Any) -> Any:
        return F.pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ZeroPad1d(_Pad):
    """Zeros around a line; negative numbers cut off.   (..., L)"""

    axes = 1


class ZeroPad2d(_Pad):
    """Zeros around an image; negative numbers cut off.   (..., H, W)"""

    axes = 2


class ZeroPad3d(_Pad):
    """Zeros around a volume; negative numbers cut off.   (..., D, H, W)"""

    axes = 3


class ConstantPad1d(_ConstantPad):
    """``value`` around a line; negative numbers of ``padding`` cut off.   (..., L)"""

    axes = 1


class ConstantPad2d(_ConstantPad):
    """``value`` around an image; negative numbers of ``padding`` cut off.   (..., H, W)"""

    axes = 2


class ConstantPad3d(_ConstantPad):
    """``value`` around a volume; negative numbers of ``padding`` cut off.   (..., D, H, W)"""

    axes = 3


class ReflectionPad1d(_Pad):
    """A line reflected at its border, which is not repeated.   (..., L)"""

    axes = 1
    mode = "reflect"


class ReflectionPad2d(_Pad):
    """An image reflected at its border, which is not repeated.   (..., H, W)"""

    axes = 2
    mode = "reflect"


class ReflectionPad3d(_Pad):
    """A volume reflected at its border, which is not repeated.   (..., D, H, W)"""

    axes = 3
    mode = "reflect"


class ReplicationPad1d(_Pad):
    """The border of a line repeated.   (..., L)"""

    axes = 1
    mode = "replicate"


class ReplicationPad2d(_Pad):
    """The border of an image repeated.   (..., H, W)"""

    axes = 2
    mode = "replicate"


class ReplicationPad3d(_Pad):
    """The border of a volume repeated.   (..., D, H, W)"""

    axes = 3
    mode = "replicate"


class CircularPad1d(_Pad):
    """A line going on at its other end.   (..., L)"""

    axes = 1
    mode = "circular"


class CircularPad2d(_Pad):
    """An image going on at its other end.   (..., H, W)"""

    axes = 2
    mode = "circular"


class CircularPad3d(_Pad):
    """A volume going on at its other end.   (..., D, H, W)"""

    axes = 3
    mode = "circular"
