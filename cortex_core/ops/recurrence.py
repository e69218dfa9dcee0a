"""Recurrent layers over batches of sequences, one direction of one layer each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Literal

import numpy as np

from cortex_compute.primitives.elementwise import Copy
from cortex_compute.primitives.normalization import vector_type
from cortex_compute.primitives.recurrence import (
    Gradient,
    Gru,
    GruGrad,
    Lstm,
    LstmGrad,
    Recurrence,
    Rnn,
    RnnGrad,
)
from cortex_compute.types import TensorType
from cortex_core.ops.apply import apply
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import decomposition_of, differentiate, gradient_of, key
from cortex_core.ops.indexing import concatenate, pad, stack, take_along
from cortex_core.ops.linear import matmul
from cortex_core.ops.pointwise import cast, maximum, pointwise, relu, select, sigmoid, steep_sigmoid, tanh
from cortex_core.ops.views import broadcast_to, flip, narrow, reshape


def rnn(
    x: Any,
    w: Any,
    u: Any,
    b: Any,
    h0: Any,
    mask: Any | None = None,
    activation: Literal["tanh", "relu"] = "tanh",
    reverse: bool = False,
) -> tuple[Any, Any]:
    """h' = f(x w + h u + b) at each step, f being tanh or relu.   Elman, 1990.

    x (B, T, I), w (I, H), u (H, H), b (H,), h0 (B, H), mask (B, T) bool -> y (B, T, H), h (B, H), the state
    after the last step.  Where the mask is false there is no step: the state stays as it is, and y is 0.
    ``reverse`` walks from the last step to the first; y[:, t] belongs to x[:, t] all the same.
    With a = f'(h') dh', where dh' is g plus what comes back from the step after:
    dx = a w^T, dw = x^T a, du = h^T a, db = sum(a), and dh = a u^T goes to the step before.
    """
    p = Rnn(reverse=reverse, masked=mask is not None, activation=activation)
    y, h, _ = apply(p, x, w, u, b, h0, *_given(mask))
    return y, h


def lstm(
    x: Any,
    w: Any,
    u: Any,
    b: Any,
    h0: Any,
    c0: Any,
    p: Any | None = None,
    mask: Any | None = None,
    reverse: bool = False,
    activation: Literal["tanh", "relu"] = "tanh",
    slope: float | None = None,
) -> tuple[Any, Any, Any]:
    """c' = f c + i g,  h' = o tanh(c'), times p with a projection.   Hochreiter and Schmidhuber, 1997.

    i, f, g, o lie side by side in x w + h u + b; g goes through tanh, the others through the sigmoid.
    x (B, T, I), w (I, 4H), u (R, 4H), b (4H,), h0 (B, R), c0 (B, H), p (H, R), mask (B, T) bool -> y
    (B, T, R), h (B, R), c (B, H); without p, R is H.  Mask and ``reverse`` as in `rnn`.
    With ``activation="relu"`` that stands in the place of both tanh; with a ``slope`` hard sigmoids,
    min(max(slope a + 1/2, 0), 1), in that of sigmoids.
    With dk = dc' + o (1 - tanh(c')^2) dh':  di = g dk, df = c dk, dg = i dk, do = tanh(c') dh', dc = f dk;
    each of the first four times the derivative of its gate is a part of a, which goes on as in `rnn`.
    """
    primitive = Lstm(reverse, mask is not None, activation, slope, projected=p is not None)
    y, h, c, _ = apply(primitive, x, w, u, b, h0, c0, *_given(p), *_given(mask))
    return y, h, c


def gru(
    x: Any,
    w: Any,
    u: Any,
    b: Any,
    h0: Any,
    n: Any | None = None,
    mask: Any | None = None,
    reverse: bool = False,
    activation: Literal["tanh", "relu"] = "tanh",
    slope: float | None = None,
) -> tuple[Any, Any]:
    """h' = (1 - z) m + z h.   Cho et al., 2014.

    r, z and m lie side by side in x w + b.  With n, as PyTorch, cuDNN and Keras have it, m = tanh(x w + b +
    r (h u + n)); without it, as in the paper, m = tanh(x w + b + (r h) u).
    x (B, T, I), w (I, 3H), u (H, 3H), b (3H,), h0 (B, H), n (H,), mask (B, T) bool -> y (B, T, H), h (B, H).
    Mask and ``reverse`` as in `rnn`, ``activation`` and ``slope`` as in `lstm`.
    dz = (h - m) dh',  dm = (1 - z) dh',  dr = (h u + n) da with a the argument of tanh;  z dh' goes straight
    to the step before.
    """
    p = Gru(reverse, mask is not None, activation, slope, reset_after=n is not None)
    y, h, _ = apply(p, x, w, u, b, h0, *_given(n), *_given(mask))
    return y, h


def _given(operand: Any | None) -> tuple[Any, ...]:
    return () if operand is None else (operand,)


@gradient_of(Rnn)
def _rnn(node: Node, *gs: Any) -> Any:
    """With a = f'(y) (g + what comes back):  dx = a w^T, dw = x^T a, du = h^T a, db = sum(a)"""
    return _gradients(RnnGrad, node, gs)


