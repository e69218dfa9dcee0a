"""Pooling: the largest or the mean of each window, per channel.   x (N, C, *S)"""

from __future__ import annotations

from typing import Any

from cortex_core.nn import functional as F
from cortex_core.nn.module import Module
from cortex_core.ops.convolution import Sizes


class _Pool(Module):
    def __init__(self, kernel_size: Sizes, stride: Sizes | None, padding: Sizes, ceil_mode: bool) -> None:
        super().__init__()
        self.kernel_size, self.padding, self.ceil_mode = kernel_size, padding, ceil_mode
        self.stride = kernel_size if stride is None else stride

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"ceil_mode={self.ceil_mode}"
        )


class _MaxPool(_Pool):
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        *,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)


class MaxPool1d(_MaxPool):
    """The largest of each window.   (N, C, L) -> (N, C, L')"""

    def forward(self, input: Any) -> Any:
        return F.max_pool1d(input, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode)


class MaxPool2d(_MaxPool):
    """The largest of each window.   (N, C, H, W) -> (N, C, H', W')"""

    def forward(self, input: Any) -> Any:
        return F.max_pool2d(input, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode)


class MaxPool3d(_MaxPool):
    """The largest of each window.   (N, C, D, H, W) -> (N, C, D', H', W')"""

    def forward(self, input: Any) -> Any:
        return F.max_pool3d(input, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode)


class _AvgPool(_Pool):
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.count_include_pad = count_include_pad

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, count_include_pad={self.count_include_pad}"


class AvgPool1d(_AvgPool):
    """The mean of each window.   (N, C, L) -> (N, C, L')"""

    def forward(self, input: Any) -> Any:
        geometry = self.kernel_size, self.stride, self.padding
        return F.avg_pool1d(input, *geometry, self.ceil_mode, self.count_include_pad)


class AvgPool2d(_AvgPool):
    """The mean of each window; zeros of the padding count unless told.   (N, C, H, W) -> (N, C, H', W')"""

    def forward(self, input: Any) -> Any:
        geometry = self.kernel_size, self.stride, self.padding
        return F.avg_pool2d(input, *geometry, self.ceil_mode, self.count_include_pad)


class AvgPool3d(_AvgPool):
    """The mean of each window.   (N, C, D, H, W) -> (N, C, D', H', W')"""

    def forward(self, input: Any) -> Any:
        geometry = self.kernel_size, self.stride, self.padding
        return F.avg_pool3d(input, *geometry, self.ceil_mode, self.count_include_pad)


class _Adaptive(Module):
    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_Adaptive):
    """Means of windows that cut the axis into ``output_size`` parts.   (N, C, L) -> (N, C, output_size)"""

    def forward(self, input: Any) -> Any:
        return F.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(_Adaptive):
    """Means of windows that cut the image into ``output_size`` parts: a number, or (height, width).

    (N, C, H, W) -> (N, C, *output_size).  None keeps the size.
    """

    def forward(self, input: Any) -> Any:
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveAvgPool3d(_Adaptive):
    """Means of windows that cut the volume into ``output_size`` parts: a number, or one for each axis.

    (N, C, D, H, W) -> (N, C, *output_size).  None keeps the size.
    """

    def forward(self, input: Any) -> Any:
        return F.adaptive_avg_pool3d(input, self.output_size)


class AdaptiveMaxPool1d(_Adaptive):
    """The largest of windows that cut the axis into ``output_size`` parts.

    (N, C, L) -> (N, C, output_size)
    """

    def forward(self, input: Any) -> Any:
        return F.adaptive_max_pool1d(input, self.output_size)


class AdaptiveMaxPool2d(_Adaptive):
    """The largest of windows that cut the image into ``output_size`` parts: a number, or (height, width).

    (N, C, H, W) -> (N, C, *output_size).  None keeps the size.
    """

    def forward(self, input: Any) -> Any:
        return F.adaptive_max_pool2d(input, self.output_size)


class AdaptiveMaxPool3d(_Adaptive):
    """The largest of windows that cut the volume into ``output_size`` parts: a number, or one for each axis.

    (N, C, D, H, W) -> (N, C, *output_size).  None keeps the size.
    """

    def forward(self, input: Any) -> Any:
        return F.adaptive_max_pool3d(input, self.output_size)
