"""The fully connected layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cortex_compute.types import TensorType
from cortex_core.initializers import auto, zeros
from cortex_core.layers.activations import activate
from cortex_core.layers.expect import refuse
from cortex_core.layers.scope import Parameter, Scope
from cortex_core.ops.linear import matmul
from cortex_core.registry import Activation, Initializer, field, layer


@layer("dense", main="units", positionwise=True)
class Dense:
    """Fully connected: y = x W + b over the last axis.

    x (..., in), W (in, units), b (units,) -> (..., units).  Rosenblatt, 1958; Rumelhart et al., 1986.

    Example:
        inputs: {features: [4]}
        layers: [dense: {units: 3, activation: tanh}]
    """

    units: int = field(doc="size of the last axis of the output", minimum=1)
    activation: Activation | None = field(default=None, doc="applied to the result")
    use_bias: bool = field(default=True, doc="adds b")
    kernel_initializer: Initializer = field(default=auto, doc="initial W")
    bias_initializer: Initializer = field(default=zeros, doc="initial b")

    def parameters(self, x: TensorType) -> Iterator[Parameter]:
        if x.rank < 2:
            refuse("dense needs at least one axis", x)
        yield Parameter("kernel", (x.shape[-1], self.units), self.kernel_initializer)
        if self.use_bias:
            yield Parameter("bias", (self.units,), self.bias_initializer)

    def forward(self, p: Scope, x: Any) -> Any:
        y = matmul(x, p.kernel)
        return activate(self.activation, y + p.bias if self.use_bias else y)
