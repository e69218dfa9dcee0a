"""Activations, under PyTorch's names.  The formulas are those of the descriptions."""

from __future__ import annotations

from typing import Any

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_compute.types import normalize_axis
from cortex_core.layers import activations as formulas
from cortex_core.layers.activations import hard_sigmoid as hardsigmoid
from cortex_core.layers.activations import hard_swish as hardswish
from cortex_core.layers.activations import log_sigmoid as logsigmoid
from cortex_core.layers.activations import mish, relu6, selu, silu, softsign
from cortex_core.layers.prelu import prelu as rectified
from cortex_core.ops import softmax as softmaxes
from cortex_core.ops.indexing import split
from cortex_core.ops.pointwise import pointwise, relu, select, sigmoid, tanh
from cortex_core.ops.views import reshape

__all__ = [
    "celu", "elu", "gelu", "glu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_softmax",
    "logsigmoid", "mish", "prelu", "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softplus",
    "softsign", "tanh", "threshold",
]  # fmt: skip


def leaky_relu(input: Any, negative_slope: float = 0.01) -> Any:
    """x where x > 0, negative_slope x elsewhere."""
    return formulas.leaky_relu(input, slope=float(negative_slope))


def elu(input: Any, alpha: float = 1.0) -> Any:
    """x where x > 0, alpha (exp(x) - 1) elsewhere."""
    return formulas.elu(input, alpha=float(alpha))


def celu(input: Any, alpha: float = 1.0) -> Any:
    """x where x > 0, alpha (exp(x / alpha) - 1) elsewhere."""
    if alpha == 0:
        raise ArgumentError("celu: alpha=0; needs another number, for x is divided by it")
    return formulas.celu(input, alpha=float(alpha))


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """min(max(x, min_val), max_val).   No gradient at the bounds"""
    if not min_val < max_val:
        raise ArgumentError(f"hardtanh: min_val={min_val} is not below max_val={max_val}")
    return formulas.hard_tanh(input, low=float(min_val), high=float(max_val))


@pointwise
def _threshold(x: Any, bound: float, value: float) -> Any:
    return select(x <= bound, value, x)


def threshold(input: Any, threshold: float, value: float) -> Any:
    """x where x > threshold, ``value`` elsewhere."""
    return _threshold(input, bound=float(threshold), value=float(value))


def glu(input: Any, dim: int = -1) -> Any:
    """a sigmoid(b), a and b the halves of x along ``dim``."""
    size = input.shape[normalize_axis(dim, len(input.shape), "glu")]
    if size % 2:
        raise ShapeError(f"glu: axis {dim} of shape {input.shape} has no two halves")
    a, b = split(input, [size // 2, size // 2], dim)
    return a * sigmoid(b)


def gelu(input: Any, approximate: str = "none") -> Any:
    """x Phi(x), Phi the normal distribution function; ``approximate="tanh"`` puts a tanh in its place."""
    if approximate not in ("none", "tanh"):
        raise ArgumentError(f"gelu: approximate={approximate!r}; choose 'none' or 'tanh'")
    return formulas.gelu_tanh(input) if approximate == "tanh" else formulas.gelu(input)


def softplus(input: Any, beta: float = 1.0) -> Any:
    """log(1 + exp(beta x)) / beta.  It needs no threshold: nothing overflows."""
    return formulas.softplus(input) if beta == 1 else formulas.softplus(input * float(beta)) / float(beta)


def softmax(input: Any, dim: int = -1) -> Any:
    """exp(x) / sum(exp(x)) along ``dim``."""
    return softmaxes.softmax(input, dim)


def log_softmax(input: Any, dim: int = -1) -> Any:
    """x - log(sum(exp(x))) along ``dim``."""
    return softmaxes.log_softmax(input, dim)


def prelu(input: Any, weight: Any) -> Any:
    """x where x > 0, weight x elsewhere.   input (N, C, ...), weight (1,) or (C,)"""
    if weight.shape != (1,):
        channels = input.shape[1] if len(input.shape) > 1 else 1
        if weight.shape != (channels,):
            raise ShapeError(
                f"prelu: weight has shape {weight.shape}; input {input.shape} needs (1,) or ({channels},)"
            )
        weight = reshape(weight, (channels, *(1,) * (len(input.shape) - 2)))
    return rectified(input, weight)
