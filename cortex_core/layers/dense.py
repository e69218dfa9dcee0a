"""The fully connected layer."""

from __future__ import annotations

from cortex_core.initializers import auto, zeros
from cortex_core.registry import Activation, Initializer, field, layer


@layer("dense", main="units")
class Dense:
    """Fully connected: y = x W + b over the last axis.

    x (..., in), W (in, units), b (units,) -> (..., units)
    """

    units: int = field(doc="size of the last axis of the output", minimum=1)
    activation: Activation | None = field(default=None, doc="applied to the result")
    use_bias: bool = field(default=True, doc="adds b")
    kernel_initializer: Initializer = field(default=auto, doc="initial W")
    bias_initializer: Initializer = field(default=zeros, doc="initial b")