@gradient_of(Lstm)
def _lstm(node: Node, *gs: Any) -> Any:
    """With dk = dc' + o (1 - tanh(c')^2) dh':  di = g dk, df = c dk, dg = i dk, do = tanh(c') dh', dc = f dk.
    The first four, each times the derivative of its gate, are a:
    dx = a w^T, dw = x^T a, du = h^T a, db = sum(a)
    """
    return _gradients(LstmGrad, node, gs)


@gradient_of(Gru)
def _gru(node: Node, *gs: Any) -> Any:
    """dz = (h - m) dh',  dm = (1 - z) dh',  dr = (h u + n) da with a the argument of tanh; z dh' goes
    straight to the step before.  Through their gates these are a; the rest as of `Lstm`
    """
    return _gradients(GruGrad, node, gs)


def _gradients(kind: type[Gradient], node: Node, gs: Sequence[Any]) -> tuple[Any, ...]:
    """One node gives them all; the mask has none."""
    p = kind(*(getattr(node.primitive, f.name) for f in fields(kind)))
    *types, _ = node.types
    gs = [zeros(t, node) if g is None else g for t, g in zip(types, gs)]
    y, *_, residual = node.outputs
    found = apply(p, *node.inputs, y, residual, *gs)
    return (*found, None) if p.masked else tuple(found)


def zeros(t: TensorType, like: Any) -> Any:
    """Zeros of a type, for the interpreter that ``like`` belongs to."""
    return broadcast_to(cast(like.kind.lift(np.zeros((), np.float32)), t.dtype), t.shape)


# The recurrences in simpler ops, unrolled.


def formula(activation: str = "tanh", slope: float | None = None) -> dict[str, Any]:
    """What says to a formula below which functions it has: numbers alone; a slope of 0 is the sigmoid."""
    return {"slope": slope or 0.0, "rectified": activation == "relu"}


def _gate(a: Any, slope: float) -> Any:
    return steep_sigmoid(a, slope=slope) if slope else sigmoid(a)


def _new(a: Any, rectified: bool) -> Any:
    return relu(a) if rectified else tanh(a)


@pointwise
def next_cell(i: Any, f: Any, g: Any, c: Any, slope: float = 0, rectified: bool = False) -> Any:
    """sigmoid(f) c + sigmoid(i) tanh(g), or with hard sigmoids of a slope, or relu"""
    return _gate(f, slope) * c + _gate(i, slope) * _new(g, rectified)


@pointwise
def next_hidden(o: Any, c: Any, slope: float = 0, rectified: bool = False) -> Any:
    """sigmoid(o) tanh(c), or with the same"""
    return _gate(o, slope) * _new(c, rectified)


@pointwise
def _candidate(a: Any, r: Any, inner: Any, slope: float, rectified: bool) -> Any:
    return _new(a + _gate(r, slope) * inner, rectified)


@pointwise
def _reset(r: Any, h: Any, slope: float) -> Any:
    return _gate(r, slope) * h


@pointwise
def _mixed(z: Any, m: Any, h: Any, slope: float) -> Any:
    return (1 - _gate(z, slope)) * m + _gate(z, slope) * h


def walked(
    step: Callable[..., Sequence[Any]],
    of_x: Any,
    states: Sequence[Any],
    mask: Any | None = None,
    reverse: bool = False,
) -> tuple[Any, ...]:
    """Any recurrence, step by step: the outputs of all steps, and the states after the last one.

    ``step(a, *states)`` makes the states after a step, the first of which is its output, of a = of_x[:, t].
    of_x (B, T, ...), mask (B, T) bool -> y (B, T, ...) and the states; mask and ``reverse`` as in `rnn`.
    """
    batch, steps = of_x.shape[:2]
    ys: dict[int, Any] = {}
    for t in range(steps)[:: -1 if reverse else 1]:
        new = step(reshape(narrow(of_x, 1, t, 1), (batch, *of_x.shape[2:])), *states)
        if mask is None:
            ys[t], states = new[0], new
            continue
        ones = (1,) * (len(new[0].shape) - 1)
        seen = reshape(narrow(mask, 1, t, 1), (batch, *ones))
        ys[t] = select(seen, new[0], 0.0)
        states = [select(seen, a, b) for a, b in zip(new, states)]
    return stack([ys[t] for t in range(steps)], 1), *states


