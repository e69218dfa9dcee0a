"""Convolutions.  Images are channels last; kernels are (..., in / groups, out)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from cortex_compute.types import TensorType
from cortex_core.initializers import auto, fans, zeros
from cortex_core.layers.activations import activate
from cortex_core.layers.expect import refuse, spatial
from cortex_core.layers.scope import Parameter, Scope
from cortex_core.layers.stepping import StepScope
from cortex_core.layers.windows import Pairs, paddings
from cortex_core.ops.convolution import conv
from cortex_core.ops.indexing import concatenate
from cortex_core.ops.views import narrow
from cortex_core.registry import Activation, Fault, Initializer, Padding, Size, base, field, layer


@base
class Convolution:
    """What all convolutions share.

    Each group is a convolution by itself, and its kernel is drawn as one: fan_out counts the filters of one
    group.  (Keras and PyTorch count those of all groups, so that their `glorot_uniform` shrinks signals.)
    """

    kind: ClassVar[str]
    rank: ClassVar[int]

    filters: int = field(doc="channels of the output", minimum=1)
    kernel: Size = field(doc="size of the window")
    stride: Size = field(default=1, doc="step of the window")
    padding: Padding = field(default="valid", doc="zeros around the input; same: the surplus goes behind")
    dilation: Size = field(default=1, doc="distance of the window's elements")
    groups: int = field(default=1, doc="parts into which the channels are split", minimum=1)
    use_bias: bool = field(default=True, doc="adds one number per filter")
    activation: Activation | None = field(default=None, doc="applied to the result")
    kernel_initializer: Initializer = field(default=auto, doc="initial kernel")
    bias_initializer: Initializer = field(default=zeros, doc="initial bias")

    def check(self) -> Iterator[Fault]:
        """Each group has the same number of filters."""
        if self.filters % self.groups:
            found = f"{self.filters} filters do not split into {self.groups} groups"
            yield Fault(("groups",), found, "expected a number that divides filters")

    def parameters(self, x: TensorType) -> Iterator[Parameter]:
        spatial(self, x)
        inner, outer = self.split(x), self.filters // self.groups
        fan = fans((*self.kernel, inner, outer))
        yield Parameter("kernel", (*self.kernel, inner, self.filters), self.kernel_initializer, fan=fan)
        if self.use_bias:
            yield Parameter("bias", (self.filters,), self.bias_initializer)

    def split(self, x: Any) -> int:
        """How many channels of x each group takes."""
        channels: int = x.shape[-1]
        if channels % self.groups:
            refuse(f"{self.kind} cannot split {channels} channels into {self.groups} groups", x)
        return channels // self.groups

    def forward(self, p: Scope, x: Any) -> Any:
        padding = paddings(self, x, self.kernel, self.stride, self.padding, self.dilation)
        return self.convolved(p, x, padding)

    def convolved(self, p: Scope, x: Any, padding: Pairs) -> Any:
        """The convolution, its bias and its activation."""
        y = conv(x, p.kernel, self.stride, padding, self.dilation, self.groups)
        return activate(self.activation, y + p.bias if self.use_bias else y)


@layer("conv1d", main="filters", rank=1)
class Conv1D(Convolution):
    """Convolution along one axis.   x (B, L, in), kernel (K, in / groups, out) -> (B, L', out)

    Waibel et al., 1989.

    Example:
        inputs: {signal: [9, 2]}
        layers: [conv1d: {filters: 3, kernel: 4}]
    """

    def step(self, p: StepScope, x: Any) -> Any:
        """Of a convolution that sees nothing later: it keeps the inputs that its window reaches back to."""
        reach = (self.kernel[0] - 1) * self.dilation[0]
        causal = reach == 0 if isinstance(self.padding, str) else self.padding == ((reach, 0),)
        if self.stride != (1,) or not causal:
            refuse(f"conv1d sees later positions; padding [[{reach}, 0]] and stride 1 would not", x)
        if reach:
            x = concatenate([p.kept("inputs", (x.shape[0], reach, x.shape[2])), x], 1)
            p.update("inputs", narrow(x, 1, 1, reach))
        return self.convolved(p, x, ((0, 0),))


@layer("conv2d", main="filters", rank=2)
class Conv2D(Convolution):
    """Convolution of images.   x (B, H, W, in), kernel (KH, KW, in / groups, out) -> (B, H', W', out)

    Fukushima, 1980; LeCun et al., 1989.

    Example:
        inputs: {image: [4, 3, 2]}
        layers: [conv2d: {filters: 3, kernel: 2}]
    """


@layer("conv3d", main="filters", rank=3)
class Conv3D(Convolution):
    """Convolution of volumes, such as the pictures of a film one behind the other.

    x (B, D, H, W, in), kernel (KD, KH, KW, in / groups, out) -> (B, D', H', W', out).  Ji et al., "3D
    convolutional neural networks for human action recognition", 2010.

    Example:
        inputs: {film: [2, 3, 4, 1]}
        layers: [conv3d: {filters: 2, kernel: 2}]
    """
