"""One layer of a recurrence, in one direction, with PyTorch's weights.

The matrices are (G H, in), the gates one below the other; the input has a bias, and so has the state.  Ops
want (in, G H) and the sum of both; only the state's bias of a GRU's candidate, which the reset gate
multiplies, stays by itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from cortex_compute.primitives.normalization import vector_type
from cortex_compute.types import TensorType
from cortex_core.ops import recurrence
from cortex_core.ops.indexing import concatenate
from cortex_core.ops.pointwise import cast
from cortex_core.ops.views import narrow, transpose


class Weights(NamedTuple):
    """Those of one direction of one layer, in PyTorch's order."""

    weight_ih: Any
    weight_hh: Any
    bias_ih: Any = None
    bias_hh: Any = None
    weight_hr: Any = None


def rnn(
    x: Any, weights: Weights, states: tuple[Any, ...], mask: Any, reverse: bool, nonlinearity: Any
) -> tuple[Any, ...]:
    """h' = nonlinearity(W_ih x + b_ih + W_hh h + b_hh).   x (B, T, I), h (B, H) -> y (B, T, H), h"""
    bias = _wide(_bias(weights, x), x)
    (w, u), (h,) = _matrices(weights), states
    return recurrence.rnn(x, w, u, bias, h, mask, nonlinearity, reverse)


def lstm(x: Any, weights: Weights, states: tuple[Any, ...], mask: Any, reverse: bool) -> tuple[Any, ...]:
    """c' = f c + i g,  h' = W_hr (o tanh(c')).   x (B, T, I), h (B, R), c (B, H) -> y (B, T, R), h, c"""
    (w, u), (h, c) = _matrices(weights), states
    project = None if weights.weight_hr is None else transpose(weights.weight_hr)
    bias, cell = _wide(_bias(weights, x), x), _wide(c, x)
    y, h, cell = recurrence.lstm(x, w, u, bias, h, cell, project, mask, reverse)
    return y, h, cast(cell, x.dtype)


def gru(x: Any, weights: Weights, states: tuple[Any, ...], mask: Any, reverse: bool) -> tuple[Any, ...]:
    """h' = (1 - z) tanh(W_in x + b_in + r (W_hn h + b_hn)) + z h

    x (B, T, I), h (B, H) -> y (B, T, H), h
    """
    units = weights.weight_hh.shape[1]
    if weights.bias_ih is None:
        bias, inner = _zeros(3 * units, x), _zeros(units, x)
    else:
        gates = narrow(weights.bias_ih, 0, 0, 2 * units) + narrow(weights.bias_hh, 0, 0, 2 * units)
        bias = concatenate([gates, narrow(weights.bias_ih, 0, 2 * units, units)])
        inner = narrow(weights.bias_hh, 0, 2 * units, units)
    (w, u), (h,) = _matrices(weights), states
    return recurrence.gru(x, w, u, _wide(bias, x), h, _wide(inner, x), mask, reverse)


def _matrices(weights: Weights) -> tuple[Any, Any]:
    return transpose(weights.weight_ih), transpose(weights.weight_hh)


def _bias(weights: Weights, x: Any) -> Any:
    if weights.bias_ih is None:
        return _zeros(weights.weight_ih.shape[0], x)
    return weights.bias_ih + weights.bias_hh


def _zeros(size: int, x: Any) -> Any:
    return recurrence.zeros(TensorType((size,), vector_type(x.dtype)), x)


def _wide(vector: Any, x: Any) -> Any:
    """float32 beside an x of 16 bits, as the ops have biases and cells."""
    return cast(vector, vector_type(x.dtype))
