"""One step of Rnn, Lstm and Gru, and one step of their gradients, as calls over arrays that are fixed.

sigmoid(a) is 0.5 + 0.5 tanh(a / 2), which never overflows: half of a comes from halved weights (`SIGMOIDS`),
so that one call of tanh makes all the gates of a step.
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
Kept = Sequence[np.ndarray]  # of one step: the gates (B, G H), then what else the residual holds


class Sizes:
    """Batch, steps, features, rows of u, units and columns of all gates; and types made of them."""

    def __init__(self, p: Recurrence, types: Mapping[str, TensorType]) -> None:
        x, u = types["x"], types["u"]
        self.batch, self.steps, self.features = x.shape
        self.rows, self.columns = u.shape
        self.units = self.columns // p.gates
        self.dtype = x.dtype
        self.order = range(self.steps)[::-1] if p.reverse else range(self.steps)

    def matrix(self, rows: int, columns: int) -> TensorType:
        return TensorType((rows, columns), self.dtype)

    def step(self, columns: int) -> TensorType:
        """Of one step."""
        return self.matrix(self.batch, columns)

    def all(self, columns: int) -> TensorType:
        """Of all steps, time first."""
        return TensorType((self.steps, self.batch, columns), self.dtype)


class Cell:
    """What the three have in common.  A step of ``forward`` makes h' in ``out``; one of ``backward`` turns
    the gradients of h' and c' into those of h and c, in place, and leaves that of the gates in ``da``."""

    sigmoids: tuple[slice, ...] = ()  # the gates that are not tanh, in units

    def __init__(self, p: Any, s: Sizes) -> None:
        self.p, self.s = p, s

    def kept(self) -> list[int]:
        """The columns of what a step keeps for the gradient."""
        return [self.s.columns]

    def scratch(self) -> list[TensorType]:
        """For steps forward."""
        return [self.s.step(self.s.columns)]

    def forward(
        self, w: Arrays, scratch: Kept, now: Kept, last: Kept, h: np.ndarray, out: np.ndarray
    ) -> list[Call]:
        """With x w + b in now[0]."""
        raise NotImplementedError

    def gradient_scratch(self) -> list[TensorType]:
        """For steps backward."""
        raise NotImplementedError

    def backward(
        self, w: Arrays, scratch: Kept, t: int, now: Kept, last: Kept, h: np.ndarray, d: Arrays
    ) -> list[Call]:
        """``d`` has da of this step, and dh and dc, which change."""
        raise NotImplementedError

    def summed(self, scratch: Kept, t: int) -> list[np.ndarray]:
        """What ``products`` adds up beside da, of one step: 0 where there is none."""
        return []

    def products(self, scratch: Kept, before: np.ndarray, da: np.ndarray, out: Arrays) -> list[Call]:
        """What needs all steps: the gradients of u, p and n, as far as ``out`` has them."""
        return [partial(np.matmul, flat(before).T, flat(da), out["u"])] if "u" in out else []

    def columns(self, gates: slice) -> slice:
        return slice(gates.start * self.s.units, gates.stop * self.s.units)

    def parts(self, a: np.ndarray) -> list[np.ndarray]:
        """The gates, one by one."""
        return [a[:, self.columns(slice(k, k + 1))] for k in range(self.p.gates)]

    def squash(self, a: np.ndarray) -> list[Call]:
        """All the gates from tanh: sigmoids where they are."""
        calls: list[Call] = []
        for gate in self.sigmoids:
            part = a[:, self.columns(gate)]
            calls += [partial(np.multiply, part, 0.5, part), partial(np.add, part, 0.5, part)]
        return calls

    def slopes(self, a: np.ndarray, out: np.ndarray) -> list[Call]:
        """out = the derivatives of the gates ``a``: s - s^2 of sigmoids, 1 - m^2 of tanh."""
        tanh = [k for k in range(self.p.gates) if not any(s.start <= k < s.stop for s in self.sigmoids)]
        calls: list[Call] = [partial(np.multiply, a, a, out)]
        for gate in self.sigmoids:
            part = out[:, self.columns(gate)]
            calls.append(partial(np.subtract, a[:, self.columns(gate)], part, part))
        for part in (self.parts(out)[k] for k in tanh):
            calls.append(partial(np.subtract, 1.0, part, part))
        return calls


def flat(a: np.ndarray) -> np.ndarray:
    """(T, B, n) as (T B, n)"""
    return a.reshape(a.shape[0] * a.shape[1], a.shape[2])


class RnnCell(Cell):
    p: Rnn

    def forward(
        self, w: Arrays, scratch: Kept, now: Kept, last: Kept, h: np.ndarray, out: np.ndarray
    ) -> list[Call]:
        (a,), (product,) = now, scratch
        activate = (
            partial(np.tanh, a, a) if self.p.activation == "tanh" else partial(np.maximum, a, 0.0, out=a)
        )
        calls: list[Call] = [partial(np.matmul, h, w["u"], product), partial(np.add, a, product, a)]
        return [*calls, activate, partial(np.copyto, out, a)]

    def gradient_scratch(self) -> list[TensorType]:
        return [TensorType((self.s.batch, self.s.units), bool_)]

    def backward(
        self, w: Arrays, scratch: Kept, t: int, now: Kept, last: Kept, h: np.ndarray, d: Arrays
    ) -> list[Call]:
        (a,), (positive,), da, dh = now, scratch, d["a"], d["h"]
        if self.p.activation == "tanh":
            calls = [*self.slopes(a, da), partial(np.multiply, da, dh, da)]
        else:
            calls = [partial(np.greater, a, 0.0, positive), partial(da.fill, 0)]
            calls.append(partial(np.copyto, da, dh, where=positive))
        return [*calls, partial(np.matmul, da, w["u"].T, dh)]


class LstmCell(Cell):
    p: Lstm
    sigmoids = (slice(0, 2), slice(3, 4))

    def kept(self) -> list[int]:
        return [self.s.columns, self.s.units]

    def scratch(self) -> list[TensorType]:
        return [self.s.step(self.s.columns), self.s.step(self.s.units)]

    def forward(
        self, w: Arrays, scratch: Kept, now: Kept, last: Kept, h: np.ndarray, out: np.ndarray
    ) -> list[Call]:
        (a, c), (product, spare) = now, scratch
        i, f, g, o = self.parts(a)
        calls: list[Call] = [partial(np.matmul, h, w["u"], product), partial(np.add, a, product, a)]
        calls += [partial(np.tanh, a, a), *self.squash(a)]
        calls += [partial(np.multiply, f, last[1], c), partial(np.multiply, i, g, spare)]
        calls += [partial(np.add, c, spare, c), partial(np.tanh, c, spare)]
        if not self.p.projected:
            return [*calls, partial(np.multiply, o, spare, out)]
        return [*calls, partial(np.multiply, o, spare, spare), partial(np.matmul, spare, w["p"], out)]

    def gradient_scratch(self) -> list[TensorType]:
        """tanh(c); with a projection the gradient of what it takes, and that and its results, all steps."""
        s = self.s
        one = s.step(s.units)
        return [one, one, s.all(s.units), s.all(s.rows)] if self.p.projected else [one]

    def backward(
        self, w: Arrays, scratch: Kept, t: int, now: Kept, last: Kept, h: np.ndarray, d: Arrays
    ) -> list[Call]:
        (a, c), spare = now, scratch[0]
        da, dh, dc = d["a"], d["h"], d["c"]
        (i, f, g, o), (di, df, dg, do) = self.parts(a), self.parts(da)
        calls: list[Call] = [partial(np.tanh, c, spare)]
        dm = dh
        if self.p.projected:
            dm, taken, given = scratch[1], scratch[2][t], scratch[3][t]
            calls += [partial(np.multiply, o, spare, taken), partial(np.copyto, given, dh)]
            calls.append(partial(np.matmul, dh, w["p"].T, dm))
        calls += self.slopes(a, da)
        calls += [partial(np.multiply, do, spare, do), partial(np.multiply, do, dm, do)]
        calls += [partial(np.multiply, spare, spare, spare), partial(np.subtract, 1.0, spare, spare)]
        calls += [partial(np.multiply, spare, o, spare), partial(np.multiply, spare, dm, spare)]
        calls.append(partial(np.add, dc, spare, dc))
        calls += [partial(np.multiply, x, y, x) for x, y in ((di, g), (df, last[1]), (dg, i))]
        calls += [partial(np.multiply, x, dc, x) for x in (di, df, dg)]
        return [*calls, partial(np.multiply, dc, f, dc), partial(np.matmul, da, w["u"].T, dh)]

    def summed(self, scratch: Kept, t: int) -> list[np.ndarray]:
        return [scratch[3][t]] if self.p.projected else []

    def products(self, scratch: Kept, before: np.ndarray, da: np.ndarray, out: Arrays) -> list[Call]:
        calls = super().products(scratch, before, da, out)
        if "p" in out:
            calls.append(partial(np.matmul, flat(scratch[2]).T, flat(scratch[3]), out["p"]))
        return calls


class GruCell(Cell):
    p: Gru
    sigmoids = (slice(0, 2),)

    def kept(self) -> list[int]:
        """The gates, and with ``reset_after`` what r multiplies."""
        return [self.s.columns, self.s.units] if self.p.reset_after else [self.s.columns]

    def forward(
        self, w: Arrays, scratch: Kept, now: Kept, last: Kept, h: np.ndarray, out: np.ndarray
    ) -> list[Call]:
        a, (product,) = now[0], scratch
        two, one = self.columns(slice(0, 2)), self.columns(slice(2, 3))
        rz, (r, z, m), u, third = a[:, two], self.parts(a), w["u"], product[:, one]
        if self.p.reset_after:
            calls: list[Call] = [partial(np.matmul, h, u, product), partial(np.add, third, w["n"], now[1])]
        else:
            calls = [partial(np.matmul, h, u[:, two], product[:, two])]
        calls += [partial(np.add, rz, product[:, two], rz), partial(np.tanh, rz, rz), *self.squash(a)]
        if self.p.reset_after:
            calls.append(partial(np.multiply, r, now[1], third))
        else:
            calls += [partial(np.multiply, r, h, out), partial(np.matmul, out, u[:, one], third)]
        calls += [partial(np.add, m, third, m), partial(np.tanh, m, m)]
        calls += [partial(np.subtract, h, m, out), partial(np.multiply, out, z, out)]
        return [*calls, partial(np.add, out, m, out)]

    def gradient_scratch(self) -> list[TensorType]:
        """One for sums, and of all steps d(h u + n) of the candidate, or r h where u takes that."""
        return [self.s.step(self.s.units), self.s.all(self.s.units)]

    def backward(
        self, w: Arrays, scratch: Kept, t: int, now: Kept, last: Kept, h: np.ndarray, d: Arrays
    ) -> list[Call]:
        a, spare, other = now[0], scratch[0], scratch[1][t]
        da, dh = d["a"], d["h"]
        (r, z, m), (dr, dz, dm) = self.parts(a), self.parts(da)
        two, u = self.columns(slice(0, 2)), w["u"]
        third = u[:, self.columns(slice(2, 3))].T
        calls = self.slopes(a, da)
        calls += [partial(np.subtract, h, m, spare), partial(np.multiply, dz, spare, dz)]
        calls += [partial(np.multiply, dz, dh, dz), partial(np.subtract, 1.0, z, spare)]
        calls += [partial(np.multiply, dm, spare, dm), partial(np.multiply, dm, dh, dm)]
        calls.append(partial(np.multiply, dh, z, dh))
        if self.p.reset_after:
            calls += [partial(np.multiply, dr, now[1], dr), partial(np.multiply, dr, dm, dr)]
            calls += [partial(np.multiply, dm, r, other), partial(np.matmul, other, third, spare)]
        else:
            calls += [partial(np.multiply, r, h, other), partial(np.matmul, dm, third, spare)]
            calls += [partial(np.multiply, dr, spare, dr), partial(np.multiply, dr, h, dr)]
            calls.append(partial(np.multiply, spare, r, spare))
        calls += [partial(np.add, dh, spare, dh), partial(np.matmul, da[:, two], u[:, two].T, spare)]
        return [*calls, partial(np.add, dh, spare, dh)]

    def summed(self, scratch: Kept, t: int) -> list[np.ndarray]:
        return [scratch[1][t]] if self.p.reset_after else []

    def products(self, scratch: Kept, before: np.ndarray, da: np.ndarray, out: Arrays) -> list[Call]:
        two, one = self.columns(slice(0, 2)), self.columns(slice(2, 3))
        da, before, other = flat(da), flat(before), flat(scratch[1])
        calls: list[Call] = []
        if "u" in out:
            pair = (before, other) if self.p.reset_after else (other, da[:, one])
            calls.append(partial(np.matmul, before.T, da[:, two], out["u"][:, two]))
            calls.append(partial(np.matmul, pair[0].T, pair[1], out["u"][:, one]))
        if "n" in out:
            calls.append(partial(np.matmul, np.ones(len(other), other.dtype), other, out["n"]))
        return calls
