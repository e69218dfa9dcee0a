"""Recurrent layers: stacks of them, in one direction or both.

A packed input (see `packing`) is unpacked for the kernels, which skip what lies beyond the end of a sequence.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_compute.types import TensorType
from cortex_core.nn import functional as F
from cortex_core.nn import init
from cortex_core.nn.functional import recurrence
from cortex_core.nn.functional.recurrence import Weights
from cortex_core.nn.linear import check_size, empty
from cortex_core.nn.module import Module
from cortex_core.nn.packing import PackedSequence, padded, repacked
from cortex_core.ops.indexing import concatenate, gather, stack
from cortex_core.ops.recurrence import zeros
from cortex_core.ops.views import squeeze, transpose, unsqueeze


class _Recurrent(Module):
    """What all share: the weights of each layer and direction, the states, the order of the axes.

    Weights are drawn uniformly between -1 / sqrt(hidden_size) and 1 / sqrt(hidden_size).
    """

    gates: ClassVar[int]
    states: ClassVar[tuple[str, ...]] = ("h_0",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        proj_size: int,
        dtype: object,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, dropout
        self.bidirectional, self.proj_size = bidirectional, proj_size
        self._check()
        width, rows = self.output_size * (1 + bidirectional), self.gates * hidden_size
        for layer in range(num_layers):
            for end in self._ends(layer):
                shapes: dict[str, tuple[int, ...]] = {
                    "weight_ih": (rows, width if layer else input_size),
                    "weight_hh": (rows, self.output_size),
                }
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)} if bias else {}
                shapes |= {"weight_hr": (proj_size, hidden_size)} if proj_size else {}
                for name, shape in shapes.items():
                    self.register_parameter(name + end, empty(*shape, dtype=dtype))
        self.reset_parameters()

    def _check(self) -> None:
        name = type(self).__name__
        for key in ("input_size", "hidden_size", "num_layers"):
            check_size(name, key, getattr(self, key))
        check_size(name, "proj_size", self.proj_size, least=0)
        if not isinstance(self.dropout, Real) or not 0 <= self.dropout <= 1:
            raise ArgumentError(f"{name}: dropout={self.dropout!r}; needs a probability, 0 to 1")
        if self.proj_size >= self.hidden_size:
            raise ArgumentError(
                f"{name}: proj_size={self.proj_size}; needs less than hidden_size={self.hidden_size}"
            )
        if self.dropout and self.num_layers == 1:
            warnings.warn(f"{name}: dropout acts between layers; of one layer it does nothing", stacklevel=4)

    @property
    def output_size(self) -> int:
        """The size of the hidden state, of one direction."""
        return self.proj_size or self.hidden_size

    @property
    def all_weights(self) -> list[list[Any]]:
        """The parameters of each direction of each layer."""
        return [
            [w for w in self._weights(end) if w is not None]
            for layer in range(self.num_layers)
            for end in self._ends(layer)
        ]

    def reset_parameters(self) -> None:
        """Draws the weights anew."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Does nothing: it is for kernels that want the weights in one piece."""

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        packed = input if isinstance(input, PackedSequence) else None
        x, mask = padded(packed) if packed is not None else (input, None)
        alone = packed is None and len(x.shape) == 2
        order = None if packed is None else packed.sorted_indices
        if packed is None:
            self._expect(x)
            x = unsqueeze(x, 0) if alone else x if self.batch_first else transpose(x, (1, 0, 2))
        y, finals = self._run(x, mask, self._first(hx, x, alone, order))
        if packed is not None:
            y = repacked(y, packed)
            if packed.unsorted_indices is not None:
                finals = [gather(s, packed.unsorted_indices, 1) for s in finals]
        elif alone:
            y, finals = squeeze(y, 0), [squeeze(s, 1) for s in finals]
        elif not self.batch_first:
            y = transpose(y, (1, 0, 2))
        return y, finals[0] if len(finals) == 1 else tuple(finals)

    def _run(self, x: Any, mask: Any, first: list[Any]) -> tuple[Any, list[Any]]:
        """All layers over x (B, T, I), from states (layers * directions, B, ...), and the states then."""
        finals: list[tuple[Any, ...]] = []
        for layer in range(self.num_layers):
            ways = []
            for end in self._ends(layer):
                states = tuple(s[len(finals)] for s in first)
                y, *last = self._walk(x, self._weights(end), states, mask, end.endswith("reverse"))
                ways.append(y)
                finals.append(tuple(last))
            x = ways[0] if len(ways) == 1 else concatenate(ways, -1)
            if layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        return x, [stack(states) for states in zip(*finals)]

    def _walk(
        self, x: Any, weights: Weights, states: tuple[Any, ...], mask: Any, reverse: bool
    ) -> tuple[Any, ...]:
        """One direction of one layer."""
        raise NotImplementedError

    def _first(self, hx: Any, x: Any, alone: bool, order: Any) -> list[Any]:
        """The first states, in the order of a packed batch; zeros unless given."""
        count, batch = self.num_layers * (1 + self.bidirectional), x.shape[0]
        sizes = (self.output_size, self.hidden_size)[: len(self.states)]
        if hx is None:
            return [zeros(TensorType((count, batch, size), x.dtype), x) for size in sizes]
        several = isinstance(hx, (tuple, list))
        if several != (len(self.states) > 1) or (several and len(hx) != len(self.states)):
            raise ArgumentError(
                f"{self!r}: hx is a {type(hx).__name__}; needs {' and '.join(self.states)}"
                + (" as a tuple" if len(self.states) > 1 else " itself")
            )
        states = list(hx) if several else [hx]
        for name, state, size in zip(self.states, states, sizes):
            needs = (count, size) if alone else (count, batch, size)
            if tuple(state.shape) != needs:
                raise ShapeError(f"{self!r}: {name} has shape {tuple(state.shape)}; needs {needs}")
        if alone:
            states = [unsqueeze(s, 1) for s in states]
        return states if order is None else [gather(s, order, 1) for s in states]

    def _expect(self, x: Any) -> None:
        axes = "(batch, time, features)" if self.batch_first else "(time, batch, features)"
        if len(x.shape) not in (2, 3) or x.shape[-1] != self.input_size:
            raise ShapeError(
                f"{self!r}: the input has shape {x.shape}; needs {axes}, or (time, features) of one "
                f"sequence, with {self.input_size} features"
            )
        steps = x.shape[1 if len(x.shape) == 3 and self.batch_first else 0]
        if steps == 0:
            raise ShapeError(f"{self!r}: the input has shape {x.shape}; a sequence has one step at least")

    def _ends(self, layer: int) -> Sequence[str]:
        """What the names of a layer's parameters end with, for each direction."""
        return [f"_l{layer}", f"_l{layer}_reverse"][: 1 + self.bidirectional]

    def _weights(self, end: str) -> Weights:
        return Weights(*(self._parameters.get(name + end) for name in Weights._fields))

    def extra_repr(self) -> str:
        defaults = {
            "proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0,
            "bidirectional": False,
        }  # fmt: skip
        told = [f"{k}={getattr(self, k)}" for k, v in defaults.items() if getattr(self, k) != v]
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *told])


