"""Activations as modules."""

from __future__ import annotations

from typing import Any

from cortex_core.nn import functional as F
from cortex_core.nn import init
from cortex_core.nn.linear import empty
from cortex_core.nn.module import Module
from cortex_core.ops.pointwise import exp


class _InPlace(Module):
    """The base of activations that PyTorch can compute in place.

    With ``inplace`` the result is the same; here the input keeps its numbers, so use what the call gives.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def _options(self) -> str:
        return ""

    def extra_repr(self) -> str:
        return ", ".join(part for part in (self._options(), "inplace=True" if self.inplace else "") if part)


class ReLU(_InPlace):
    """max(x, 0)"""

    def forward(self, input: Any) -> Any:
        return F.relu(input)


class ReLU6(_InPlace):
    """min(max(x, 0), 6)"""

    def forward(self, input: Any) -> Any:
        return F.relu6(input)


class LeakyReLU(_InPlace):
    """x where x > 0, negative_slope x elsewhere"""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.negative_slope = negative_slope

    def forward(self, input: Any) -> Any:
        return F.leaky_relu(input, self.negative_slope)

    def _options(self) -> str:
        return f"negative_slope={self.negative_slope}"


class PReLU(Module):
    """x where x > 0, weight x elsewhere; one weight for all channels or for each.   x (N, C, ...)

    He et al., 2015.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, dtype: object = None) -> None:
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = empty(num_parameters, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Every weight is ``init`` again."""
        init.constant_(self.weight, self.init)

    def forward(self, input: Any) -> Any:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class ELU(_InPlace):
    """x where x > 0, alpha (exp(x) - 1) elsewhere.  Clevert et al., 2016"""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, input: Any) -> Any:
        return F.elu(input, self.alpha)

    def _options(self) -> str:
        return f"alpha={self.alpha}"


class CELU(_InPlace):
    """x where x > 0, alpha (exp(x / alpha) - 1) elsewhere, smooth for every alpha.  Barron, 2017"""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, input: Any) -> Any:
        return F.celu(input, self.alpha)

    def _options(self) -> str:
        return f"alpha={self.alpha}"


class Hardtanh(_InPlace):
    """min(max(x, min_val), max_val)"""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.min_val, self.max_val = min_val, max_val

    def forward(self, input: Any) -> Any:
        return F.hardtanh(input, self.min_val, self.max_val)

    def _options(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}"


class Threshold(_InPlace):
    """x where x > threshold, ``value`` elsewhere"""

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.threshold, self.value = threshold, value

    def forward(self, input: Any) -> Any:
        return F.threshold(input, self.threshold, self.value)

    def _options(self) -> str:
        return f"threshold={self.threshold}, value={self.value}"


class SELU(_InPlace):
    """1.0507 elu(x) with alpha 1.67326.  Klambauer et al., 2017"""

    def forward(self, input: Any) -> Any:
        return F.selu(input)


class GELU(Module):
    """x Phi(x), Phi the normal distribution function, or its approximation by tanh.

    Hendrycks and Gimpel, 2016.
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Any) -> Any:
        return F.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(_InPlace):
    """x sigmoid(x), also called swish"""

    def forward(self, input: Any) -> Any:
        return F.silu(input)


class Mish(_InPlace):
    """x tanh(softplus(x)).  Misra, 2019"""

    def forward(self, input: Any) -> Any:
        return F.mish(input)


class Sigmoid(Module):
    """1 / (1 + exp(-x))"""

    def forward(self, input: Any) -> Any:
        return F.sigmoid(input)


class LogSigmoid(Module):
    """log(1 / (1 + exp(-x)))"""

    def forward(self, input: Any) -> Any:
        return F.logsigmoid(input)


class GLU(Module):
    """a sigmoid(b), a and b the halves of x along ``dim``.  Dauphin et al., 2017"""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Tanh(Module):
    """tanh(x)"""

    def forward(self, input: Any) -> Any:
        return F.tanh(input)


class Softplus(Module):
    """log(1 + exp(beta x)) / beta"""

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, input: Any) -> Any:
        return F.softplus(input, self.beta)

    def extra_repr(self) -> str:
        return f"beta={self.beta}"


class Softsign(Module):
    """x / (1 + |x|)"""

    def forward(self, input: Any) -> Any:
        return F.softsign(input)


class Hardsigmoid(_InPlace):
    """min(max(x / 6 + 1 / 2, 0), 1)"""

    def forward(self, input: Any) -> Any:
        return F.hardsigmoid(input)


class Hardswish(_InPlace):
    """x hardsigmoid(x).  Howard et al., 2019"""

    def forward(self, input: Any) -> Any:
        return F.hardswish(input)


class Exponential(Module):
    """exp(x)"""

    def forward(self, input: Any) -> Any:
        return exp(input)


class Softmax(Module):
    """exp(x) / sum(exp(x)) along ``dim``"""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """x - log(sum(exp(x))) along ``dim``"""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return F.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
