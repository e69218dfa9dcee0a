"""One step of Rnn, Lstm and Gru, and one step of their gradients, as calls over arrays that are fixed.

Gates come first: a (G, B, H), w (G, I, H), u (G, R, H), so that each of them is one piece of memory.
sigmoid(a) is 0.5 + 0.5 tanh(a / 2), which never overflows: half of a comes from halved weights, so that one
call of tanh makes all the gates of a step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from cortex_compute.primitives.recurrence import Gru, Lstm, Recurrence, Rnn
from cortex_compute.types import TensorType, bool_

Call = Callable[[], Any]
Arrays = Mapping[str, np.ndarray]
Memory = Sequence[np.ndarray]


class Sizes:
    """Batch, steps, features of x, rows of u, units and gates; and types made of them."""

    def __init__(self, p: Recurrence, types: Mapping[str, TensorType]) -> None:
        x, u = types["x"], types["u"]
        self.batch, self.steps, self.features = x.shape
        self.gates, self.rows, self.units = p.gates, u.shape[0], u.shape[1] // p.gates
        self.dtype = x.dtype
        self.order = range(self.steps)[::-1] if p.reverse else range(self.steps)

    def type(self, *shape: int) -> TensorType:
        return TensorType(shape, self.dtype)

    def step(self, *columns: int) -> TensorType:
        """(columns, B, last column), of one step."""
        return self.type(*columns[:-1], self.batch, columns[-1])

    def all(self, *columns: int) -> TensorType:
        """(columns, T, B, last column), of all steps."""
        return self.type(*columns[:-1], self.steps, self.batch, columns[-1])


def flat(a: np.ndarray) -> np.ndarray:
    """(..., T, B, n) as (..., T B, n)"""
    return a.reshape(*a.shape[:-3], a.shape[-3] * a.shape[-2], a.shape[-1])


def turned(a: np.ndarray) -> np.ndarray:
    """Matrices transposed."""
    return a.swapaxes(-1, -2)


def multiply(*factors: np.ndarray) -> list[Call]:
    """The first one = the product of all."""
    return [partial(np.multiply, factors[0], x, factors[0]) for x in factors[1:]]


class Cell:
    """What the three have in common.

    A step forward gets ``now``, the arrays that the residual has of it, with x w + b in the first, the gates;
    ``last``, those of the step before; h, and ``out`` for h'.  A step backward turns d["h"] and d["c"], the
    gradients of h' and c', into those of h and c, and leaves that of the gates in d["a"].
    """

    sigmoids: tuple[slice, ...] = ()  # the gates that are not new

    def __init__(self, p: Any, s: Sizes) -> None:
        self.p, self.s = p, s
        self.slope: float | None = getattr(p, "slope", None)  # of hard sigmoids
        self.rectified = p.activation == "relu"
        squashed = [k for gates in self.sigmoids for k in range(s.gates)[gates]]
        self.fresh = [k for k in range(s.gates) if k not in squashed]

    @property
    def halved(self) -> tuple[slice, ...]:
        """The gates whose weights are halved."""
        return self.sigmoids if self.slope is None else ()

    def kept(self) -> list[tuple[int, ...]]:
        """The columns of what the residual holds of each step: gates and units, then what else."""
        return [(self.s.gates, self.s.units)]

    def scratch(self) -> list[TensorType]:
        """For steps forward."""
        return [self.s.step(self.s.gates, self.s.units)]

    def forward(
        self, w: Arrays, scratch: Memory, now: Memory, last: Memory, h: np.ndarray, out: np.ndarray
    ) -> list[Call]:
        raise NotImplementedError

    def gradient_scratch(self) -> list[TensorType]:
        """For steps backward; the first one is for the gates' shares in the gradient of h."""
        return [self.s.step(self.s.gates, self.s.rows)]

    def backward(
        self, w: Arrays, scratch: Memory, t: int, now: Memory, last: Memory, h: np.ndarray, d: Arrays
    ) -> list[Call]:
        raise NotImplementedError

    def summed(self, scratch: Memory, t: int) -> list[np.ndarray]:
        """What ``products`` adds up beside the gradients of gates: 0 where a sequence has no step."""
        return []

    def products(
        self, scratch: Memory, before: np.ndarray, da: np.ndarray, du: np.ndarray, out: Arrays
    ) -> list[Call]:
        """What takes all steps: the gradients of u (R, G, H), in ``du`` with gates first, p and n."""
        return [partial(np.matmul, flat(before).T, flat(da), du)] if "u" in out else []

    def squash(self, a: np.ndarray, fresh: Sequence[int] = ()) -> list[Call]:
        """What the sums of gates become: sigmoids, and what is new where ``fresh`` has it among them."""
        parts = [a[gates] for gates in self.sigmoids]
        if self.slope is not None:
            steps = [(np.multiply, self.slope), (np.add, 0.5), (np.maximum, 0.0), (np.minimum, 1.0)]
            calls: list[Call] = [partial(f, part, x, out=part) for part in parts for f, x in steps]
            return calls + [self.renew(a[k], a[k]) for k in fresh]
        whole = [a] if fresh and not self.rectified else parts
        calls = [partial(np.tanh, part, part) for part in whole]
        calls += [partial(f, part, 0.5, part) for part in parts for f in (np.multiply, np.add)]
        return calls + [self.renew(a[k], a[k]) for k in fresh if self.rectified]

    def renew(self, a: np.ndarray, out: np.ndarray) -> Call:
        """out = the activation of a."""
        return partial(np.maximum, a, 0.0, out=out) if self.rectified else partial(np.tanh, a, out)

    def slopes(self, a: np.ndarray, out: np.ndarray) -> list[Call]:
        """out = the derivatives of the gates ``a``: s - s^2 of sigmoids, 1 - m^2 of tanh.

        Between 0 and 1 s - s^2 is positive, so that its sign tells where a hard sigmoid has its slope.
        """
        calls: list[Call] = [partial(np.multiply, a, a, out)]
        for gates in self.sigmoids:
            calls.append(partial(np.subtract, a[gates], out[gates], out[gates]))
            if self.slope is not None:
                calls.append(partial(np.sign, out[gates], out[gates]))
                calls.append(partial(np.multiply, out[gates], self.slope, out[gates]))
        if self.rectified:
            return calls + [partial(np.sign, a[k], out[k]) for k in self.fresh]
        return calls + [partial(np.subtract, 1.0, out[k], out[k]) for k in self.fresh]

    def bend(self, m: np.ndarray) -> list[Call]:
        """m, a result of the activation, becomes the derivative there."""
        if self.rectified:
            return [partial(np.sign, m, m)]
        return [*multiply(m, m), partial(np.subtract, 1.0, m, m)]

    def back(self, u: np.ndarray, da: np.ndarray, shares: np.ndarray, dh: np.ndarray) -> list[Call]:
        """dh = da u^T, summed over the gates."""
        return [partial(np.matmul, da, turned(u), shares), partial(np.add.reduce, shares, 0, None, dh)]