class RNN(_Recurrent):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu, step by step, in ``num_layers`` layers.

    x (T, N, in), or (N, T, in) with ``batch_first``, or (T, in), or a PackedSequence; h_0 (layers *
    directions, N, H), zeros unless given -> y of x's form, with H * directions features, and h_n as h_0.
    ``dropout`` acts between the layers.  Parameters: weight_ih_l0 (H, in), weight_hh_l0 (H, H), bias_ih_l0,
    bias_hh_l0, weight_ih_l0_reverse, weight_ih_l1, ...   Elman, 1990
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: object = None,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, dtype
        )
        self.nonlinearity = check_nonlinearity("RNN", nonlinearity)

    def _walk(
        self, x: Any, weights: Weights, states: tuple[Any, ...], mask: Any, reverse: bool
    ) -> tuple[Any, ...]:
        return recurrence.rnn(x, weights, states, mask, reverse, self.nonlinearity)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else ", nonlinearity=relu")


class LSTM(_Recurrent):
    """c' = f c + i g,  h' = o tanh(c'), step by step, in ``num_layers`` layers.

    i, f, o = sigmoid(a), g = tanh(a) with a = W_ih x + b_ih + W_hh h + b_hh, the gates in the order i f g o.
    With ``proj_size`` R, h' = W_hr (o tanh(c')) has R features.
    hx: (h_0, c_0), (layers * directions, N, R or H) and (layers * directions, N, H) -> y, (h_n, c_n).
    See `RNN`.  Hochreiter and Schmidhuber, 1997
    """

    gates = 4
    states = ("h_0", "c_0")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        dtype: object = None,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, dtype
        )

    def _walk(
        self, x: Any, weights: Weights, states: tuple[Any, ...], mask: Any, reverse: bool
    ) -> tuple[Any, ...]:
        return recurrence.lstm(x, weights, states, mask, reverse)


class GRU(_Recurrent):
    """h' = (1 - z) n + z h, step by step, in ``num_layers`` layers.

    r, z = sigmoid(W x + b + U h + d),  n = tanh(W x + b + r (U h + d)), the gates in the order r z n.
    See `RNN`.  Cho et al., 2014
    """

    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: object = None,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, dtype
        )

    def _walk(
        self, x: Any, weights: Weights, states: tuple[Any, ...], mask: Any, reverse: bool
    ) -> tuple[Any, ...]:
        return recurrence.gru(x, weights, states, mask, reverse)


def check_nonlinearity(what: str, given: str) -> str:
    """``given``, if it is one that a plain recurrence has."""
    if given not in ("tanh", "relu"):
        raise ArgumentError(f"{what}: nonlinearity={given!r}; choose 'tanh' or 'relu'")
    return given