def held(y: Any, first: Any, mask: Any, reverse: bool = False) -> Any:
    """y with, at each step that does not count, what stands at the last one before that counts.

    y (B, T, ...), first (B, ...), which stands before all steps, mask (B, T) bool -> like y; ``reverse``:
    the last step comes first.
    """
    if reverse:
        return flip(held(flip(y, 1), first, flip(mask, 1)), 1)
    batch, steps = y.shape[:2]
    places = select(mask, np.arange(1, steps + 1), 0)
    reach = 1
    while reach < steps:  # the largest place so far, twice as far back each time
        before = pad(narrow(places, 1, 0, steps - reach), ((0, 0), (reach, 0)))
        places, reach = maximum(places, before), 2 * reach
    whole = concatenate([reshape(first, (batch, 1, *y.shape[2:])), y], 1)
    places = reshape(places, (batch, steps, *(1,) * (len(y.shape) - 2)))
    return take_along(whole, broadcast_to(places, y.shape), 1)


class Cell:
    """One step: what x gives to the gates, and the states before it, to the states after it.

    Everything is computed in the type of the bias, states are kept in their own.
    """

    def __init__(self, p: Recurrence, named: dict[str, Any]) -> None:
        self.p, self.named = p, named
        self.x, self.wide = named["x"].dtype, vector_type(named["x"].dtype)
        self.u = named["u"]
        self.both = formula(p.activation, getattr(p, "slope", None))
        self.slope, self.rectified = self.both["slope"], self.both["rectified"]

    def __call__(self, a: Any, *states: Any) -> tuple[Any, ...]:
        if isinstance(self.p, Lstm):
            return self._lstm(a, *states)
        (h,) = states
        new = self._gru(a, h) if isinstance(self.p, Gru) else self._rnn(a, h)
        return (cast(new, self.x),)

    def _rnn(self, a: Any, h: Any) -> Any:
        return _new(a + self._product(h, self.u), self.rectified)

    def _lstm(self, a: Any, h: Any, c: Any) -> tuple[Any, Any]:
        i, f, g, o = parts(a + self._product(h, self.u), 4)
        c = next_cell(i, f, g, c, **self.both)
        h = cast(next_hidden(o, c, **self.both), self.x)
        return cast(matmul(h, self.named["p"]), self.x) if "p" in self.named else h, c

    def _gru(self, a: Any, h: Any) -> Any:
        units = h.shape[1]
        if "n" in self.named:
            ar, az, am = parts(a, 3)
            hr, hz, hm = parts(self._product(h, self.u), 3)
            m = _candidate(am, ar + hr, hm + self.named["n"], **self.both)
            return _mixed(az + hz, m, cast(h, self.wide), slope=self.slope)
        gates = narrow(a, 1, 0, 2 * units) + self._product(h, narrow(self.u, 1, 0, 2 * units))
        r, z = parts(gates, 2)
        reset = cast(_reset(r, cast(h, self.wide), slope=self.slope), self.x)
        third = narrow(self.u, 1, 2 * units, units)
        m = _new(narrow(a, 1, 2 * units, units) + self._product(reset, third), self.rectified)
        return _mixed(z, m, cast(h, self.wide), slope=self.slope)

    def _product(self, h: Any, u: Any) -> Any:
        return cast(matmul(h, u), self.wide)


def parts(a: Any, count: int) -> list[Any]:
    """What lies side by side on the last axis."""
    size = a.shape[-1] // count
    return [narrow(a, -1, k * size, size) for k in range(count)]


def _unrolled(p: Recurrence, operands: Sequence[Any]) -> tuple[Any, ...]:
    """y and the last states."""
    named = dict(zip(p.inputs, operands))
    step = Cell(p, named)
    of_x = cast(matmul(named["x"], named["w"]), step.wide) + named["b"]
    states = [named[k] for k in ("h0", "c0") if k in named]
    return walked(step, of_x, states, named["mask"] if p.masked else None, p.reverse)


@decomposition_of(Rnn)
@decomposition_of(Lstm)
@decomposition_of(Gru)
def _decomposed(p: Recurrence, *operands: Any) -> tuple[Any, ...]:
    return *_unrolled(p, operands), operands[0].kind.lift(np.zeros(0, np.uint8))


@decomposition_of(RnnGrad)
@decomposition_of(LstmGrad)
@decomposition_of(GruGrad)
def _gradient_decomposed(p: Gradient, *operands: Any) -> tuple[Any, ...]:
    """The steps are done again, so that the operands are differentiated through them; the saved y gets
    nothing.
    """
    count, places = len(p.inputs), [key(x) for x in operands]
    gs = operands[count + 2 :]
    with operands[0].kind.recording():
        # one array in two places, as h0 and c0 may be, has a gradient in each
        apart = [
            x if places.index(k) == i else apply(Copy(), x) for i, (k, x) in enumerate(zip(places, operands))
        ]
        found = differentiate(_unrolled(p, apart[:count]), gs, apart[: len(p.weights)], cut=True)
    return tuple(found)