class RnnCell(Cell):
    p: Rnn

    def forward(
        self, w: Arrays, scratch: Memory, now: Memory, last: Memory, h: np.ndarray, out: np.ndarray
    ) -> list[Call]:
        (a,), (product,) = now, scratch
        calls: list[Call] = [partial(np.matmul, h, w["u"], product), partial(np.add, a, product, a)]
        return [*calls, self.renew(a, a), partial(np.copyto, out, a[0])]

    def gradient_scratch(self) -> list[TensorType]:
        return [*super().gradient_scratch(), TensorType((self.s.batch, self.s.units), bool_)]

    def backward(
        self, w: Arrays, scratch: Memory, t: int, now: Memory, last: Memory, h: np.ndarray, d: Arrays
    ) -> list[Call]:
        (a,), (shares, positive), da, dh = now, scratch, d["a"], d["h"]
        if not self.rectified:
            calls = self.slopes(a, da) + multiply(da, dh)
        else:  # not by a product, as 0 times infinity is none
            calls = [partial(np.greater, a[0], 0.0, positive), partial(da.fill, 0)]
            calls.append(partial(np.copyto, da[0], dh, where=positive))
        return calls + self.back(w["u"], da, shares, dh)


class LstmCell(Cell):
    p: Lstm
    sigmoids = (slice(0, 2), slice(3, 4))

    def kept(self) -> list[tuple[int, ...]]:
        """The gates and c'."""
        return [*super().kept(), (self.s.units,)]

    def scratch(self) -> list[TensorType]:
        return [*super().scratch(), self.s.step(self.s.units)]

    def forward(
        self, w: Arrays, scratch: Memory, now: Memory, last: Memory, h: np.ndarray, out: np.ndarray
    ) -> list[Call]:
        (a, c), (product, spare) = now, scratch
        i, f, g, o = a
        calls: list[Call] = [partial(np.matmul, h, w["u"], product), partial(np.add, a, product, a)]
        calls += self.squash(a, self.fresh)
        calls += [partial(np.multiply, f, last[-1], c), partial(np.multiply, i, g, spare)]
        calls += [partial(np.add, c, spare, c), self.renew(c, spare)]
        if not self.p.projected:
            return [*calls, partial(np.multiply, o, spare, out)]
        return [*calls, *multiply(spare, o), partial(np.matmul, spare, w["p"], out)]

    def gradient_scratch(self) -> list[TensorType]:
        """Two of one step; and what a projection takes, and the gradient of what it gives, of all steps."""
        s = self.s
        types = [*super().gradient_scratch(), s.step(s.units)]
        return [*types, s.step(s.units), s.all(s.units), s.all(s.rows)] if self.p.projected else types

    def backward(
        self, w: Arrays, scratch: Memory, t: int, now: Memory, last: Memory, h: np.ndarray, d: Arrays
    ) -> list[Call]:
        (a, c), (shares, spare, *projection) = now, scratch
        da, dm, dc = d["a"], d["h"], d["c"]
        i, f, g, o = a
        di, df, dg, do = da
        calls = [self.renew(c, spare)]
        if projection:
            dm, taken, given = projection[0], projection[1][t], projection[2][t]
            calls += [partial(np.multiply, o, spare, taken), partial(np.copyto, given, d["h"])]
            calls.append(partial(np.matmul, d["h"], w["p"].T, dm))
        calls += self.slopes(a, da) + multiply(do, spare, dm)
        calls += [*self.bend(spare), *multiply(spare, o, dm), partial(np.add, dc, spare, dc)]
        calls += multiply(di, g) + multiply(df, last[-1]) + multiply(dg, i) + multiply(da[:3], dc)
        return calls + multiply(dc, f) + self.back(w["u"], da, shares, d["h"])

    def summed(self, scratch: Memory, t: int) -> list[np.ndarray]:
        return [scratch[4][t]] if self.p.projected else []

    def products(
        self, scratch: Memory, before: np.ndarray, da: np.ndarray, du: np.ndarray, out: Arrays
    ) -> list[Call]:
        calls = super().products(scratch, before, da, du, out)
        if "p" in out:
            calls.append(partial(np.matmul, flat(scratch[3]).T, flat(scratch[4]), out["p"]))
        return calls


