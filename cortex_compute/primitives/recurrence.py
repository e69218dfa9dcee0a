"""Recurrent layers, one direction of one layer each, with their gradients: Rnn, Lstm and Gru.

All walk a batch of sequences x (B, T, I) step by step, from the first to the last, or with ``reverse`` from
the last to the first; y[:, t] always belongs to x[:, t].  ``h`` is the state after the last step walked.

Weights are matrices of all gates side by side: w (I, G H) of the input, u (R, G H) of the state, b (G H,).
R is H, but for an Lstm with a projection.  With ``masked`` there is a last operand, mask (B, T), bool: where
it is false a sequence has no step, so that its state stays as it is and y is 0.

Operands and results are of one floating type, but for biases, cell states and their gradients, which are
float32 beside an x of 16 bits (`vector_type`): sums over a whole sequence are lost in fewer bits.

What is new at a step goes through ``activation``: tanh, or relu.  Gates go through the sigmoid, or where
there is a ``slope`` through the hard sigmoid of that slope, min(max(slope a + 1/2, 0), 1), whose derivative
is 0 at its corners and beyond.

A gradient takes the forward's operands, y, the residual, and the gradients of y, h (and c); it gives those of
the operands before the mask, in their order.  None of them reads h or c.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from cortex_compute.errors import ArgumentError, DTypeError
from cortex_compute.frozen import frozen
from cortex_compute.primitives.base import OPAQUE, Primitive
from cortex_compute.primitives.normalization import vector_type
from cortex_compute.types import TensorType, bool_

ACTIVATIONS = ("tanh", "relu")
RECURRENT = ("x", "w", "u", "b", "h0")  # the operands that all have, before others and the mask


@frozen
class Recurrence(Primitive):
    """What all have in common."""

    reverse: bool = False
    masked: bool = False
    activation: Literal["tanh", "relu"] = "tanh"
    gates: ClassVar[int] = 1
    residual: ClassVar[bool] = True
    wide: ClassVar[tuple[str, ...]] = ("b", "c0", "n", "dc")
    rounds: ClassVar[bool] = True  # each state is, before the next step

    @property
    def weights(self) -> tuple[str, ...]:
        """The names of the operands before the mask: those that have a gradient."""
        return RECURRENT

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the forward's operands."""
        return (*self.weights, *(("mask",) if self.masked else ()))

    @property
    def given(self) -> tuple[str, ...]:
        return self.inputs

    @property
    def cells(self) -> bool:
        """Whether there is a cell state beside the hidden one."""
        return "c0" in self.weights

    def results(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, len(self.inputs))
        named = self._expect(types)
        x, h0 = named["x"], named["h0"]
        y = TensorType((*x.shape[:2], h0.shape[1]), x.dtype)
        return (y, h0, named["c0"], OPAQUE) if self.cells else (y, h0, OPAQUE)

    def flops(self, *types: TensorType) -> int:
        """Of the products; each gate counts ten more for each number."""
        batch, steps, size = types[0].shape
        rows, columns = types[2].shape
        project = 2 * types[6].size if self.weights[-1] == "p" else 0
        return batch * steps * (2 * (size + rows) * columns + project + 10 * columns)

    def turns(self, *types: TensorType) -> int:
        return types[0].shape[1]

    def _expect(self, types: tuple[TensorType, ...]) -> dict[str, TensorType]:
        """The forward's operands by name, all of which fit together."""
        if self.activation not in ACTIVATIONS:
            raise ArgumentError(f"{self.name}: activation is {self.activation!r}; needs tanh or relu")
        named = dict(zip(self.inputs, types))
        x, u = named["x"], named["u"]
        self.floating(x)
        self.expect(x.rank == 3, "x has shape {}; needs (batch, time, features)", x.shape)
        self.expect(x.shape[1] > 0, "x has shape {}; a sequence has one step at least", x.shape)
        fits = u.rank == 2 and u.shape[1] % self.gates == 0
        columns = "units" if self.gates == 1 else f"{self.gates} * units"
        self.expect(fits, "u has shape {}; needs (rows, {})", u.shape, columns)
        units, rows = u.shape[1] // self.gates, u.shape[0]
        shapes: dict[str, tuple[int, ...]] = {
            "w": (x.shape[2], u.shape[1]), "b": (u.shape[1],), "h0": (x.shape[0], rows),
            "c0": (x.shape[0], units), "n": (units,), "p": (units, rows), "mask": x.shape[:2],
        }  # fmt: skip
        if "p" not in named:
            shapes["u"] = (units, u.shape[1])
        for name, t in named.items():
            needs = shapes.get(name, t.shape)
            given = (name, t.shape, x.shape, u.shape, needs)
            self.expect(t.shape == needs, "{} has shape {}, x {} and u {} need {}", *given)
            wanted = bool_ if name == "mask" else vector_type(x.dtype) if name in self.wide else x.dtype
            if t.dtype is not wanted:
                raise DTypeError(f"{self.name}: x is {x.dtype}, {name} is {t.dtype}; cast {name} to {wanted}")
        return named


