"""How far one number is from what it should be: the pointwise formulas that losses are made of."""

from __future__ import annotations

from typing import Any

from cortex_core.ops.formulas import softplus
from cortex_core.ops.pointwise import equal, exp, expm1, log, maximum, pointwise, relu, select

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
def huber(x: Any, t: Any, delta: float) -> Any:
    """(x - t)^2 / 2 where |x - t| < delta, delta (|x - t| - delta / 2) elsewhere.  Huber, 1964"""
    d = abs(x - t)
    return select(d < delta, 0.5 * d * d, delta * (d - 0.5 * delta))


@pointwise
def hinge(x: Any, t: Any) -> Any:
    """max(0, 1 - t x) for targets t of -1 and 1"""
    return relu(1.0 - t * x)


@pointwise
def divergence(x: Any, t: Any) -> Any:
    """t (log t - x) of log-probabilities x, 0 where t is.  Kullback and Leibler, 1951"""
    nothing = equal(t, 0.0)
    return select(nothing, 0.0, t * (log(select(nothing, 1.0, t)) - x))


@pointwise
def divergence_of_logarithm(x: Any, t: Any) -> Any:
    """exp(t) (t - x) of log-probabilities x and t"""
    return exp(t) * (t - x)


@pointwise
def focal_of_logarithm(x: Any, gamma: float) -> Any:
    """-(1 - p)^gamma log p with x = log p.  Lin et al., 2017, equation 4

    The bound keeps the gradient of the power finite where p is 1 and gamma below 1.
    """
    return -(maximum(-expm1(x), SMALLEST) ** gamma) * x


@pointwise
def focal_with_logits(x: Any, t: Any, gamma: float) -> Any:
    """t f(x) + (1 - t) f(-x), f(x) = -(1 - p)^gamma log p with p = sigmoid(x), as exponentials of x.

    -log p = softplus(-x) and (1 - p)^gamma = exp(-gamma softplus(x)): neither overflows nor cancels.
    """
    yes, no = softplus(-x), softplus(x)
    return t * exp(-gamma * no) * yes + (1.0 - t) * exp(-gamma * yes) * no


@pointwise
def focal_of_probability(p: Any, t: Any, gamma: float) -> Any:
    """t f(p) + (1 - t) f(1 - p), f(p) = -(1 - p)^gamma log p, finite also where p is 0 or 1"""
    q, p = maximum(1.0 - p, SMALLEST), maximum(p, SMALLEST)
    return -(t * q**gamma * log(p) + (1.0 - t) * p**gamma * log(q))


@pointwise
def cross_entropy_of_probability(p: Any, t: Any, positive_weight: float) -> Any:
    """-(w t log p + (1 - t) log(1 - p)), finite also where p is 0 or 1"""
    positive = t if positive_weight == 1 else positive_weight * t
    return -(positive * log(maximum(p, SMALLEST)) + (1.0 - t) * log(maximum(1.0 - p, SMALLEST)))
