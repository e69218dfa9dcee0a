"""Convolutions where each channel has a kernel of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from cortex_compute.types import TensorType
from cortex_core.initializers import GlorotUniform, auto, fans, zeros
from cortex_core.layers.activations import activate
from cortex_core.layers.expect import spatial
from cortex_core.layers.scope import Parameter, Scope
from cortex_core.layers.windows import paddings
from cortex_core.ops.convolution import conv
from cortex_core.registry import Activation, Initializer, Padding, Size, base, field, layer


@base
class Windows:
    """The windows, which come first among the fields."""

    kind: ClassVar[str]
    rank: ClassVar[int]

    kernel: Size = field(doc="size of the window")
    stride: Size = field(default=1, doc="step of the window")
    padding: Padding = field(default="valid", doc="zeros around the input; same: the surplus goes behind")
    dilation: Size = field(default=1, doc="distance of the window's elements")
    multiplier: int = field(default=1, doc="results for each channel", minimum=1)
    use_bias: bool = field(default=True, doc="adds one number per channel of the output")
    activation: Activation | None = field(default=None, doc="applied to the result")

    def declared(self, name: str, x: TensorType, initializer: Any) -> Parameter:
        """The kernel; each channel is a convolution by itself, from one channel to ``multiplier``."""
        spatial(self, x)
        shape = (*self.kernel, 1, x.shape[-1] * self.multiplier)
        return Parameter(name, shape, initializer, fan=fans((*self.kernel, 1, self.multiplier)))

    def channelwise(self, x: Any, kernel: Any) -> Any:
        """Each channel with its own kernels."""
        padding = paddings(self, x, self.kernel, self.stride, self.padding, self.dilation)
        return conv(x, kernel, self.stride, padding, self.dilation, groups=x.shape[-1])


@base
class DepthwiseConvolution(Windows):
    """Convolution of each channel by itself."""

    kernel_initializer: Initializer = field(default=auto, doc="initial kernel")
    bias_initializer: Initializer = field(default=zeros, doc="initial bias")

    def parameters(self, x: TensorType) -> Iterator[Parameter]:
        yield self.declared("kernel", x, self.kernel_initializer)
        if self.use_bias:
            yield Parameter("bias", (x.shape[-1] * self.multiplier,), self.bias_initializer)

    def forward(self, p: Scope, x: Any) -> Any:
        y = self.channelwise(x, p.kernel)
        return activate(self.activation, y + p.bias if self.use_bias else y)


@layer("depthwise_conv1d", main="kernel", rank=1)
class DepthwiseConv1D(DepthwiseConvolution):
    """Convolution of each channel by itself along one axis, with `multiplier` kernels m.

    x (B, L, in), kernel (K, 1, in m) -> (B, L', in m), where output c m + j comes from channel c.  The kernel
    is Keras's (K, in, m) by another name of its shape.  Sifre, 2014; Kaiser et al., "Depthwise separable
    convolutions for neural machine translation", 2018.

    Example:
        inputs: {signal: [4, 2]}
        layers: [depthwise_conv1d: {kernel: 2, multiplier: 2}]
    """


@layer("depthwise_conv2d", main="kernel", rank=2)
class DepthwiseConv2D(DepthwiseConvolution):
    """Convolution of each channel by itself, with `multiplier` kernels m.

    x (B, H, W, in), kernel (KH, KW, 1, in m) -> (B, H', W', in m), where output c m + j comes from channel
    c.  The kernel is Keras's (KH, KW, in, m) by another name of its shape.  Sifre, 2014; Howard et al.,
    "MobileNets", 2017.

    Example:
        inputs: {image: [3, 4, 2]}
        layers: [depthwise_conv2d: {kernel: 2, multiplier: 2}]
    """


@base
class Filters:
    """Comes before the windows."""

    filters: int = field(doc="channels of the output", minimum=1)


@base
class SeparableConvolution(Windows, Filters):
    """Convolution of each channel by itself, then one by one element, which mixes the channels."""

    depthwise_initializer: Initializer = field(default=GlorotUniform(), doc="initial depthwise_kernel")
    pointwise_initializer: Initializer = field(default=auto, doc="initial pointwise_kernel")
    bias_initializer: Initializer = field(default=zeros, doc="initial bias")

    def parameters(self, x: TensorType) -> Iterator[Parameter]:
        yield self.declared("depthwise_kernel", x, self.depthwise_initializer)
        shape = (*(1,) * self.rank, x.shape[-1] * self.multiplier, self.filters)
        yield Parameter("pointwise_kernel", shape, self.pointwise_initializer)
        if self.use_bias:
            yield Parameter("bias", (self.filters,), self.bias_initializer)

    def forward(self, p: Scope, x: Any) -> Any:
        y = conv(self.channelwise(x, p.depthwise_kernel), p.pointwise_kernel)
        return activate(self.activation, y + p.bias if self.use_bias else y)


@layer("separable_conv1d", main="filters", rank=1)
class SeparableConv1D(SeparableConvolution):
    """`depthwise_conv1d`, then a convolution by one element, which mixes the channels.

    x (B, L, in), depthwise_kernel (K, 1, in m), pointwise_kernel (1, in m, out), bias (out,) -> (B, L', out),
    m the `multiplier`.  The kernels lie as Keras's.  Sifre, 2014; Kaiser et al., 2018.

    Example:
        inputs: {signal: [4, 2]}
        layers: [separable_conv1d: {filters: 3, kernel: 2}]
    """


@layer("separable_conv2d", main="filters", rank=2)
class SeparableConv2D(SeparableConvolution):
    """`depthwise_conv2d`, then a convolution by one pixel, which mixes the channels.

    x (B, H, W, in), depthwise_kernel (KH, KW, 1, in m), pointwise_kernel (1, 1, in m, out), bias (out,) ->
    (B, H', W', out), m the `multiplier`.  The kernels lie as Keras's.  Sifre, 2014; Chollet, "Xception",
    2017.

    Example:
        inputs: {image: [3, 4, 2]}
        layers: [separable_conv2d: {filters: 3, kernel: 2}]
    """
