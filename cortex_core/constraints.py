"""What holds for a parameter after each update: ``constraint: {kernel: {max_norm: 2}}``.

``apply(p)`` gives the nearest parameter for which it holds.  A norm is taken over all axes but the last, that
is, of all that leads to one unit or filter.
"""

from __future__ import annotations

from typing import Any

from cortex_core.ops.pointwise import divide, maximum, minimum, sqrt
from cortex_core.ops.reduce import sum as total
from cortex_core.registry import constraint, field

SMALLEST = 1e-12  # a norm that counts as 0


def norm(p: Any) -> Any:
    """The Euclidean norm of what leads to each unit, over all axes but the last (of a vector: of it all)."""
    axes = tuple(range(max(1, len(p.shape) - 1)))
    return sqrt(total(p * p, axes, keepdims=True))


@constraint("max_norm", main="value")
class MaxNorm:
    """Shrinks what leads to a unit where its norm is above ``value``.   Srebro and Shraibman, 2005."""

    value: float = field(default=2.0, doc="the largest norm", above=0)

    def apply(self, p: Any) -> Any:
        return p * minimum(divide(self.value, maximum(norm(p), SMALLEST)), 1.0)


@constraint("unit_norm")
class UnitNorm:
    """Scales what leads to a unit to the norm 1."""

    def apply(self, p: Any) -> Any:
        return divide(p, maximum(norm(p), SMALLEST))


@constraint("non_negative")
class NonNegative:
    """Sets what is negative to 0."""

    def apply(self, p: Any) -> Any:
        return maximum(p, 0.0)
