"""A recurrence in both directions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

from cortex_compute.types import TensorType
from cortex_core.layers.expect import refuse
from cortex_core.layers.recurrence import Declared, Recurrence
from cortex_core.layers.scope import Scope
from cortex_core.ops.indexing import concatenate
from cortex_core.registry import Fault, Layer, field, layer

PREFIXES = ("forward_", "backward_")


@layer("bidirectional", main="layer", outputs=("last", "cell"))
class Bidirectional:
    """A recurrent layer from the first step to the last, another from the last to the first, merged.

    x (B, T, ...) -> what the layer gives, by ``concat`` with both side by side on the last axis.  Its
    parameters are those of the layer, twice: forward_kernel, backward_kernel, ...  Where the layer names its
    initial states there are twice as many: those of the way back come second.  Schuster and Paliwal, 1997.

    Example:
        inputs: {sequence: [3, 2]}
        layers: [bidirectional: {layer: {lstm: 2}}]
    """

    layer: Layer = field(doc="a recurrent layer, such as {lstm: {units: 8}}")
    merge: Literal["concat", "sum", "multiply", "average"] = field(
        default="concat", doc="how the two become one"
    )

    def check(self) -> Iterator[Fault]:
        """The layer has a direction to turn."""
        if not isinstance(self.layer, Recurrence):
            yield Fault(("layer",), f"{self.layer.kind} is no recurrent layer", "expected lstm, gru, ...")
            return
        for name in ("reverse", "stateful"):
            if getattr(self.layer, name):
                found = f"one of the two directions cannot be '{name}'"
                yield Fault(("layer", self.layer.kind, name), found, "expected false")

    def lacks(self) -> dict[str, str]:
        """The outputs that there are not with these fields, and what would give them."""
        own: dict[str, str] = self.layer.lacks()
        missing = {"last", "cell"}.difference(self.layer.outputs)
        return own | {name: f"an lstm, which has a {name}," for name in missing}

    def parameters(self, x: TensorType) -> Declared:
        for prefix in PREFIXES:
            yield from (replace(d, name=prefix + d.name) for d in self.layer.parameters(x))

    def forward(self, p: Scope, x: Any, initial: Sequence[Any] = (), **named: Any) -> Any:
        names = list(self.layer.states(x))
        count = len(names)
        if len(initial) not in (0, 2 * count):
            own = " and ".join(names)
            needs = f"bidirectional needs {2 * count} initial states: {own} forwards, {own} backwards"
            refuse(needs, x, *initial)
        ways = (self.layer, initial[:count]), (replace(self.layer, reverse=True), initial[count:])
        results = [
            way.forward(p.inner(prefix), x, initial=states, **named)
            for prefix, (way, states) in zip(PREFIXES, ways)
        ]
        if self.layer.gives != "both":
            return self._merged(*results)
        (y, first), (z, second) = results
        return self._merged(y, z), {name: self._merged(first[name], second[name]) for name in first}

    def _merged(self, a: Any, b: Any) -> Any:
        if self.merge == "concat":
            return concatenate([a, b], -1)
        if self.merge == "multiply":
            return a * b
        return a + b if self.merge == "sum" else (a + b) * 0.5
