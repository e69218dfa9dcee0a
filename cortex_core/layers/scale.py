"""Arithmetic with given numbers, functions of each element, a learned factor per channel, means and sums."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from cortex_compute.primitives.normalization import vector_type
from cortex_compute.types import TensorType, dtype
from cortex_core.initializers import Constant, ones, zeros
from cortex_core.layers.expect import each_position, floating, refuse
from cortex_core.layers.scope import Parameter, Scope
from cortex_core.layers.stepping import StepScope
from cortex_core.ops import reduce
from cortex_core.ops.indexing import gather
from cortex_core.ops.pointwise import cast, cos, erf, expm1, log, log1p, maximum, minimum, pointwise, sin
from cortex_core.registry import Array, Fault, Initializer, Shape, base, field, layer
from cortex_core.registry.kinds import lengths


@pointwise
def scaled(x: Any, factor: Any, offset: Any) -> Any:
    """factor x + offset, in one kernel"""
    return x * factor + offset


@pointwise
def clipped(x: Any, low: float, high: float) -> Any:
    """min(max(x, low), high), in one kernel"""
    return minimum(maximum(x, low), high)


def check_beside(layer: Any, name: str, shape: Sequence[int], x: Any) -> None:
    """Refuses numbers of a shape that NumPy would not broadcast with the last axes of x (B, ...)."""
    sizes = x.shape[1:][-len(shape) :] if shape else ()
    if len(shape) >= len(x.shape) or any(n not in (1, m) and m != 1 for n, m in zip(shape, sizes)):
        refuse(f"{layer.kind} needs last axes that fit its {name} of shape {[*shape]}", x)


def of_position(layer: Any, p: StepScope, numbers: Any, x: Any) -> Any:
    """What of an array stands beside the one position of x (B, 1, ...); of a number, or of None, that."""
    if numbers is None or isinstance(numbers, float) or len(numbers.shape) < len(x.shape) - 1:
        return numbers
    if 1 < numbers.shape[0] < p.context:
        refuse(f"{layer.kind} has numbers for {numbers.shape[0]} positions, not for {p.context}", x)
    return gather(numbers, p.position) if numbers.shape[0] > 1 else numbers


@layer("scale", main="factor", transparent=True, positionwise=True)
class Scale:
    """factor x + offset, with given numbers: one for all, one for each channel, or an array.   x (B, ..., C)

    An array stands beside the last axes of x, as NumPy broadcasts them; a large one is rather weights, of
    `affine`.  As data are prepared: [0, 255] becomes [-1, 1] by a factor of 1 / 127.5 and an offset of -1.

    Example:
        inputs: {image: [2, 2, 3]}
        layers: [scale: {factor: 2, offset: [[[-1, 0, 0.5]], [[0, 1, 0]]]}]
    """

    factor: Array = field(default=1.0, doc="what x is multiplied by: a number, one per channel, or an array")
    offset: Array = field(default=0.0, doc="what is added: a number, one per channel, or an array")

    def forward(self, p: Scope, x: Any) -> Any:
        return self._of(x, *self._operands(x))

    def step(self, p: StepScope, x: Any) -> Any:
        """Of one position, with the numbers of that."""
        return self._of(x, *(of_position(self, p, n, x) for n in self._operands(x)))

    def _of(self, x: Any, factor: Any, offset: Any) -> Any:
        if self.offset == 0:
            return x * factor
        return x + offset if self.factor == 1 else scaled(x, factor, offset)

    def _operands(self, x: Any) -> list[Any]:
        """The factor and the offset: numbers, or arrays of the type of x."""
        floating(self, x)
        return [self._operand(x, name) for name in ("factor", "offset")]

    def _operand(self, x: Any, name: str) -> Any:
        given = getattr(self, name)
        if isinstance(given, float):
            return given
        check_beside(self, name, lengths(given), x)
        return cast(np.array(given, vector_type(dtype(x.dtype)).storage), x.dtype)


@layer("affine", main="shape", transparent=True, positionwise=True)
class Affine:
    """gamma x + beta, with learned numbers of a shape.   x (B, ...), gamma and beta (*shape)

    The shape stands beside the last axes of x, as NumPy broadcasts them: beside x (B, T, C) ``[T, C]`` has
    numbers for each channel of each position, ``[T, 1]`` for each position.

    Example:
        inputs: {sequence: [3, 4]}
        layers: [affine: [3, 1]]
    """

    shape: Shape = field(doc="the shape of gamma and of beta", minimum=1)
    scale: bool = field(default=True, doc="multiplies by gamma, which is learnt")
    center: bool = field(default=True, doc="adds beta, which is learnt")

    def check(self) -> Iterator[Fault]:
        """Something is learnt."""
        if not self.scale and not self.center:
            yield Fault(("center",), "neither scale nor center is true", "expected one of them")

    def parameters(self, x: TensorType) -> Iterator[Parameter]:
        floating(self, x)
        check_beside(self, "numbers", self.shape, x)
        if self.scale:
            yield Parameter("scale", self.shape, ones)
        if self.center:
            yield Parameter("shift", self.shape, zeros)

    def forward(self, p: Scope, x: Any) -> Any:
        return self._of(x, p.get("scale"), p.get("shift"))

    def step(self, p: StepScope, x: Any) -> Any:
        """Of one position, with the numbers of that."""
        return self._of(x, *(of_position(self, p, p.get(name), x) for name in ("scale", "shift")))

    def _of(self, x: Any, scale: Any | None, shift: Any | None) -> Any:
        if shift is None:
            return x * scale
        return x + shift if scale is None else scaled(x, scale, shift)


@layer("layer_scale", transparent=True, positionwise=True)
class LayerScale:
    """gamma x, with a learned factor for each channel that is small at first.   x (B, ..., C), gamma (C,)

    Behind the layers of a residual block: Touvron et al., 2021.

    Example:
        inputs: {features: [3, 4]}
        layers: [layer_scale]
    """

    initializer: Initializer = field(default=Constant(value=1e-6), doc="initial gamma")

    def parameters(self, x: TensorType) -> Iterator[Parameter]:
        if x.rank < 2:
            refuse("layer_scale needs at least one axis", x)
        yield Parameter("scale", x.shape[-1:], self.initializer)

    def forward(self, p: Scope, x: Any) -> Any:
        return x * p.scale


@layer("clip", positionwise=True)
class Clip:
    """min(max(x, minimum), maximum), or with one of the two.   x (B, ...) -> (B, ...)

    As numpy.clip.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, clip: {minimum: -0.5, maximum: 20}]
    """

    minimum: float | None = field(default=None, doc="the smallest value, if there is one")
    maximum: float | None = field(default=None, doc="the largest value, if there is one")

    def check(self) -> Iterator[Fault]:
        """A bound at least, and room between two."""
        low, high = self.minimum, self.maximum
        if low is None and high is None:
            yield Fault((), "neither a minimum nor a maximum", "expected one of them")
        if low is not None and high is not None and low > high:
            yield Fault(("minimum",), f"{low:g} is above the maximum", f"expected {high:g} or less")

    def forward(self, p: Scope, x: Any) -> Any:
        floating(self, x)
        low = -math.inf if self.minimum is None else self.minimum
        high = math.inf if self.maximum is None else self.maximum
        return clipped(x, low=low, high=high)


@layer("cast", positionwise=True)
class Cast:
    """The same as floating numbers; of truths 1 and 0.   x (B, ...) -> (B, ...) of float32

    As numpy.astype.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, cast]
    """

    def forward(self, p: Scope, x: Any) -> Any:
        return x if x.dtype.kind == "float" else cast(x, "float32")


@layer("power", main="exponent", positionwise=True)
class Power:
    """x to the power of a given number, for each element.   x (B, ...) -> (B, ...)

    As numpy.power: where the exponent is no whole number, x must not be negative.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, power: 2]
    """

    exponent: float = field(doc="the number")

    def forward(self, p: Scope, x: Any) -> Any:
        floating(self, x)
        whole = self.exponent.is_integer() and abs(self.exponent) < 2**31
        return x ** (int(self.exponent) if whole else self.exponent)


FUNCTIONS = {f.__name__: f for f in (cos, erf, expm1, log, log1p, sin)}


@layer("elementwise", main="function", positionwise=True)
class Elementwise:
    """A function of each element that is no activation.   x (B, ...) -> (B, ...)

    As the function of this name in NumPy; erf(x) is 2 / sqrt(pi) times the integral of exp(-t^2) up to x.

    Example:
        inputs: {x: [4]}
        layers: [softplus, elementwise: log1p]
    """

    function: Literal["cos", "erf", "expm1", "log", "log1p", "sin"] = field(doc="its name")

    def forward(self, p: Scope, x: Any) -> Any:
        floating(self, x)
        return FUNCTIONS[self.function](x)


@base
class Reduction:
    """The base of what is made of all elements along some axes."""

    kind: ClassVar[str]

    axes: Shape = field(doc="the axes, with the batch as 0", minimum=1)
    keepdims: bool = field(default=False, doc="leaves an axis of size 1 in the place of each")

    def check(self) -> Iterator[Fault]:
        """Each axis once, and one at least."""
        if not self.axes or len({*self.axes}) < len(self.axes):
            yield Fault(("axes",), f"{list(self.axes)}", "expected axes, each of them once")

    def forward(self, p: Scope, x: Any) -> Any:
        floating(self, x)
        if max(self.axes) >= len(x.shape):
            refuse(f"{self.kind} has no axis {max(self.axes)} to go along (0 is the batch)", x)
        return getattr(reduce, self.kind)(x, self.axes, keepdims=self.keepdims)

    def step(self, p: Scope, x: Any) -> Any:
        """Of one position, where no axis is that of the positions."""
        return self.forward(p, each_position(self, x, min(self.axes)))


@layer("mean", main="axes")
class Mean(Reduction):
    """The mean of all elements along some axes.   x (B, ...) -> (B, ...) without them.  As numpy.mean.

    Example:
        inputs: {image: [2, 3, 4]}
        layers: [mean: [1, 2]]
    """


@layer("sum", main="axes")
class Sum(Reduction):
    """The sum of all elements along some axes.   x (B, ...) -> (B, ...) without them.  As numpy.sum.

    Example:
        inputs: {sequence: [3, 4]}
        layers: [sum: 1]
    """
