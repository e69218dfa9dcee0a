"""Noise in training."""

from __future__ import annotations

import math
from typing import Any

from cortex_compute.primitives.normalization import vector_type
from cortex_core.layers.expect import floating
from cortex_core.layers.scope import Scope
from cortex_core.ops.pointwise import cast
from cortex_core.registry import field, layer


def normal(p: Scope, x: Any) -> Any:
    """Standard normal numbers, one for each element of x, in no less than float32."""
    return p.normal(x.shape, vector_type(x.dtype))


def wide(x: Any) -> Any:
    """x in the type of its noise."""
    return cast(x, vector_type(x.dtype))


@layer("gaussian_noise", main="deviation", transparent=True, positionwise=True)
class GaussianNoise:
    """In training x + deviation n, with n from N(0, 1) for each element; x in prediction.

    x (B, ...) -> (B, ...).  Bishop, 1995: training with noise is Tikhonov regularisation.

    Example:
        inputs: {features: [4]}
        layers: [dense: 3, gaussian_noise: 0.1]
    """

    deviation: float = field(doc="standard deviation of what is added", minimum=0)

    def forward(self, p: Scope, x: Any) -> Any:
        floating(self, x)
        if not (p.training and self.deviation):
            return x
        return cast(wide(x) + self.deviation * normal(p, x), x.dtype)


@layer("gaussian_dropout", main="rate", transparent=True, positionwise=True)
class GaussianDropout:
    """In training x times N(1, variance) for each element, variance = rate / (1 - rate); x in prediction.

    Mean and variance of the factor are those of `dropout` with this rate.  Somebody who thinks of the
    variance, as a multiplicative dropout of variance v, writes the rate v / (1 + v).
    x (B, ...) -> (B, ...).  Srivastava et al., 2014, section 10.

    Example:
        inputs: {features: [4]}
        layers: [dense: 3, gaussian_dropout: 0.2]
    """

    rate: float = field(doc="that of a dropout of equal variance", minimum=0, below=1)

    def forward(self, p: Scope, x: Any) -> Any:
        floating(self, x)
        deviation = math.sqrt(self.rate / (1 - self.rate))
        if not (p.training and deviation):
            return x
        return cast(wide(x) * (1.0 + deviation * normal(p, x)), x.dtype)
