"""How far one number is from what it should be: the pointwise formulas that losses are made of."""

from __future__ import annotations

from typing import Any

from cortex_core.ops.pointwise import log, maximum, pointwise

SMALLEST = 1.1754943508222875e-38  # normal float32: no logarithm of a probability is below -87.3


@pointwise
def squared_difference(x: Any, t: Any) -> Any:
    """(x - t)^2"""
    return (x - t) ** 2


@pointwise
def absolute_difference(x: Any, t: Any) -> Any:
    """|x - t|"""
    return abs(x - t)


@pointwise
def cross_entropy_of_probability(p: Any, t: Any, positive_weight: float) -> Any:
    """-(w t log p + (1 - t) log(1 - p)), finite also where p is 0 or 1"""
    positive = t if positive_weight == 1 else positive_weight * t
    return -(positive * log(maximum(p, SMALLEST)) + (1.0 - t) * log(maximum(1.0 - p, SMALLEST)))
