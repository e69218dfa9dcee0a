"""Convolutions and their transposes.  Images are (N, C, *S), weights (out, in / groups, *K)."""

from __future__ import annotations

from typing import Any, ClassVar

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_core.nn import functional as F
from cortex_core.nn.functional.convolution import margins_of
from cortex_core.nn.linear import empty, reset
from cortex_core.nn.module import Module
from cortex_core.ops.convolution import Sizes, per_axis
from cortex_core.ops.padding import MODES


class _Convolution(Module):
    """What all of them share."""

    spatial: ClassVar[int]
    transposed: ClassVar[bool] = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes,
        padding: Sizes | str,
        dilation: Sizes,
        groups: int,
        bias: bool,
        dtype: object,
    ) -> None:
        super().__init__()
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ArgumentError(
                f"{type(self).__name__}: {in_channels} and {out_channels} channels do not split into "
                f"groups={groups}"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = self._sizes("kernel_size", kernel_size)
        self.stride = self._sizes("stride", stride)
        self.dilation = self._sizes("dilation", dilation)
        self.padding = padding if isinstance(padding, str) else self._sizes("padding", padding)
        first, second = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        self.weight = empty(first, second // groups, *self.kernel_size, dtype=dtype)
        self.register_parameter("bias", empty(out_channels, dtype=dtype) if bias else None)
        self.reset_parameters()

    def _sizes(self, what: str, sizes: Sizes) -> tuple[int, ...]:
        return per_axis(f"{type(self).__name__}: {what}", self.spatial, sizes)

    def reset_parameters(self) -> None:
        """Draws the weights anew."""
        reset(self.weight, self.bias)

    def expect(self, x: Any) -> None:
        """Refuses an input of other channels than these."""
        if x.shape[-self.spatial - 1 : -self.spatial] != (self.in_channels,):
            raise ShapeError(
                f"{self!r}: the input has shape {x.shape}; its channels, "
                f"the axis before the last {self.spatial}, must be {self.in_channels}"
            )

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        parts.append(f"stride={self.stride}")
        parts += [f"padding={self.padding!r}"] if self.padding != (0,) * self.spatial else []
        parts += [f"dilation={self.dilation}"] if self.dilation != (1,) * self.spatial else []
        parts += [f"groups={self.groups}"] if self.groups != 1 else []
        return ", ".join(parts + (["bias=False"] if self.bias is None else []))


class _Conv(_Convolution):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        dtype: object = None,
    ) -> None:
        if padding_mode != "zeros" and padding_mode not in MODES:
            raise ArgumentError(
                f"{type(self).__name__}: padding_mode={padding_mode!r}; choose zeros, {', '.join(MODES)}"
            )
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, dtype
        )
        self.padding_mode = padding_mode
        what = type(self).__name__
        pairs = margins_of(what, self.kernel_size, self.stride, self.padding, self.dilation)
        self._margins = [n for pair in reversed(pairs) for n in pair]

    def forward(self, input: Any) -> Any:
        self.expect(input)
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._margins, self.padding_mode), 0
        f = (F.conv1d, F.conv2d, F.conv3d)[self.spatial - 1]
        return f(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        mode = "" if self.padding_mode == "zeros" else f", padding_mode={self.padding_mode}"
        return super().extra_repr() + mode


class Conv1d(_Conv):
    """Convolution along one axis.   (N, in, L) -> (N, out, L')"""

    spatial = 1


class Conv2d(_Conv):
    """Convolution of images.   (N, in, H, W) -> (N, out, H', W')

    ``padding``: a number for all axes, one each, 'valid' for none, or 'same' for an output of the input's
    size.  ``padding_mode``: zeros, reflect, replicate or circular.
    """

    spatial = 2


class Conv3d(_Conv):
    """Convolution of volumes.   (N, in, D, H, W) -> (N, out, D', H', W')"""

    spatial = 3


class _ConvTranspose(_Convolution):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        dtype: object = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, dtype
        )
        self.output_padding = self._sizes("output_padding", output_padding)

    def forward(self, input: Any) -> Any:
        self.expect(input)
        f = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[self.spatial - 1]
        rest: Any = self.padding, self.output_padding, self.groups, self.dilation
        return f(input, self.weight, self.bias, self.stride, *rest)

    def extra_repr(self) -> str:
        more = any(self.output_padding)
        return super().extra_repr() + (f", output_padding={self.output_padding}" if more else "")


class ConvTranspose1d(_ConvTranspose):
    """The adjoint of `Conv1d`, with weights (in, out / groups, K).   (N, in, L) -> (N, out, L')"""

    spatial = 1


class ConvTranspose2d(_ConvTranspose):
    """The adjoint of `Conv2d`, with weights (in, out / groups, KH, KW).   (N, in, H, W) -> (N, out, H', W')

    H' = (H - 1) stride - 2 padding + dilation (KH - 1) + output_padding + 1
    """

    spatial = 2


class ConvTranspose3d(_ConvTranspose):
    """The adjoint of `Conv3d`, with weights (in, out / groups, *K).   (N, in, *S) -> (N, out, *S')"""

    spatial = 3
