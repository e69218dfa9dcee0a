"""Primitives of ONNX's own shape: images whose channels come before the spatial axes, sequences whose time
comes before the batch.

They stand in a graph between transposes, which `simplify` moves on and cancels: so a chain of convolutions
is left with one transpose at each end.
"""

from __future__ import annotations

from cortex_compute.frozen import frozen
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.recurrence import Recurrence
from cortex_compute.types import TensorType, bool_

Axes = tuple[int, ...]


def channels_first(rank: int) -> Axes:
    """The order of axes that makes (N, C, *S) of (N, *S, C)."""
    return (0, rank - 1, *range(1, rank - 1))


def channels_last(rank: int) -> Axes:
    """The order of axes that makes (N, *S, C) of (N, C, *S)."""
    return (0, *range(2, rank), 1)


def filters_first(rank: int) -> Axes:
    """The order of axes that makes a kernel (O, I, *K) of (*K, I, O)."""
    return (rank - 1, rank - 2, *range(rank - 2))


def _ordered(t: TensorType, axes: Axes) -> TensorType:
    return TensorType(tuple(t.shape[a] for a in axes), t.dtype)


@frozen
class ChannelsFirst(Primitive):
    """A convolution or a pooling, ``of``, over images (N, C, *S); a kernel is (O, I, *K).

    Only the first of its results is there.
    """

    of: Primitive

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        rank = types[0].rank
        kernels = [_ordered(w, (*range(2, rank), 1, 0)) for w in types[1:]]
        y = self.of.infer(_ordered(types[0], channels_last(rank)), *kernels)[0]
        return (_ordered(y, channels_first(rank)),)


@frozen
class Recurrent(Primitive):
    """ONNX's RNN, LSTM or GRU in one direction.

    x (T, B, I), w (1, G H, I), u (1, G H, H), b (1, 2 G H), and with ``begun`` the first states (1, B, H):
    -> y (T, 1, B, H), and the last states (1, B, H).
    """

    kind: str
    reverse: bool
    activations: tuple[str, ...]
    slope: float | None
    reset_after: bool
    begun: bool

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (steps, batch, _), units = types[0].shape, types[2].shape[2]
        state = TensorType((1, batch, units), types[0].dtype)
        y = TensorType((steps, *state.shape), types[0].dtype)
        return (y, *[state] * (2 if self.kind == "LSTM" else 1))


@frozen
class Walk(Primitive):
    """A recurrence of which ONNX has none such, with a mask or a projection, step by step.

    a (T, B, G H), which is x w + b, then the further operands of ``of`` without x, w and b, of which a mask
    is (T, B) -> y (T, B, R), and the last states.  It walks from the first step to the last.
    """

    of: Recurrence
    names: tuple[str, ...]
    operands = ("a",)

    @property
    def states(self) -> tuple[str, ...]:
        """Which of the operands are states."""
        return tuple(name for name in self.names if name in ("h0", "c0"))

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        named = dict(zip(self.names, types[1:]))
        h = named["h0"]
        y = TensorType((*types[0].shape[:2], h.shape[1]), h.dtype)
        return (y, *(named[name] for name in self.states))


@frozen
class Before(Primitive):
    """Whether a key stands at the place of a query or before it.

    q (B, Tq, ...), k (B, Tk, ...) -> (Tq, Tk).  A primitive, and no constant, because the lengths may not be
    known before the model runs.
    """

    operands = ("q", "k")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return (TensorType((types[0].shape[1], types[1].shape[1]), bool_),)
