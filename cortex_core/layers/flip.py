"""A layer that turns an axis around."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cortex_core.layers.expect import refuse
from cortex_core.layers.scope import Scope
from cortex_core.ops.views import flip
from cortex_core.registry import Fault, field, layer


@layer("flip", main="axis", transparent=True)
class Flip:
    """The same elements, the last first.   x (B, ...) -> (B, ...).  As numpy.flip.

    Example:
        inputs: {sequence: [3, 2]}
        layers: [flip: 1, lstm: 2]
    """

    axis: int = field(default=1, doc="the axis that is turned around, counted with the batch axis as 0")

    def check(self) -> Iterator[Fault]:
        """Samples stay where they are."""
        if self.axis == 0:
            yield Fault(("axis",), "axis 0 is the batch", "expected 1, 2, ... or -1, -2, ...")

    def forward(self, p: Scope, x: Any) -> Any:
        rank = len(x.shape)
        if not self.axis % rank > 0 or not -rank <= self.axis < rank:
            refuse(f"flip has no axis {self.axis} to turn around (0 is the batch)", x)
        return flip(x, self.axis)
