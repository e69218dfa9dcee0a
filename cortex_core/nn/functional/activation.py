"""Activations, under PyTorch's names.  The formulas are those of the descriptions."""

from __future__ import annotations

from typing import Any

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_core.layers import activations as formulas
from cortex_core.layers.activations import hard_sigmoid as hardsigmoid
from cortex_core.layers.activations import hard_swish as hardswish
from cortex_core.layers.activations import mish, relu6, selu, silu, softsign
from cortex_core.ops import softmax as softmaxes
from cortex_core.ops.pointwise import pointwise, relu, select, sigmoid, tanh
from cortex_core.ops.views import reshape

__all__ = [
    "elu", "gelu", "hardsigmoid", "hardswish", "leaky_relu", "log_softmax", "mish", "prelu", "relu", "relu6",
    "selu", "sigmoid", "silu", "softmax", "softplus", "softsign", "tanh",
]  # fmt: skip


def leaky_relu(input: Any, negative_slope: float = 0.01) -> Any:
    """x where x > 0, negative_slope x elsewhere."""
    return formulas.leaky_relu(input, slope=float(negative_slope))


def elu(input: Any, alpha: float = 1.0) -> Any:
    """x where x > 0, alpha (exp(x) - 1) elsewhere."""
    return formulas.elu(input, alpha=float(alpha))


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


@pointwise
def _leaky(x: Any, slope: Any) -> Any:
    return select(x > 0, x, slope * x)


def prelu(input: Any, weight: Any) -> Any:
    """x where x > 0, weight x elsewhere.   input (N, C, ...), weight (1,) or (C,)"""
    if weight.shape != (1,):
        channels = input.shape[1] if len(input.shape) > 1 else 1
        if weight.shape != (channels,):
            raise ShapeError(
                f"prelu: weight has shape {weight.shape}; input {input.shape} needs (1,) or ({channels},)"
            )
        weight = reshape(weight, (channels, *(1,) * (len(input.shape) - 2)))
    return _leaky(input, weight)