class Gradient(Recurrence):
    """What the gradients have in common."""

    residual: ClassVar[bool] = False

    @property
    def given(self) -> tuple[str, ...]:
        return (*self.inputs, "y", "residual", "dy", "dh", *(("dc",) if self.cells else ()))

    def results(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, len(self.given))
        forward = types[: len(self.inputs)]
        named = self._expect(forward) | dict(zip(self.given[len(self.inputs) :], types[len(self.inputs) :]))
        x, h0 = named["x"], named["h0"]
        y = TensorType((*x.shape[:2], h0.shape[1]), x.dtype)
        for name, needs in (("y", y), ("dy", y), ("dh", h0), *((("dc", named["c0"]),) if self.cells else ())):
            self.expect(named[name] == needs, "{} is {}; needs {}", name, named[name], needs)
        return forward[: len(self.weights)]

    def flops(self, *types: TensorType) -> int:
        return 2 * super().flops(*types)


@frozen
class Gated(Recurrence):
    """What has gates."""

    slope: float | None = None

    def _expect(self, types: tuple[TensorType, ...]) -> dict[str, TensorType]:
        if self.slope is not None and not 0 < self.slope < math.inf:
            raise ArgumentError(
                f"{self.name}: slope is {self.slope!r}; needs a positive number, or None for the sigmoid"
            )
        return super()._expect(types)


@frozen
class Rnn(Recurrence):
    """h' = f(x w + h u + b), f being the activation.   Elman, 1990.

    x (B, T, I), w (I, H), u (H, H), b (H,), h0 (B, H)[, mask (B, T)] -> y (B, T, H), h (B, H), residual.
    """

    operands: ClassVar[tuple[str, ...]] = ("x", "w", "u", "b", "h0", "mask")
    infer = Recurrence.results


@frozen
class RnnGrad(Gradient, Rnn):
    """The gradients of `Rnn`:  with a = dh' f'(h'),  dx = a w^T, dw = x^T a, du = h^T a, db = sum(a).

    x, w, u, b, h0[, mask], y, residual, dy, dh -> dx, dw, du, db, dh0.
    """

    operands = (*Rnn.operands, "y", "residual", "dy", "dh")
    infer = Gradient.results


@frozen
class Lstm(Gated):
    """c' = f c + i g,  h' = o tanh(c'), and h' p with a projection.   Hochreiter and Schmidhuber, 1997.

    The gates lie in the order input i, forget f, cell g, output o:  i, f, o = sigmoid(a), g = tanh(a) with
    a = x w + h u + b, unless ``slope`` and ``activation``, which also takes the place of tanh(c'), say else.
    x (B, T, I), w (I, 4H), u (R, 4H), b (4H,), h0 (B, R), c0 (B, H)[, p (H, R)][, mask (B, T)] ->
    y (B, T, R), h (B, R), c (B, H), residual.
    """

    projected: bool = False
    gates = 4
    operands: ClassVar[tuple[str, ...]] = ("x", "w", "u", "b", "h0", "c0", "p", "mask")
    infer = Recurrence.results

    @property
    def weights(self) -> tuple[str, ...]:
        return (*RECURRENT, "c0", "p") if self.projected else (*RECURRENT, "c0")


@frozen
class LstmGrad(Gradient, Lstm):
    """The gradients of `Lstm`.

    x, w, u, b, h0, c0[, p][, mask], y, residual, dy, dh, dc -> dx, dw, du, db, dh0, dc0[, dp].
    """

    operands = (*Lstm.operands, "y", "residual", "dy", "dh", "dc")
    infer = Gradient.results


@frozen
class Gru(Gated):
    """h' = (1 - z) m + z h.   Cho et al., 2014.

    The gates lie in the order reset r, update z, candidate m:  r, z = sigmoid(x w + h u + b).  With
    ``reset_after`` m = tanh(x w + b + r (h u + n)), as PyTorch, cuDNN and Keras have it; else
    m = tanh(x w + b + (r h) u), as in the paper, and there is no n.  ``slope`` and ``activation`` may
    say else.
    x (B, T, I), w (I, 3H), u (H, 3H), b (3H,), h0 (B, H)[, n (H,)][, mask (B, T)] -> y (B, T, H), h (B, H),
    residual.
    """

    reset_after: bool = True
    gates = 3
    operands: ClassVar[tuple[str, ...]] = ("x", "w", "u", "b", "h0", "n", "mask")
    infer = Recurrence.results

    @property
    def weights(self) -> tuple[str, ...]:
        return (*RECURRENT, "n") if self.reset_after else RECURRENT


@frozen
class GruGrad(Gradient, Gru):
    """The gradients of `Gru`.

    x, w, u, b, h0[, n][, mask], y, residual, dy, dh -> dx, dw, du, db, dh0[, dn].
    """

    operands = (*Gru.operands, "y", "residual", "dy", "dh")
    infer = Gradient.results
