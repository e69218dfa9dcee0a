"""A rectifier whose slope is learned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from cortex_compute.types import TensorType
from cortex_core.initializers import Constant
from cortex_core.layers.expect import refuse
from cortex_core.layers.scope import Parameter, Scope
from cortex_core.ops.pointwise import pointwise, select
from cortex_core.registry import Initializer, field, layer


@pointwise
def prelu(x: Any, slope: Any) -> Any:
    """x where x > 0, slope x elsewhere; the slope is learned: dslope = g x where x <= 0"""
    return select(x > 0, x, slope * x)


@layer("prelu", main="per", suits="he_normal", positionwise=True)
class PRelu:
    """x where x > 0, slope x elsewhere, with a learned slope for each channel or each element.

    x (B, ..., C), slope (C,) or (..., C) -> (B, ..., C).  He et al., 2015.

    Example:
        inputs: {image: [2, 3, 4]}
        layers: [prelu: channel]
    """

    per: Literal["channel", "element"] = field(default="channel", doc="what has a slope of its own")
    initializer: Initializer = field(default=Constant(value=0.25), doc="initial slopes")

    def parameters(self, x: TensorType) -> Iterator[Parameter]:
        if x.rank < 2:
            refuse("prelu needs at least one axis", x)
        yield Parameter("slope", x.shape[-1:] if self.per == "channel" else x.shape[1:], self.initializer)

    def forward(self, p: Scope, x: Any) -> Any:
        return prelu(x, p.slope)

    def step(self, p: Scope, x: Any) -> Any:
        """Of one position, where all share their slopes."""
        if self.per == "element" and len(x.shape) > 2:
            refuse("prelu has other slopes for each position by 'per: element'", x)
        return self.forward(p, x)