class GruCell(Cell):
    p: Gru
    sigmoids = (slice(0, 2),)

    def kept(self) -> list[tuple[int, ...]]:
        """The gates, and with ``reset_after`` what r multiplies."""
        return [*super().kept(), (self.s.units,)] if self.p.reset_after else super().kept()

    def forward(
        self, w: Arrays, scratch: Memory, now: Memory, last: Memory, h: np.ndarray, out: np.ndarray
    ) -> list[Call]:
        a, (product,), u = now[0], scratch, w["u"]
        (r, z, m), third = a, product[2]
        if self.p.reset_after:
            calls: list[Call] = [partial(np.matmul, h, u, product), partial(np.add, third, w["n"], now[1])]
        else:
            calls = [partial(np.matmul, h, u[:2], product[:2])]
        calls += [partial(np.add, a[:2], product[:2], a[:2]), *self.squash(a)]
        if self.p.reset_after:
            calls.append(partial(np.multiply, r, now[1], third))
        else:
            calls += [partial(np.multiply, r, h, out), partial(np.matmul, out, u[2], third)]
        calls += [partial(np.add, m, third, m), self.renew(m, m)]
        # not m + z (h - m), which loses h where z is 1 and m is large
        calls += [partial(np.multiply, z, h, out), partial(np.subtract, 1.0, z, third)]
        return [*calls, *multiply(third, m), partial(np.add, out, third, out)]

    def gradient_scratch(self) -> list[TensorType]:
        """Two of one step; and, of all steps, dm r with ``reset_after``, else r h: the factor of the
        gradient of the third of u that is not among the gates' gradients or the states."""
        s = self.s
        return [*super().gradient_scratch(), s.step(s.units), s.step(s.units), s.all(s.units)]

    def backward(
        self, w: Arrays, scratch: Memory, t: int, now: Memory, last: Memory, h: np.ndarray, d: Arrays
    ) -> list[Call]:
        a, (shares, spare, direct, other), u = now[0], scratch, w["u"]
        da, dh, other = d["a"], d["h"], other[t]
        (r, z, m), (dr, dz, dm) = a, da
        calls = self.slopes(a, da)
        calls += [partial(np.subtract, h, m, spare), *multiply(dz, spare, dh)]
        calls += [partial(np.subtract, 1.0, z, spare), *multiply(dm, spare, dh)]
        calls.append(partial(np.multiply, dh, z, direct))
        if self.p.reset_after:
            calls += [*multiply(dr, now[1], dm), partial(np.multiply, dm, r, other)]
            calls.append(partial(np.matmul, other, u[2].T, shares[2]))
        else:
            calls += [partial(np.multiply, r, h, other), partial(np.matmul, dm, u[2].T, shares[2])]
            calls += [*multiply(dr, shares[2], h), *multiply(shares[2], r)]
        calls.append(partial(np.matmul, da[:2], turned(u[:2]), shares[:2]))
        return [*calls, partial(np.add.reduce, shares, 0, None, dh), partial(np.add, dh, direct, dh)]

    def summed(self, scratch: Memory, t: int) -> list[np.ndarray]:
        return [scratch[3][t]] if self.p.reset_after else []

    def products(
        self, scratch: Memory, before: np.ndarray, da: np.ndarray, du: np.ndarray, out: Arrays
    ) -> list[Call]:
        da, before, other = flat(da), flat(before), flat(scratch[3])
        calls: list[Call] = []
        if "u" in out:
            left, right = (before, other) if self.p.reset_after else (other, da[2])
            calls.append(partial(np.matmul, before.T, da[:2], du[:2]))
            calls.append(partial(np.matmul, left.T, right, du[2]))
        if "n" in out:
            calls.append(partial(np.matmul, np.ones(len(other), other.dtype), other, out["n"]))
        return calls
