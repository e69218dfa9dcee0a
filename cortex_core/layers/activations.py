"""Activations: pointwise functions (and the two softmaxes), as layers or in an ``activation`` field."""

from __future__ import annotations

from cortex_core.registry import field, layer


@layer("linear", activation=True, transparent=True)
class Linear:
    """x."""


@layer("relu", activation=True, suits="he_normal")
class Relu:
    """max(x, 0)."""


@layer("relu6", activation=True, suits="he_normal")
class Relu6:
    """min(max(x, 0), 6)."""


@layer("leaky_relu", main="slope", activation=True, suits="he_normal")
class LeakyRelu:
    """x where x > 0, slope x elsewhere."""

    slope: float = field(default=0.01, doc="slope below 0")


@layer("elu", main="alpha", activation=True, suits="he_normal")
class Elu:
    """x where x > 0, alpha (exp(x) - 1) elsewhere.  Clevert et al., 2016."""

    alpha: float = field(default=1.0, doc="minus the limit at -infinity", minimum=0)


@layer("selu", activation=True, suits="lecun_normal")
class Selu:
    """1.0507 elu(x) with alpha 1.67326.  Klambauer et al., 2017."""


@layer("gelu", activation=True, suits="he_normal")
class Gelu:
    """x Phi(x), Phi the normal distribution function.  Hendrycks and Gimpel, 2016."""


@layer("gelu_tanh", activation=True, suits="he_normal")
class GeluTanh:
    """gelu by 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x³)))."""


@layer("silu", activation=True, suits="he_normal")
class Silu:
    """x sigmoid(x), also called swish."""


@layer("sigmoid", activation=True)
class Sigmoid:
    """1 / (1 + exp(-x))."""


@layer("tanh", activation=True)
class Tanh:
    """tanh(x)."""


@layer("softplus", activation=True)
class Softplus:
    """log(1 + exp(x))."""


@layer("softsign", activation=True)
class Softsign:
    """x / (1 + |x|)."""


@layer("softmax", main="axis", activation=True)
class Softmax:
    """exp(x) / sum exp(x) along one axis."""

    axis: int = field(default=-1, doc="the axis along which the result sums to 1")


@layer("log_softmax", main="axis", activation=True)
class LogSoftmax:
    """x - log sum exp(x) along one axis."""

    axis: int = field(default=-1, doc="the axis along which exp of the result sums to 1")


@layer("hard_sigmoid", activation=True)
class HardSigmoid:
    """min(max(x / 6 + 1 / 2, 0), 1)."""


@layer("hard_swish", activation=True, suits="he_normal")
class HardSwish:
    """x hard_sigmoid(x).  Howard et al., 2019."""


@layer("mish", activation=True, suits="he_normal")
class Mish:
    """x tanh(softplus(x)).  Misra, 2019."""


@layer("exponential", activation=True)
class Exponential:
    """exp(x)."""
