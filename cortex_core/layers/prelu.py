"""A rectifier whose slope is learned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from cortex_compute.types import TensorType
from cortex_core.initializers import Constant
from cortex_core.layers.expect import refuse
from cortex_core.layers.scope import Parameter, Scope
from cortex_core.ops.pointwise import pointwise, select
from cortex_core.registry import Fault, Initializer, Shape, field, layer


@pointwise
def prelu(x: Any, slope: Any) -> Any:
    """x where x > 0, slope x elsewhere; the slope is learned: dslope = g x where x <= 0"""
    return select(x > 0, x, slope * x)


@layer("prelu", main="per", suits="he_normal", positionwise=True)
class PRelu:
    """x where x > 0, slope x elsewhere, with a learned slope for each channel or each element.

    Elements of an example may share a slope along some axes, where its shape is 1 then.
    x (B, ..., C), slope (C,) or (..., C) -> (B, ..., C).  He et al., 2015.

    Example:
        inputs: {image: [2, 3, 4]}
        layers: [prelu: channel]
    """

    per: Literal["channel", "element"] = field(default="channel", doc="what has a slope of its own")
    shared: Shape = field(default=(), doc="axes along which elements share a slope, from 1", minimum=1)
    initializer: Initializer = field(default=Constant(value=0.25), doc="initial slopes")

    def check(self) -> Iterator[Fault]:
        """A channel has one slope as it is."""
        if self.shared and self.per == "channel":
            yield Fault(("shared",), "a channel has one slope along all other axes", "expected per: element")

    def parameters(self, x: TensorType) -> Iterator[Parameter]:
        if x.rank < 2:
            refuse("prelu needs at least one axis", x)
        if max(self.shared, default=0) >= x.rank:
            refuse(f"prelu has no axis {max(self.shared)} along which to share (0 is the batch)", x)
        of_element = tuple(1 if axis in self.shared else x.shape[axis] for axis in range(1, x.rank))
        yield Parameter("slope", x.shape[-1:] if self.per == "channel" else of_element, self.initializer)

    def forward(self, p: Scope, x: Any) -> Any:
        return prelu(x, p.slope)

    def step(self, p: Scope, x: Any) -> Any:
        """Of one position, where all share their slopes."""
        if self.per == "element" and len(x.shape) > 2 and 1 not in self.shared:
            refuse("prelu has other slopes for each position by 'per: element'", x)
        return self.forward(p, x)
