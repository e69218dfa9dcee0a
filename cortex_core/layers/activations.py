"""Activations: pointwise functions (and the two softmaxes), as layers or in an ``activation`` field.

Each formula is one kernel, and so is its gradient.  Where a branch may overflow, its argument is clamped
first with `select`: a gradient that is not taken is then a finite number times 0, not infinity times 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from cortex_core.layers.expect import each_position
from cortex_core.layers.scope import Scope
from cortex_core.ops import pointwise as ops
from cortex_core.ops.pointwise import pointwise, select, steep_sigmoid
from cortex_core.ops.softmax import log_softmax, softmax
from cortex_core.registry import Fault, field, layer


def activate(activation: Any | None, x: Any) -> Any:
    """What a layer's ``activation`` field makes of x; None leaves it."""
    return x if activation is None else activation.forward(None, x)


@pointwise
def relu6(x: Any) -> Any:
    """min(max(x, 0), 6)"""
    return ops.minimum(ops.relu(x), 6.0)


@pointwise
def leaky_relu(x: Any, slope: float) -> Any:
    """x where x > 0, slope x elsewhere"""
    return select(x > 0, x, slope * x)


@pointwise
def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where x > 0, alpha (exp(x) - 1) elsewhere"""
    return select(x > 0, x, alpha * ops.expm1(select(x > 0, 0.0, x)))


@pointwise
def selu(x: Any) -> Any:
    """elu, scaled so that mean 0 and variance 1 are a fixed point from layer to layer"""
    return 1.0507009873554805 * elu(x, alpha=1.6732632423543772)


@pointwise
def gelu(x: Any) -> Any:
    """x Phi(x) = x (1 + erf(x / sqrt(2))) / 2"""
    return 0.5 * x * (1.0 + ops.erf(math.sqrt(0.5) * x))


@pointwise
def gelu_tanh(x: Any) -> Any:
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2"""
    return 0.5 * x * (1.0 + ops.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))


@pointwise
def silu(x: Any) -> Any:
    """x sigmoid(x)"""
    return x * ops.sigmoid(x)


