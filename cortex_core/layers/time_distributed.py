"""A layer at each step of a sequence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cortex_compute.types import TensorType
from cortex_core.layers.expect import refuse
from cortex_core.layers.recurrence import Declared, Recurrence
from cortex_core.layers.scope import Scope
from cortex_core.ops.views import reshape
from cortex_core.registry import Fault, Layer, field, layer, sources_of


@layer("time_distributed", main="layer", positionwise=True)
class TimeDistributed:
    """The same layer, with the same parameters, at each step.   x (B, T, ...) -> (B, T, ...)

    Batch and time are one axis while it works, so that batch_norm counts each step as an example, and lstm
    walks along the words of each of T sentences (B, T, words, features).
    As the layer of this name in Keras (Chollet et al., 2015).

    Example:
        inputs: {frames: [2, 3, 3, 1]}
        layers: [time_distributed: {layer: {conv2d: {filters: 2, kernel: 2}}}]
    """

    layer: Layer = field(doc="a layer that works on one input, such as {conv2d: 8}")

    def check(self) -> Iterator[Fault]:
        """The layer works on its input alone, and each step by itself."""
        inputs = self.layer.inputs
        if inputs != 1 and not (isinstance(inputs, tuple) and 1 in inputs):
            found = f"{self.layer.kind} cannot work on one input"
            yield Fault(("layer",), found, "expected a layer of one input")
        if isinstance(self.layer, Recurrence) and self.layer.stateful:
            found = "each step begins anew"
            yield Fault(("layer", self.layer.kind, "stateful"), found, "expected false")
        for path, _ in sources_of(self.layer):
            found = "other values of the network have no steps"
            yield Fault(("layer", self.layer.kind, *path), found, "expected nothing here")

    def parameters(self, x: TensorType) -> Declared:
        if x.rank < 3:
            refuse("time_distributed needs (length, ...), and an axis for the layer", x)
        if hasattr(self.layer, "parameters"):
            yield from self.layer.parameters(TensorType((x.shape[0] * x.shape[1], *x.shape[2:]), x.dtype))

    def forward(self, p: Scope, x: Any) -> Any:
        batch, steps = x.shape[:2]
        y = self.layer.forward(p, reshape(x, (batch * steps, *x.shape[2:])))
        y = y[0] if isinstance(y, tuple) else y
        return reshape(y, (batch, steps, *y.shape[1:]))
