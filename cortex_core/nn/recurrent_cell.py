"""One step of a recurrent layer."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_compute.types import TensorType
from cortex_core.nn import init
from cortex_core.nn.functional import recurrence
from cortex_core.nn.functional.recurrence import Weights
from cortex_core.nn.linear import check_size, empty
from cortex_core.nn.module import Module
from cortex_core.nn.recurrent import check_nonlinearity
from cortex_core.ops.recurrence import zeros
from cortex_core.ops.views import reshape


class _Cell(Module):
    """One step of one layer.   x (N, in) or (in,), states (N, H) or (H,), zeros unless given"""

    gates: ClassVar[int]
    states: ClassVar[tuple[str, ...]] = ("hx",)

    def __init__(self, input_size: int, hidden_size: int, bias: bool, dtype: object) -> None:
        super().__init__()
        for key, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            check_size(type(self).__name__, key, size)
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = self.gates * hidden_size
        self.weight_ih = empty(rows, input_size, dtype=dtype)
        self.weight_hh = empty(rows, hidden_size, dtype=dtype)
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, empty(rows, dtype=dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights anew."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def forward(self, input: Any, hx: Any = None) -> Any:
        if len(input.shape) not in (1, 2) or input.shape[-1] != self.input_size:
            raise ShapeError(
                f"{self!r}: the input has shape {input.shape}; needs (batch, {self.input_size}) or "
                f"({self.input_size},)"
            )
        needs = (*input.shape[:-1], self.hidden_size)
        states = [hx] if len(self.states) == 1 else hx
        if hx is None:
            states = [zeros(TensorType(needs, input.dtype), input) for _ in self.states]
        if not isinstance(states, (tuple, list)) or len(states) != len(self.states):
            raise ArgumentError(f"{self!r}: hx is a {type(hx).__name__}; needs {' and '.join(self.states)}")
        for name, state in zip(self.states, states):
            if tuple(state.shape) != needs:
                raise ShapeError(f"{self!r}: {name} has shape {tuple(state.shape)}; needs {needs}")
        size = math.prod(needs[:-1])
        weights = Weights(self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        rows = tuple(reshape(s, (size, self.hidden_size)) for s in states)
        _, *found = self._step(reshape(input, (size, 1, self.input_size)), weights, rows)
        finals = tuple(reshape(s, needs) for s in found)
        return finals if len(finals) > 1 else finals[0]

    def _step(self, x: Any, weights: Weights, states: tuple[Any, ...]) -> tuple[Any, ...]:
        """The layer over x (B, 1, in)."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(_Cell):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu.   x (N, in), h (N, H) -> h' (N, H)"""

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        dtype: object = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)
        self.nonlinearity = check_nonlinearity("RNNCell", nonlinearity)

    def _step(self, x: Any, weights: Weights, states: tuple[Any, ...]) -> tuple[Any, ...]:
        return recurrence.rnn(x, weights, states, None, False, self.nonlinearity)


class LSTMCell(_Cell):
    """One step of `LSTM`.   x (N, in), (h, c) each (N, H) -> (h', c')"""

    gates = 4
    states = ("h", "c")

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, dtype: object = None) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)

    def _step(self, x: Any, weights: Weights, states: tuple[Any, ...]) -> tuple[Any, ...]:
        return recurrence.lstm(x, weights, states, None, False)


class GRUCell(_Cell):
    """One step of `GRU`.   x (N, in), h (N, H) -> h' (N, H)"""

    gates = 3

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, dtype: object = None) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)

    def _step(self, x: Any, weights: Weights, states: tuple[Any, ...]) -> tuple[Any, ...]:
        return recurrence.gru(x, weights, states, None, False)
