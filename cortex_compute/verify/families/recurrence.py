"""Rnn, Lstm and Gru: every step by its formula, in float64, each number with a bound of its error.

A magnitude is a running error analysis (Higham, "Accuracy and Stability of Numerical Algorithms", 3.3).  An
`Estimate` is a value and the error, in units of eps, that rounding may have left in it: an operation adds
what its operands' errors become under its derivative, and its own rounding.  The errors of h and c so go
from step to step, and in the gradients back again.  A sum of products rounds by the sum of their absolute
values; a sigmoid as 0.5 + 0.5 tanh(a / 2), since it may be made so.  That bounds the error by itself
(`tolerances`).  The weights of the state in the cases make it smaller, from step to step, even by their
absolute values: else the errors of a long walk would grow beyond all results, and any result would pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from cortex_compute.primitives.recurrence import Gated, Gru, GruGrad, Lstm, LstmGrad, Recurrence, Rnn, RnnGrad
from cortex_compute.types import DType, bfloat16
from cortex_compute.verify.bfloat16 import rounded
from cortex_compute.verify.case import Case, Operands, cases
from cortex_compute.verify.reference import magnitude, reference

Arrays = tuple[np.ndarray, ...]


class Estimate:
    """A value, and its possible error in units of eps."""

    def __init__(self, value: Any, error: Any = 0.0) -> None:
        self.value = np.asarray(value, np.float64)
        self.error = np.broadcast_to(np.asarray(error, np.float64), self.value.shape)

    @property
    def size(self) -> np.ndarray:
        return np.abs(self.value)

    @property
    def T(self) -> Estimate:
        return Estimate(self.value.T, self.error.T)

    def __getitem__(self, index: Any) -> Estimate:
        return Estimate(self.value[index], self.error[index])

    def __add__(self, other: Estimate) -> Estimate:
        value = self.value + other.value
        return Estimate(value, self.error + other.error + np.abs(value))

    def __neg__(self) -> Estimate:
        return Estimate(-self.value, self.error)

    def __sub__(self, other: Estimate) -> Estimate:
        return self + -other

    def __mul__(self, other: Estimate) -> Estimate:
        value = self.value * other.value
        return Estimate(value, self.size * other.error + self.error * other.size + np.abs(value))

    def __matmul__(self, other: Estimate) -> Estimate:
        error = self.size @ (other.error + other.size) + self.error @ other.size
        return Estimate(self.value @ other.value, error)


ONE, HALF = Estimate(1.0), Estimate(0.5)


def _tanh(a: Estimate) -> Estimate:
    t = np.tanh(a.value)
    return Estimate(t, (1 - t * t) * a.error + np.abs(t))


def _sigmoid(a: Estimate) -> Estimate:
    s = 1 / (1 + np.exp(-a.value))
    return Estimate(s, s * (1 - s) * a.error + np.abs(s - 0.5) + s)


def _cut(a: Estimate, low: float, high: float) -> Estimate:
    """min(max(a, low), high).  What is cut off takes its error with it, as far as it is beyond the corner."""
    value = np.clip(a.value, low, high)
    return Estimate(value, np.maximum(a.error - np.abs(a.value - value) / bfloat16.eps, 0))


def _cut_slope(a: Estimate, *corners: float) -> Estimate:
    """The derivative of that between the corners, where few bits may have it on the other side."""
    inside = (a.value > corners[0]) & (a.value < (corners[1] if corners[1:] else np.inf))
    unsure = np.any([np.abs(a.value - x) <= a.error * bfloat16.eps / 2 for x in corners], 0)
    return Estimate(inside * 1.0, unsure / bfloat16.eps)


def _new(p: Recurrence, a: Estimate) -> Estimate:
    """What is new, of its sum."""
    return _tanh(a) if p.activation == "tanh" else _cut(a, 0, np.inf)


def _new_slope(p: Recurrence, a: Estimate) -> Estimate:
    m = _new(p, a)
    return ONE - m * m if p.activation == "tanh" else _cut_slope(a, 0)


def _gate(p: Gated, a: Estimate) -> Estimate:
    """A gate, of its sum."""
    return _sigmoid(a) if p.slope is None else _cut(_steep(p.slope, a), 0, 1)


def _gate_slope(p: Gated, a: Estimate) -> Estimate:
    if p.slope is None:
        s = _sigmoid(a)
        return s * (ONE - s)
    return _cut_slope(_steep(p.slope, a), 0, 1) * Estimate(p.slope, p.slope)


def _steep(slope: float, a: Estimate) -> Estimate:
    return Estimate(slope, slope) * a + HALF


def _where(condition: np.ndarray, a: Estimate, b: Estimate) -> Estimate:
    return Estimate(np.where(condition, a.value, b.value), np.where(condition, a.error, b.error))


def _total(parts: Sequence[Estimate]) -> Estimate:
    """The sum of products, whose errors count their roundings already."""
    return Estimate(sum(x.value for x in parts), sum(x.error for x in parts))


def _rows(a: Estimate) -> Estimate:
    """The sum over the batch."""
    return Estimate(a.value.sum(0), (a.error + a.size).sum(0))


def _gates(a: Estimate, count: int) -> list[Estimate]:
    """(n, G H) as G times (n, H)"""
    n = a.value.shape[-1] // count
    return [a[..., k * n : (k + 1) * n] for k in range(count)]


def _beside(parts: Sequence[Estimate]) -> Estimate:
    """The opposite of `_gates`."""
    return Estimate(*(np.concatenate([getattr(x, k) for x in parts], -1) for k in ("value", "error")))


class Step(NamedTuple):
    """One step: where there is one (B, 1), x, h and c before it; the sums of its gates, and c after it."""

    has: np.ndarray
    x: Estimate
    h: Estimate
    c: Estimate
    gates: list[Estimate]
    cell: Estimate


class Back(NamedTuple):
    """The gradients of one step: of x w + b, of what ``weights`` name, of h and c before it."""

    a: Estimate
    weights: dict[str, Estimate]
    h: Estimate
    c: Estimate


def _rnn(p: Rnn, n: dict[str, Estimate], x: Estimate, h: Estimate, c: Estimate) -> tuple[Any, ...]:
    a = x @ n["w"] + h @ n["u"] + n["b"]
    return [a], _new(p, a), c


def _rnn_back(p: Rnn, n: dict[str, Estimate], s: Step, dh: Estimate, dc: Estimate) -> Back:
    a = dh * _new_slope(p, s.gates[0])
    return Back(a, {"u": s.h.T @ a}, a @ n["u"].T, dc)


def _lstm(p: Lstm, n: dict[str, Estimate], x: Estimate, h: Estimate, c: Estimate) -> tuple[Any, ...]:
    i, f, g, o = sums = _gates(x @ n["w"] + h @ n["u"] + n["b"], 4)
    new = _gate(p, f) * c + _gate(p, i) * _new(p, g)
    m = _gate(p, o) * _new(p, new)
    return sums, m @ n["p"] if p.projected else m, new


def _lstm_back(p: Lstm, n: dict[str, Estimate], s: Step, dh: Estimate, dc: Estimate) -> Back:
    i, f, g, o = s.gates
    t = _new(p, s.cell)
    dm = dh @ n["p"].T if p.projected else dh
    dc = dc + dm * _gate(p, o) * _new_slope(p, s.cell)
    of_i, of_f = dc * _new(p, g) * _gate_slope(p, i), dc * s.c * _gate_slope(p, f)
    a = _beside([of_i, of_f, dc * _gate(p, i) * _new_slope(p, g), dm * t * _gate_slope(p, o)])
    weights = {"u": s.h.T @ a, **({"p": (_gate(p, o) * t).T @ dh} if p.projected else {})}
    return Back(a, weights, a @ n["u"].T, dc * _gate(p, f))


def _gru(p: Gru, n: dict[str, Estimate], x: Estimate, h: Estimate, c: Estimate) -> tuple[Any, ...]:
    a, u = _gates(x @ n["w"] + n["b"], 3), _gates(n["u"], 3)
    of_r, of_z = a[0] + h @ u[0], a[1] + h @ u[1]
    r, z = _gate(p, of_r), _gate(p, of_z)
    inner = h @ u[2] + n["n"] if p.reset_after else h
    of_m = a[2] + (r * inner if p.reset_after else (r * inner) @ u[2])
    m = _new(p, of_m)
    return [of_r, of_z, of_m, inner], (ONE - z) * m + z * h, c


def _gru_back(p: Gru, n: dict[str, Estimate], s: Step, dh: Estimate, dc: Estimate) -> Back:
    (sum_r, sum_z, sum_m, inner), u = s.gates, _gates(n["u"], 3)
    r, z, m = _gate(p, sum_r), _gate(p, sum_z), _new(p, sum_m)
    of_z, of_m = dh * (s.h - m) * _gate_slope(p, sum_z), dh * (ONE - z) * _new_slope(p, sum_m)
    if p.reset_after:
        of_r, of_inner = of_m * inner * _gate_slope(p, sum_r), of_m * r
        third, through, extra = s.h.T @ of_inner, of_inner @ u[2].T, {"n": _rows(of_inner)}
    else:
        of_product = of_m @ u[2].T
        of_r = of_product * s.h * _gate_slope(p, sum_r)
        third, through, extra = (r * s.h).T @ of_m, of_product * r, {}
    before = dh * z + of_r @ u[0].T + of_z @ u[1].T + through
    du = _beside([s.h.T @ of_r, s.h.T @ of_z, third])
    return Back(_beside([of_r, of_z, of_m]), {"u": du, **extra}, before, dc)


FORWARD: dict[type[Recurrence], Any] = {Rnn: _rnn, Lstm: _lstm, Gru: _gru}
BACKWARD: dict[type[Recurrence], Any] = {RnnGrad: _rnn_back, LstmGrad: _lstm_back, GruGrad: _gru_back}


def _order(p: Recurrence, steps: int) -> list[int]:
    return list(range(steps))[:: -1 if p.reverse else 1]


def _walk(p: Recurrence, one: Any, n: dict[str, Estimate], mask: np.ndarray) -> tuple[Any, ...]:
    """The steps by time, and h and c at the end; then y."""
    h = n["h0"]
    c = n.get("c0", h)
    steps: dict[int, Step] = {}
    y: dict[int, Estimate] = {}
    for t in _order(p, mask.shape[1]):
        has, x = mask[:, t, None], n["x"][:, t]
        gates, new_h, new_c = one(p, n, x, h, c)
        steps[t] = Step(has, x, h, c, gates, new_c)
        y[t] = _where(has, new_h, Estimate(0 * new_h.value))
        h, c = _where(has, new_h, h), _where(has, new_c, c)
    every = [y[t] for t in range(mask.shape[1])]
    stacked = Estimate(*(np.stack([getattr(x, k) for x in every], 1) for k in ("value", "error")))
    return steps, h, c, stacked


def _named(p: Recurrence, operands: Sequence[np.ndarray]) -> tuple[dict[str, Estimate], np.ndarray]:
    """The operands that are numbers, and the mask."""
    given = dict(zip(p.given, operands))
    mask = given.pop("mask", np.ones(operands[0].shape[:2], bool))
    return {k: Estimate(a) for k, a in given.items() if k != "residual"}, mask


def _forward(p: Recurrence, *operands: np.ndarray) -> list[Estimate]:
    named, mask = _named(p, operands)
    _, h, c, y = _walk(p, FORWARD[type(p)], named, mask)
    return [y, h, *([c] if p.cells else []), Estimate(np.zeros(0))]


def _gradient(p: Recurrence, *operands: np.ndarray) -> list[Estimate]:
    """From gates as they come out; the state before a step is what y says, which may have 16 bits."""
    n, mask = _named(p, operands)
    steps = _walk(p, FORWARD[type(p).__mro__[2]], n, mask)[0]
    h = n["h0"]
    for t in _order(p, mask.shape[1]):
        steps[t], h = steps[t]._replace(h=h), _where(steps[t].has, n["y"][:, t], h)
    dh = n["dh"]
    dc = n.get("dc", dh)
    nothing = Estimate(0 * dh.value)
    found: dict[str, list[Estimate]] = {k: [] for k in ("w", "b", "u", "p", "n")}
    dx = np.zeros((2, *n["x"].value.shape))
    for t in reversed(_order(p, mask.shape[1])):
        s = steps[t]
        dh = dh + _where(s.has, n["dy"][:, t], nothing)
        back = BACKWARD[type(p)](
            p, n, s, _where(s.has, dh, nothing), _where(s.has, dc, Estimate(0 * dc.value))
        )
        of_x = back.a @ n["w"].T
        dx[0, :, t], dx[1, :, t] = of_x.value, of_x.error
        for name, d in {"w": s.x.T @ back.a, "b": _rows(back.a), **back.weights}.items():
            found[name].append(d)
        dh, dc = _where(s.has, back.h, dh), _where(s.has, back.c, dc)
    results = {"x": Estimate(*dx), "h0": dh, "c0": dc, **{k: _total(v) for k, v in found.items() if v}}
    return [results[name] for name in p.weights]


@reference(Rnn, Lstm, Gru)
def recurrence(p: Recurrence, *operands: np.ndarray) -> Arrays:
    return tuple(x.value for x in _forward(p, *operands))


@magnitude(Rnn, Lstm, Gru)
def recurrence_size(p: Recurrence, *operands: np.ndarray) -> Arrays:
    return tuple(x.error for x in _forward(p, *operands))


@reference(RnnGrad, LstmGrad, GruGrad)
def recurrence_gradient(p: Recurrence, *operands: np.ndarray) -> Arrays:
    return tuple(x.value for x in _gradient(p, *operands))


@magnitude(RnnGrad, LstmGrad, GruGrad)
def recurrence_gradient_size(p: Recurrence, *operands: np.ndarray) -> Arrays:
    return tuple(x.error for x in _gradient(p, *operands))


# name: batch, steps, features, units, columns of a projection
SIZES = {
    "plain": (3, 5, 4, 6, 2),
    "ones": (1, 1, 1, 1, 1),
    "one step": (4, 1, 3, 5, 3),
    "40 steps": (2, 40, 3, 8, 5),
    "odd sizes": (5, 7, 19, 33, 17),
    "empty batch": (0, 3, 2, 4, 3),
}
MASKS: dict[str, Any] = {
    "suffix": lambda rng, b, t: np.arange(t) < rng.integers(1, t + 1, (b, 1)),
    "holes": lambda rng, b, t: rng.random((b, t)) < 0.6,
    "a row without steps": lambda rng, b, t: np.broadcast_to(np.arange(b)[:, None] != 0, (b, t)),
    "no steps": lambda rng, b, t: np.zeros((b, t), bool),
}
# name, size, mask, deviation of x, reverse
KINDS: list[tuple[str, str, str, float, bool]] = [
    *((name, name, "", 1.0, False) for name in SIZES),
    *((f"mask: {name}", "plain", name, 1.0, False) for name in MASKS),
    ("reverse", "plain", "", 1.0, True),
    ("reverse with a mask", "plain", "holes", 1.0, True),
    ("saturated", "plain", "", 100.0, False),
]
OPTIONS: list[tuple[type[Recurrence], type[Recurrence], dict[str, Any], str]] = [
    (Rnn, RnnGrad, {}, "tanh"),
    (Rnn, RnnGrad, {"activation": "relu"}, "relu"),
    (Lstm, LstmGrad, {}, "cells"),
    (Lstm, LstmGrad, {"projected": True}, "projected"),
    (Gru, GruGrad, {}, "reset after"),
    (Gru, GruGrad, {"reset_after": False}, "reset before"),
    (Lstm, LstmGrad, {"slope": 0.2}, "hard cells"),
    (Lstm, LstmGrad, {"activation": "relu", "projected": True}, "relu, projected"),
    (Gru, GruGrad, {"slope": 0.2}, "hard, reset after"),
    (Gru, GruGrad, {"slope": 1 / 6, "activation": "relu", "reset_after": False}, "hard and relu, before"),
]


def _operands(p: Recurrence, sizes: tuple[int, ...], mask: str, scale: float, gradient: bool) -> Operands:
    """Those of the forward ``p``, its x of deviation ``scale``; for its gradient all of that.

    There they are rounded to few bits, so that y belongs to them in every type.
    """

    def make(rng: np.random.Generator, dtype: DType) -> list[np.ndarray]:
        batch, steps, features, units, rows = sizes
        rows = rows if "p" in p.weights else units
        shapes = {
            "x": (batch, steps, features), "w": (features, p.gates * units), "u": (rows, p.gates * units),
            "b": (p.gates * units,), "h0": (batch, rows), "c0": (batch, units), "n": (units,),
            "p": (units, rows), "dy": (batch, steps, rows), "dh": (batch, rows), "dc": (batch, units),
        }  # fmt: skip
        small = {"w": units**-0.5, "u": 1 / units, "b": units**-0.5, "n": units**-0.5, "p": 1 / units}
        made: dict[str, np.ndarray] = {}
        for name, shape in shapes.items():
            s = small.get(name)
            a = rng.standard_normal(shape) if s is None else rng.uniform(-s, s, shape)
            a = a * scale if name == "x" else a
            made[name] = (rounded(a) if gradient else a).astype(dtype.storage)
        if p.masked:
            made["mask"] = np.array(MASKS[mask](rng, batch, steps))
        operands = [made[name] for name in p.given]
        if gradient:
            wide = [a if a.dtype == bool else a.astype(np.float64) for a in operands]
            y = recurrence(p, *wide)[0].astype(dtype.storage)
            operands += [y, np.zeros(0, np.uint8), made["dy"], made["dh"]] + [made["dc"]] * p.cells
        return operands

    return make


@cases(Rnn, RnnGrad, Lstm, LstmGrad, Gru, GruGrad)
def recurrences() -> Iterator[Case]:
    for forward, gradient, fields, title in OPTIONS:
        for name, size, mask, scale, reverse in KINDS:
            own = {**fields, "reverse": reverse, "masked": bool(mask)}
            p, full = forward(**own), f"{title}, {name}"
            yield Case(full, p, _operands(p, SIZES[size], mask, scale, False))
            given = (p, tuple(range(len(p.given))))
            yield Case(full, gradient(**own), _operands(p, SIZES[size], mask, scale, True), forward=given)
