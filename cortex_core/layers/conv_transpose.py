"""Transposed convolutions: what `conv` does to gradients, as a layer that makes images larger."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from cortex_compute.types import TensorType
from cortex_core.initializers import fans
from cortex_core.layers.activations import activate
from cortex_core.layers.conv import Convolution
from cortex_core.layers.expect import refuse, spatial
from cortex_core.layers.scope import Parameter, Scope
from cortex_core.layers.windows import same_padding
from cortex_core.ops.convolution import conv_transpose, transposed_sizes
from cortex_core.registry import Fault, Padding, Size, base, field, layer


@base
class TransposedConvolution(Convolution):
    """What all transposed convolutions share.

    An output is the sum of filters from in / groups channels and, on average, from prod(kernel) /
    prod(stride) positions: that is fan_in.  (Keras and PyTorch take prod(kernel) * out / groups.)
    """

    stride: Size = field(default=1, doc="distance at which the windows are laid down")
    padding: Padding = field(
        default="valid", doc="what is cut off the output; same: its size is that of the input * stride"
    )
    output_padding: Size = field(
        default=0, minimum=0, doc="makes the output longer at its end; below the stride"
    )

    def check(self) -> Iterator[Fault]:
        """The padding of the output is less than the stride, and none where `same` says the size."""
        yield from super().check()
        extra = list(self.output_padding)
        if self.padding == "same" and any(extra):
            expected = "expected none, for same means input * stride"
            yield Fault(("output_padding",), f"{extra} beside padding: same", expected)
        elif not all(more < s for more, s in zip(extra, self.stride)):
            found = f"{extra} is not below the stride {list(self.stride)}"
            yield Fault(("output_padding",), found, "expected less on each axis")

    def parameters(self, x: TensorType) -> Iterator[Parameter]:
        spatial(self, x)
        inner, outer = self.split(x), self.filters // self.groups
        fan_in, fan_out = fans((*self.kernel, inner, outer))
        fan = max(1, fan_in // math.prod(self.stride)), fan_out
        yield Parameter("kernel", (*self.kernel, outer, x.shape[-1]), self.kernel_initializer, fan=fan)
        if self.use_bias:
            yield Parameter("bias", (self.filters,), self.bias_initializer)

    def forward(self, p: Scope, x: Any) -> Any:
        padding, extra = self.padding, self.output_padding
        if padding == "valid":
            padding = ((0, 0),) * self.rank
        elif padding == "same":
            reach = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation)]
            outputs = [n * s for n, s in zip(x.shape[1:-1], self.stride)]
            padding = same_padding(outputs, reach, self.stride)
            extra = tuple(max(0, s - r) for s, r in zip(self.stride, reach))
        sizes = transposed_sizes(x.shape[1:-1], self.kernel, self.stride, padding, self.dilation, extra)
        if min(sizes) < 1:
            refuse(f"{self.kind} with padding {[list(pair) for pair in padding]} leaves nothing of it", x)
        y = conv_transpose(x, p.kernel, self.stride, padding, self.dilation, self.groups, extra)
        return activate(self.activation, y + p.bias if self.use_bias else y)


@layer("conv_transpose1d", main="filters", rank=1)
class ConvTranspose1D(TransposedConvolution):
    """The adjoint of `conv1d`: each element of x is spread over a window of the output.

    x (B, L, in), kernel (K, out / groups, in) -> (B, L', out), L' = (L - 1) stride + (K - 1) dilation + 1
    - before - after + output_padding; the kernel lies as Keras's.  Zeiler et al., "Deconvolutional
    networks", 2010.

    Example:
        inputs: {signal: [5, 2]}
        layers: [conv_transpose1d: {filters: 3, kernel: 4, stride: 2}]
    """


@layer("conv_transpose2d", main="filters", rank=2)
class ConvTranspose2D(TransposedConvolution):
    """The adjoint of `conv2d`: each pixel of x is spread over a window of the output.

    x (B, H, W, in), kernel (KH, KW, out / groups, in) -> (B, H', W', out), H' = (H - 1) stride + (KH - 1)
    dilation + 1 - before - after + output_padding; the kernel lies as Keras's.  (`valid` in Keras means H' =
    H stride where the window is smaller than the stride: here output_padding says it.)  Zeiler et al.,
    "Deconvolutional networks", 2010; Dumoulin and Visin, 2016.

    Example:
        inputs: {image: [2, 3, 2]}
        layers: [conv_transpose2d: {filters: 2, kernel: 3, stride: 2, padding: same}]
    """


@layer("conv_transpose3d", main="filters", rank=3)
class ConvTranspose3D(TransposedConvolution):
    """The adjoint of `conv3d`: each element of x is spread over a window of the output.

    x (B, D, H, W, in), kernel (KD, KH, KW, out / groups, in) -> (B, D', H', W', out), sizes as of
    `conv_transpose2d`; the kernel lies as Keras's.  Zeiler et al., "Deconvolutional networks", 2010; Dumoulin
    and Visin, 2016.

    Example:
        inputs: {film: [1, 2, 2, 2]}
        layers: [conv_transpose3d: {filters: 2, kernel: 2, stride: 2}]
    """
