"""Losses without a target: of what a node gives, and of parameters."""

from __future__ import annotations

from typing import Any

from cortex_core.losses.common import alike
from cortex_core.ops.pointwise import exp, pointwise
from cortex_core.ops.reduce import sum as total
from cortex_core.registry import Source, field, loss


def sum_of_sample(values: Any) -> Any:
    """The sum over all axes but the first."""
    return total(values, tuple(range(1, len(values.shape)))) if len(values.shape) > 1 else values


@loss("l1", target=False)
class L1:
    """sum |x| over all but the batch axis, or over all of a parameter.

    The field ``penalty`` of a layer has the same formula.  Tibshirani, 1996.

    Example:
        inputs: {features: [4]}
        layers: [dense: {units: 2, id: code}]
        loss: {l1: {of: code, weight: 0.01}}
    """

    def per_sample(self, x: Any) -> tuple[Any, Any | None]:
        return sum_of_sample(abs(x)), None


@loss("l2", target=False)
class L2:
    """sum x² over all but the batch axis, or over all of a parameter.

    The field ``penalty`` of a layer has the same formula.  Hoerl and Kennard, 1970.

    Example:
        inputs: {features: [4]}
        layers: [dense: {units: 2, id: code}]
        loss: {l2: {of: code/kernel, weight: 0.01}}
    """

    def per_sample(self, x: Any) -> tuple[Any, Any | None]:
        return sum_of_sample(x * x), None


@pointwise
def gaussian_divergence(mean: Any, log_variance: Any) -> Any:
    """(m² + v - 1 - log v) / 2"""
    return 0.5 * (mean * mean + exp(log_variance) - 1.0 - log_variance)


@loss("gaussian_kl", target=False)
class GaussianKL:
    """sum(m² + v - 1 - log v) / 2 over all but the batch axis: how far N(m, v) is from N(0, 1).   x is m

    The term of a variational autoencoder that keeps its codes together.  Kingma and Welling, 2014,
    appendix B.

    Example:
        inputs: {features: [4]}
        layers: [dense: {units: 2, id: m}, dense: {units: 2, from: features, id: v}]
        loss: {gaussian_kl: {of: m, log_variance: v}}
    """

    log_variance: Source = field(doc="the node that gives log v, of the shape of x")

    def per_sample(self, x: Any, log_variance: Any) -> tuple[Any, Any | None]:
        alike(self, x, log_variance=log_variance)
        return sum_of_sample(gaussian_divergence(x, log_variance)), None
