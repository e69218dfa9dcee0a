"""Layers that look through windows as convolutions do, with other kernels at each place."""

from __future__ import annotations

import math
from collections.abc import Iterator
from operator import mul
from typing import Any, ClassVar

import numpy as np

from cortex_compute.types import TensorType
from cortex_core.initializers import auto, fans, zeros
from cortex_core.layers.activations import activate
from cortex_core.layers.expect import refuse, spatial
from cortex_core.layers.scope import Parameter, Scope
from cortex_core.layers.windows import window_counts
from cortex_core.ops.indexing import gather
from cortex_core.ops.linear import matmul
from cortex_core.ops.views import reshape, transpose
from cortex_core.registry import Activation, Initializer, Size, base, field, layer

MOST_SEEN = 2**24
"""Elements that the windows along an axis see: a table says which, before the parameters are measured."""


@base
class LocallyConnected:
    """What both ranks share.  Each place is a dense layer by itself, and its kernel is drawn as one.

    There is no padding: margins are those of a `padding1d` or `padding2d` before it.
    """

    kind: ClassVar[str]
    rank: ClassVar[int]

    filters: int = field(doc="channels of the output", minimum=1)
    kernel: Size = field(doc="size of the window")
    stride: Size = field(default=1, doc="step of the window")
    use_bias: bool = field(default=True, doc="adds one number per filter and place")
    activation: Activation | None = field(default=None, doc="applied to the result")
    kernel_initializer: Initializer = field(default=auto, doc="initial kernel")
    bias_initializer: Initializer = field(default=zeros, doc="initial bias")

    def places(self, x: Any) -> tuple[int, ...]:
        """How many windows there are along each spatial axis."""
        spatial(self, x)
        counts = window_counts(self, x, self.kernel, self.stride, ((0, 0),) * self.rank, (1,) * self.rank)
        if max(map(mul, counts, self.kernel)) > MOST_SEEN:
            needs = f"windows that see {MOST_SEEN:,} elements along an axis at most"
            refuse(f"{self.kind} of {counts} places needs {needs}, those of all places together", x)
        return counts

    def parameters(self, x: TensorType) -> Iterator[Parameter]:
        places, channels = self.places(x), x.shape[-1]
        shape = (math.prod(places), math.prod(self.kernel) * channels, self.filters)
        fan = fans((*self.kernel, channels, self.filters))
        yield Parameter("kernel", shape, self.kernel_initializer, fan=fan)
        if self.use_bias:
            yield Parameter("bias", (*places, self.filters), self.bias_initializer)

    def forward(self, p: Scope, x: Any) -> Any:
        places = self.places(x)
        y = transpose(matmul(self.windows(x, places), p.kernel), (1, 0, 2))
        y = reshape(y, (x.shape[0], *places, self.filters))
        return activate(self.activation, y + p.bias if self.use_bias else y)

    def windows(self, x: Any, places: tuple[int, ...]) -> Any:
        """What each window sees: (prod(places), B, prod(kernel) in)."""
        batch, channels, rank = x.shape[0], x.shape[-1], self.rank
        for axis, (count, size, step) in enumerate(zip(places, self.kernel, self.stride)):
            at = step * np.arange(count)[:, None] + np.arange(size)
            x = gather(x, at, 1 + 2 * axis)  # an axis of places and one inside of the window for each of x
        x = transpose(x, (*range(1, 2 * rank, 2), 0, *range(2, 2 * rank + 1, 2), 2 * rank + 1))
        return reshape(x, (math.prod(places), batch, math.prod(self.kernel) * channels))


@layer("locally_connected1d", main="filters", rank=1)
class LocallyConnected1D(LocallyConnected):
    """A `conv1d` with other kernels at each place.

    x (B, L, in), kernel (L', K in, out), bias (L', out) -> (B, L', out).  The kernel lies as Keras's.
    LeCun, "Generalization and network design strategies", 1989.

    Example:
        inputs: {signal: [5, 2]}
        layers: [locally_connected1d: {filters: 3, kernel: 2}]
    """


@layer("locally_connected2d", main="filters", rank=2)
class LocallyConnected2D(LocallyConnected):
    """A `conv2d` with other kernels at each place.

    x (B, H, W, in), kernel (H' W', KH KW in, out), bias (H', W', out) -> (B, H', W', out).  The kernel lies
    as Keras's.  LeCun, "Generalization and network design strategies", 1989; Taigman et al., "DeepFace",
    2014.

    Example:
        inputs: {image: [3, 4, 2]}
        layers: [locally_connected2d: {filters: 2, kernel: 2}]
    """
