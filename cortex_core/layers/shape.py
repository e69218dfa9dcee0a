"""Layers that only change the shape."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from cortex_core.layers.expect import refuse
from cortex_core.layers.scope import Scope
from cortex_core.ops.views import broadcast_to, reshape, transpose
from cortex_core.registry import Fault, Shape, field, layer


@layer("flatten", transparent=True)
class Flatten:
    """All axes but the batch become one.   x (B, ...) -> (B, n).  As numpy.ravel.

    Example:
        inputs: {image: [2, 2, 3]}
        layers: [flatten, dense: 2]
    """

    def forward(self, p: Scope, x: Any) -> Any:
        return reshape(x, (x.shape[0], math.prod(x.shape[1:])))


@layer("reshape", main="shape", transparent=True)
class Reshape:
    """The same elements in another shape.   x (B, ...) -> (B, *shape).  As numpy.reshape.

    Example:
        inputs: {signal: [6]}
        layers: [reshape: [3, -1], dense: 2]
    """

    shape: Shape = field(doc="the new shape without the batch axis; one -1 is what is left", minimum=-1)

    def check(self) -> Iterator[Fault]:
        """One -1 at most."""
        if self.shape.count(-1) > 1:
            yield Fault(("shape",), f"{self.shape.count(-1)} axes are -1", "expected one at most")

    def forward(self, p: Scope, x: Any) -> Any:
        size, known = math.prod(x.shape[1:]), math.prod(n for n in self.shape if n != -1)
        fits = known > 0 and size % known == 0 if -1 in self.shape else size == known
        if not fits:
            refuse(f"reshape cannot make {self.shape} of {size} elements", x)
        shape = tuple(size // known if n == -1 else n for n in self.shape)
        return reshape(x, (x.shape[0], *shape))


@layer("permute", main="axes", transparent=True)
class Permute:
    """Axes in another order.   ``[2, 1]``: x (B, m, n) -> (B, n, m).  As numpy.transpose.

    Example:
        inputs: {sequence: [3, 2]}
        layers: [permute: [2, 1], dense: 2]
    """

    axes: Shape = field(doc="for each output axis the input's, from 1 (0 is the batch)", minimum=1)

    def check(self) -> Iterator[Fault]:
        """Each axis once."""
        if sorted(self.axes) != list(range(1, len(self.axes) + 1)):
            expected = f"expected each of 1 to {len(self.axes)} once (the batch axis stays first)"
            yield Fault(("axes",), f"{list(self.axes)} is no permutation", expected)

    def forward(self, p: Scope, x: Any) -> Any:
        if len(self.axes) != len(x.shape) - 1:
            refuse(f"permute to {list(self.axes)} needs {len(self.axes)} axes", x)
        return transpose(x, (0, *self.axes))


@layer("repeat_vector", main="times", transparent=True)
class RepeatVector:
    """The same at each of so many steps.   x (B, ...) -> (B, times, ...).  As numpy.broadcast_to.

    Example:
        inputs: {features: [3]}
        layers: [repeat_vector: 4, lstm: 2]
    """

    times: int = field(doc="how many steps", minimum=1)

    def forward(self, p: Scope, x: Any) -> Any:
        one = reshape(x, (x.shape[0], 1, *x.shape[1:]))
        return broadcast_to(one, (x.shape[0], self.times, *x.shape[1:]))
