"""Layers that make one value of several."""

from __future__ import annotations

from collections.abc import Iterator

from cortex_core.registry import Fault, field, layer


@layer("add", inputs="several", transparent=True)
class Add:
    """The sum.   several x (B, ...) of equal shape -> (B, ...)"""


@layer("multiply", inputs="several")
class Multiply:
    """The product of elements.   several x (B, ...) of equal shape -> (B, ...)"""


@layer("concatenate", main="axis", inputs="several", transparent=True)
class Concatenate:
    """One behind the other.   several x (B, ..., n_i) -> (B, ..., sum n_i)"""

    axis: int = field(default=-1, doc="the axis that grows, counted with the batch axis as 0")

    def check(self) -> Iterator[Fault]:
        """Samples stay apart."""
        if self.axis == 0:
            yield Fault(("axis",), "axis 0 is the batch", "expected 1, 2, ... or -1, -2, ...")
