"""Draws from a distribution that a network names, so that gradients pass."""

from __future__ import annotations

from typing import Any

from cortex_core.layers.expect import floating, refuse
from cortex_core.layers.noise import normal, wide
from cortex_core.layers.scope import Scope
from cortex_core.ops.pointwise import cast, exp
from cortex_core.registry import Source, field, layer


@layer("sampling", main="log_variance", positionwise=True)
class Sampling:
    """A draw from N(mean, variance) by mean + exp(log_variance / 2) n, n from N(0, 1) for each element.

    In evaluation and prediction the mean itself.  The loss `gaussian_kl` keeps the distribution near N(0, 1).
    mean (B, ...), log_variance (B, ...) -> (B, ...).  Kingma and Welling, 2014: the reparametrisation of
    section 2.4.

    Example:
        inputs: {x: [4]}
        layers: [{dense: {units: 2, from: x, id: spread}}, {dense: {units: 2, from: x}}, sampling: spread]
    """

    log_variance: Source = field(doc="the logarithm of the variance, of the shape of the mean")

    def forward(self, p: Scope, x: Any, log_variance: Any) -> Any:
        floating(self, x)
        if log_variance.shape != x.shape:
            told = f"a log_variance of the mean's shape; it is {log_variance.shape[1:]}"
            refuse(f"sampling needs {told}", x)
        if not p.training:
            return x
        return cast(wide(x) + exp(0.5 * wide(log_variance)) * normal(p, x), x.dtype)