@pointwise
def softplus(x: Any) -> Any:
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))"""
    return select(x > 0, x, 0.0) + ops.log1p(ops.exp(select(x > 0, -x, x)))


@pointwise
def softsign(x: Any) -> Any:
    """x / (1 + |x|)"""
    return x / (1.0 + abs(x))


@pointwise
def hard_sigmoid(x: Any) -> Any:
    """min(max(x / 6 + 1 / 2, 0), 1)"""
    return ops.minimum(ops.relu(x + 3.0), 6.0) / 6.0


@pointwise
def hard_swish(x: Any) -> Any:
    """x hard_sigmoid(x)"""
    return x * hard_sigmoid(x)


@pointwise
def mish(x: Any) -> Any:
    """x tanh(log(1 + exp(x)))"""
    return x * ops.tanh(softplus(x))


@pointwise
def clipped_relu(x: Any, maximum: float, slope: float, threshold: float) -> Any:
    """min(x, maximum) where x > threshold, slope (x - threshold) elsewhere"""
    zero = ops.minimum(ops.relu(x), 0.0)  # not 0 times x, which is no number where x is infinite
    return select(x > threshold, ops.minimum(x, maximum), slope * (x - threshold) if slope else zero)


@pointwise
def celu(x: Any, alpha: float) -> Any:
    """x where x > 0, alpha (exp(x / alpha) - 1) elsewhere"""
    return select(x > 0, x, alpha * ops.expm1(select(x > 0, 0.0, x) / alpha))


@pointwise
def hard_tanh(x: Any, low: float = -1.0, high: float = 1.0) -> Any:
    """min(max(x, low), high), without a gradient at the bounds"""
    return select(x <= low, low, select(x >= high, high, x))


@pointwise
def log_sigmoid(x: Any) -> Any:
    """log(sigmoid(x)) = -log(1 + exp(-x)), which does not overflow"""
    return -softplus(-x)


@pointwise
def tanh_shrink(x: Any) -> Any:
    """x - tanh(x)"""
    return x - ops.tanh(x)


@pointwise
def soft_shrink(x: Any, threshold: float) -> Any:
    """x nearer to 0 by the threshold, and 0 where it would pass it"""
    return select(x > threshold, x - threshold, select(x < -threshold, x + threshold, 0.0 * x))


@pointwise
def hard_shrink(x: Any, threshold: float) -> Any:
    """x where |x| > threshold, 0 elsewhere"""
    return select(abs(x) > threshold, x, 0.0 * x)


@pointwise
def squareplus(x: Any, b: float) -> Any:
    """(x + r) / 2 with r = sqrt(x^2 + b); below 0 b / 2 / (r - x), which loses no digits"""
    root = ops.sqrt(x * x + b)
    return select(x > 0, 0.5 * (x + root), 0.5 * b / (root - select(x > 0, 0.0, x)))


@pointwise
def sparse_plus(x: Any) -> Any:
    """0 where x <= -1, x where x >= 1, (x + 1)^2 / 4 between"""
    inner = hard_tanh(x) + 1.0
    return select(x >= 1, x, 0.25 * inner * inner)


@layer("linear", activation=True, transparent=True)
class Linear:
    """x.  The identity.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, linear]
    """

    def forward(self, p: Scope | None, x: Any) -> Any:
        return x


@layer("relu", activation=True, suits="he_normal")
class Relu:
    """max(x, 0).  Fukushima, 1969; Nair and Hinton, 2010.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, relu]
    """

    def forward(self, p: Scope | None, x: Any) -> Any:
        return ops.relu(x)


@layer("relu6", activation=True, suits="he_normal")
class Relu6:
    """min(max(x, 0), 6).  Krizhevsky, 2010.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, relu6]
    """

    def forward(self, p: Scope | None, x: Any) -> Any:
        return relu6(x)


@layer("leaky_relu", main="slope", activation=True, suits="he_normal")
class LeakyRelu:
    """x where x > 0, slope x elsewhere.  Maas et al., 2013.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, leaky_relu: 0.1]
    """

    slope: float = field(default=0.01, doc="slope below 0")

    def forward(self, p: Scope | None, x: Any) -> Any:
        return leaky_relu(x, slope=self.slope)


@layer("elu", main="alpha", activation=True, suits="he_normal")
class Elu:
    """x where x > 0, alpha (exp(x) - 1) elsewhere.  Clevert et al., 2016.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, elu]
    """

    alpha: float = field(default=1.0, doc="minus the limit at -infinity", minimum=0)

    def forward(self, p: Scope | None, x: Any) -> Any:
        return elu(x, alpha=self.alpha)


@layer("selu", activation=True, suits="lecun_normal")
class Selu:
    """1.0507 elu(x) with alpha 1.67326.  Klambauer et al., 2017.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, selu]
    """

    def forward(self, p: Scope | None, x: Any) -> Any:
        return selu(x)


@layer("gelu", activation=True, suits="he_normal")
class Gelu:
    """x Phi(x), Phi the normal distribution function.  Hendrycks and Gimpel, 2016.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, gelu]
    """

    def forward(self, p: Scope | None, x: Any) -> Any:
        return gelu(x)


@layer("gelu_tanh", activation=True, suits="he_normal")
class GeluTanh:
    """gelu by 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x³))).  Hendrycks and Gimpel, 2016.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, gelu_tanh]
    """

    def forward(self, p: Scope | None, x: Any) -> Any:
        return gelu_tanh(x)


@layer("silu", activation=True, suits="he_normal")
class Silu:
    """x sigmoid(x), also called swish.  Elfwing et al., 2018; Ramachandran et al., 2017.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, silu]
    """

    def forward(self, p: Scope | None, x: Any) -> Any:
        return silu(x)


@layer("sigmoid", activation=True)
class Sigmoid:
    """1 / (1 + exp(-x)).  Verhulst, 1845; Rumelhart et al., 1986.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, sigmoid]
    """

    def forward(self, p: Scope | None, x: Any) -> Any:
        return ops.sigmoid(x)


@layer("tanh", activation=True)
class Tanh:
    """tanh(x).  LeCun et al., 1998.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, tanh]
    """

    def forward(self, p: Scope | None, x: Any) -> Any:
        return ops.tanh(x)


@layer("softplus", activation=True)
class Softplus:
    """log(1 + exp(x)).  Dugas et al., 2001.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, softplus]
    """

    def forward(self, p: Scope | None, x: Any) -> Any:
        return softplus(x)


@layer("softsign", activation=True)
class Softsign:
    """x / (1 + |x|).  Bergstra et al., 2009.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, softsign]
    """

    def forward(self, p: Scope | None, x: Any) -> Any:
        return softsign(x)


@layer("softmax", main="axis", activation=True)
class Softmax:
    """exp(x) / sum exp(x) along one axis.  Bridle, 1990.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, softmax]
    """

    axis: int = field(default=-1, doc="the axis along which the result sums to 1")

    def forward(self, p: Scope | None, x: Any) -> Any:
        return softmax(x, self.axis)

    def step(self, p: Scope, x: Any) -> Any:
        """Of one position, where the axis is not that of the positions."""
        return self.forward(p, each_position(self, x, self.axis))


@layer("log_softmax", main="axis", activation=True)
class LogSoftmax:
    """x - log sum exp(x) along one axis.  Bridle, 1990.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, log_softmax]
    """

    axis: int = field(default=-1, doc="the axis along which exp of the result sums to 1")

    def forward(self, p: Scope | None, x: Any) -> Any:
        return log_softmax(x, self.axis)

    def step(self, p: Scope, x: Any) -> Any:
        """Of one position, where the axis is not that of the positions."""
        return self.forward(p, each_position(self, x, self.axis))


@layer("hard_sigmoid", main="slope", activation=True)
class HardSigmoid:
    """min(max(slope x + 1 / 2, 0), 1).  Courbariaux et al., 2015, with the slope of Howard et al., 2019.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, hard_sigmoid]
    """

    slope: float = field(default=1 / 6, doc="slope around 0", above=0)

    def forward(self, p: Scope | None, x: Any) -> Any:
        return hard_sigmoid(x) if self.slope == 1 / 6 else steep_sigmoid(x, slope=self.slope)


@layer("hard_swish", activation=True, suits="he_normal")
class HardSwish:
    """x hard_sigmoid(x).  Howard et al., 2019.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, hard_swish]
    """

    def forward(self, p: Scope | None, x: Any) -> Any:
        return hard_swish(x)


@layer("mish", activation=True, suits="he_normal")
class Mish:
    """x tanh(softplus(x)).  Misra, 2019.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, mish]
    """

    def forward(self, p: Scope | None, x: Any) -> Any:
        return mish(x)


@layer("exponential", activation=True)
class Exponential:
    """exp(x).  The mean of a Poisson regression: Nelder and Wedderburn, 1972.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, exponential]
    """

    def forward(self, p: Scope | None, x: Any) -> Any:
        return ops.exp(x)


@layer("clipped_relu", main="maximum", activation=True, suits="he_normal")
class ClippedRelu:
    """min(x, maximum) where x > threshold, slope (x - threshold) elsewhere.

    Hannun et al., 2014; with a threshold Konda et al., 2015.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, clipped_relu: {maximum: 20, slope: 0.1}]
    """

    maximum: float | None = field(default=None, doc="the largest value, if there is one", minimum=0)
    slope: float = field(default=0.0, doc="slope below the threshold")
    threshold: float = field(default=0.0, doc="from where on x stays as it is", minimum=0)

    def check(self) -> Iterator[Fault]:
        """What is below the threshold cannot be clipped."""
        if self.maximum is not None and self.maximum < self.threshold:
            found = f"{self.maximum:g} is below the threshold"
            yield Fault(("maximum",), found, f"expected {self.threshold:g} or more")

    def forward(self, p: Scope | None, x: Any) -> Any:
        maximum = math.inf if self.maximum is None else self.maximum
        return clipped_relu(x, maximum=maximum, slope=self.slope, threshold=self.threshold)


@layer("celu", main="alpha", activation=True, suits="he_normal")
class Celu:
    """x where x > 0, alpha (exp(x / alpha) - 1) elsewhere, smooth for every alpha.  Barron, 2017.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, celu: 0.5]
    """

    alpha: float = field(default=1.0, doc="minus the limit at -infinity", above=0)

    def forward(self, p: Scope | None, x: Any) -> Any:
        return celu(x, alpha=self.alpha)


@layer("hard_tanh", activation=True)
class HardTanh:
    """min(max(x, -1), 1).  Collobert, 2004.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, hard_tanh]
    """

    def forward(self, p: Scope | None, x: Any) -> Any:
        return hard_tanh(x)


@layer("log_sigmoid", activation=True)
class LogSigmoid:
    """log(sigmoid(x)) = -log(1 + exp(-x)): the logarithm of a chance.  Verhulst, 1845.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, log_sigmoid]
    """

    def forward(self, p: Scope | None, x: Any) -> Any:
        return log_sigmoid(x)


@layer("tanh_shrink", activation=True)
class TanhShrink:
    """x - tanh(x), which is flat around 0.  As PyTorch's Tanhshrink.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, tanh_shrink]
    """

    def forward(self, p: Scope | None, x: Any) -> Any:
        return tanh_shrink(x)


@layer("soft_shrink", main="threshold", activation=True)
class SoftShrink:
    """x nearer to 0 by a threshold, 0 where it would pass that.  Donoho, 1995.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, soft_shrink: 0.1]
    """

    threshold: float = field(default=0.5, doc="how much nearer", minimum=0)

    def forward(self, p: Scope | None, x: Any) -> Any:
        return soft_shrink(x, threshold=self.threshold)


@layer("hard_shrink", main="threshold", activation=True)
class HardShrink:
    """x where |x| > threshold, 0 elsewhere.  Donoho and Johnstone, 1994.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, hard_shrink: 0.1]
    """

    threshold: float = field(default=0.5, doc="the largest |x| that becomes 0", minimum=0)

    def forward(self, p: Scope | None, x: Any) -> Any:
        return hard_shrink(x, threshold=self.threshold)


@layer("squareplus", main="b", activation=True, suits="he_normal")
class Squareplus:
    """(x + sqrt(x^2 + b)) / 2, near softplus for b = 4.  Barron, 2021.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, squareplus]
    """

    b: float = field(default=4.0, doc="how smooth it is around 0", above=0)

    def forward(self, p: Scope | None, x: Any) -> Any:
        return squareplus(x, b=self.b)


@layer("sparse_plus", activation=True, suits="he_normal")
class SparsePlus:
    """0 where x <= -1, x where x >= 1, (x + 1)^2 / 4 between.  Martins and Astudillo, 2016.

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, sparse_plus]
    """

    def forward(self, p: Scope | None, x: Any) -> Any:
        return sparse_plus(x)
