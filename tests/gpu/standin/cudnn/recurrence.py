"""The recurrent API of version 8: descriptors, sizes, the four cells; gradients by central differences."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from cortex_compute.types import DType, contiguous_strides
from tests.gpu.standin.cudnn.core import TYPES, Core, Tensor, expect, same
from tests.gpu.standin.cudnn.layers import slopes
from tests.gpu.standin.memory import view

GATES = {0: 1, 1: 1, 2: 4, 3: 3}
WORK, RESERVE = 512, 768


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def cell(
    mode: int, a: np.ndarray, b: np.ndarray, h: np.ndarray, c: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The next states; a and b (gates, N, units) are what comes from the input and from the last state."""
    if mode == 2:
        i, f, g, o = a + b
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c
    if mode == 3:
        r, z = sigmoid(a[0] + b[0]), sigmoid(a[1] + b[1])
        return (1 - z) * np.tanh(a[2] + r * b[2]) + z * h, c
    return (np.maximum(a[0] + b[0], 0) if mode == 0 else np.tanh(a[0] + b[0])), c


class Recurrences(Core):
    def __init__(self, **facts: Any) -> None:
        # By a number that the reserve holds in all its words, as it may be copied:
        self.reserved: dict[int, list[np.ndarray]] = {}  # x, first states, weights
        self.losses: dict[int, list[np.ndarray]] = {}  # the gradients of y and of the last states
        super().__init__(**facts)

    def SetDropoutDescriptor(
        self, number: int, handle: int, rate: float, states: int, size: int, seed: int
    ) -> None:
        self.find("Handle", handle)
        expect(rate == 0.0 and not states and not size, "dropout")
        self.find("Dropout", number).facts["rate"] = rate

    def SetRNNDescriptor_v8(
        self, number: int, algorithm: int, mode: int, bias: int, directions: int, entry: int, kind: int,
        total: int, math: int, inputs: int, units: int, projection: int, layers: int, dropout: int,
        flags: int,
    ) -> None:  # fmt: skip
        expect(algorithm == 0 and mode in GATES and bias in (0, 2) and directions in (0, 1), "the kind")
        expect(entry == 0 and kind in TYPES and total == (kind == 1) and 0 <= math <= 3, "types")
        expect(min(inputs, units, layers) > 0 and projection == units, "sizes")
        self.find("Dropout", dropout, told=True)
        self.find("RNN", number).facts.update(
            mode=mode, bias=bias, directions=directions + 1, dtype=TYPES[kind], inputs=inputs, units=units,
            layers=layers, flags=flags, dropout=dropout,
        )  # fmt: skip

    def SetRNNDataDescriptor(
        self,
        number: int,
        kind: int,
        layout: int,
        steps: int,
        count: int,
        width: int,
        lengths: Any,
        fill: int | None,
    ) -> None:
        expect(kind in TYPES and layout == 2 and min(steps, count, width) > 0, "sequences")
        given = tuple(lengths[:count])
        expect(min(given) >= 1 and max(given) <= steps, f"lengths {given} of {steps} steps")
        expect(fill is not None, "padding would be left as it was")
        facts = {"lengths": given, "dims": (count, steps, width), "dtype": TYPES[kind]}
        self.find("RNNData", number).facts.update(facts)

    def _data(self, number: int) -> Tensor:
        facts = self.find("RNNData", number, told=True).facts
        return Tensor(facts["dims"], contiguous_strides(facts["dims"]), facts["dtype"])

    def _rnn(self, number: int) -> dict[str, Any]:
        facts = self.find("RNN", number, told=True).facts
        self.find("Dropout", facts["dropout"], told=True)
        return facts

    # Weights: all matrices, then all biases.

    @staticmethod
    def _places(facts: dict[str, Any]) -> dict[tuple[int, int, str], tuple[int, tuple[int, ...]]]:
        """By pseudo-layer, number and kind: the first element, and the shape."""
        places, at = {}, 0
        gates, units, directions = GATES[facts["mode"]], facts["units"], facts["directions"]
        every = [(p, k) for p in range(facts["layers"] * directions) for k in range(2 * gates)]
        for kind in ("matrix", "bias") if facts["bias"] else ("matrix",):
            for pseudo, number in every:
                below = facts["inputs"] if pseudo < directions else units * directions
                shape: tuple[int, ...] = (units,)
                if kind == "matrix":
                    shape = (units, below if number < gates else units)
                places[pseudo, number, kind] = at, shape
                at += int(np.prod(shape))
        return places

    def _size(self, facts: dict[str, Any]) -> int:
        count = sum(int(np.prod(shape)) for _, shape in self._places(facts).values())
        return count * int(facts["dtype"].itemsize)

    def GetRNNWeightSpaceSize(self, handle: int, number: int, nbytes: Any) -> None:
        self.stream(handle)
        nbytes[0] = self._size(self._rnn(number))

    def GetRNNTempSpaceSizes(
        self, handle: int, number: int, mode: int, data: int, work: Any, reserve: Any
    ) -> None:
        self.stream(handle)
        same((self._data(data).dims[2], self._rnn(number)["inputs"]), "width of x")
        work[0], reserve[0] = WORK, RESERVE if mode == 1 else 0

    def GetRNNWeightParams(
        self, handle: int, number: int, pseudo: int, nbytes: int, weights: int, which: int, matrix: int,
        where: Any, bias: int, place: Any,
    ) -> None:  # fmt: skip
        self.stream(handle)
        facts = self._rnn(number)
        same((nbytes, self._size(facts)), "bytes of the weights")
        places = self._places(facts)
        for kind, descriptor, target in (("matrix", matrix, where), ("bias", bias, place)):
            found = places.get((pseudo, which, kind))
            if found is None:
                target[0] = None
                continue
            start, shape = found
            dims = (1, *shape) if kind == "matrix" else (1, *shape, 1)
            self.find("Tensor", descriptor).facts["tensor"] = Tensor(
                dims, contiguous_strides(dims), facts["dtype"]
            )
            target[0] = weights + start * facts["dtype"].itemsize

    def GetTensorNdDescriptor(
        self, number: int, asked: int, kind: Any, rank: Any, dims: Any, strides: Any
    ) -> None:
        t = self.tensor(number)
        kind[0], rank[0] = next(k for k, d in TYPES.items() if d is t.dtype), len(t.dims)
        for k, (n, s) in enumerate(zip(t.dims[:asked], t.strides)):
            dims[k], strides[k] = n, s

    # The work.

    def _ran(
        self,
        facts: dict[str, Any],
        lengths: tuple[int, ...],
        x: np.ndarray,
        h: np.ndarray,
        c: np.ndarray,
        flat: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """y and the last states; h and c (layers * directions, N, units)."""
        gates, units, directions = GATES[facts["mode"]], facts["units"], facts["directions"]
        places, hidden, cells = self._places(facts), h.copy(), c.copy()
        get = lambda *key: flat[places[key][0] :][: np.prod(places[key][1])].reshape(places[key][1])  # noqa: E731
        for layer in range(facts["layers"]):
            y = np.zeros((*x.shape[:2], units * directions))
            for direction in range(directions):
                pseudo = layer * directions + direction
                mats = [get(pseudo, k, "matrix") for k in range(2 * gates)]
                bias = [
                    get(pseudo, k, "bias") if facts["bias"] else np.zeros(units) for k in range(2 * gates)
                ]
                for n, length in enumerate(lengths):
                    s, m = h[pseudo, n][None], c[pseudo, n][None]
                    for t in range(length)[:: -1 if direction else 1]:
                        a = np.stack([x[n, t][None] @ w.T + b for w, b in zip(mats[:gates], bias)])
                        b = np.stack([s @ w.T + v for w, v in zip(mats[gates:], bias[gates:])])
                        s, m = cell(facts["mode"], a, b, s, m)
                        y[n, t, direction * units :][:units] = s[0]
                    hidden[pseudo, n], cells[pseudo, n] = s[0], m[0]
            x = y
        return x, hidden, cells

    def RNNForward(
        self, handle: int, number: int, mode: int, lengths: int | None, one: int, x: int, two: int, y: int,
        states: int, h: int | None, last_h: int | None, cells: int, c: int | None, last_c: int | None,
        size: int, weights: int, work_size: int, work: int, reserve_size: int, reserve: int | None,
    ) -> None:  # fmt: skip
        facts, of_x, of_y, of_h = self._checked(number, one, two, states, cells, size, work_size)
        expect(lengths is None, "lengths on the device")
        expect(mode == 0 or (reserve_size >= RESERVE and bool(reserve)), "a training pass without reserve")
        of_w = _flat(size, facts["dtype"])

        def compute() -> None:
            first = [np.zeros(of_h.dims) if p is None else of_h.read(p) for p in (h, c)]
            at = [of_x.read(x), *first, of_w.read(weights)]
            result = self._ran(facts, self._lengths(one), *at)
            for tensor, place, value in zip((of_y, of_h, of_h), (y, last_h, last_c), result):
                if place:
                    tensor.write(place, value)
            if reserve:
                number = len(self.reserved) + 1
                self.reserved[number] = at
                view(reserve, (RESERVE // 8,), np.int64)[...] = number

        memory = [(x, of_x.nbytes), (y, of_y.nbytes), (weights, size), (work, WORK)]
        self.enqueue(handle, compute, *memory)

    def RNNBackwardData_v8(
        self, handle: int, number: int, lengths: int | None, one: int, y: int, dy: int, two: int, dx: int,
        states: int, h: int | None, dlast_h: int | None, dh: int | None, cells: int, c: int | None,
        dlast_c: int | None, dc: int | None, size: int, weights: int, work_size: int, work: int,
        reserve_size: int, reserve: int,
    ) -> None:  # fmt: skip
        facts, of_x, of_y, of_h = self._checked(number, two, one, states, cells, size, work_size)
        expect(reserve_size >= RESERVE, "the reserve of the training pass")

        def compute() -> None:
            number = self._number(reserve)
            expect(number > 0, "the reserve was used before")
            dlast = [np.zeros(of_h.dims) if p is None else of_h.read(p) for p in (dlast_h, dlast_c)]
            self.losses[number] = [of_y.read(dy), *dlast]
            found = self._slopes(facts, self._lengths(two), number, (0, 1, 2))
            view(reserve, (RESERVE // 8,), np.int64)[...] = -number
            for tensor, place, value in zip((of_x, of_h, of_h), (dx, dh, dc), found):
                if place:
                    tensor.write(place, value)

        memory = (y, of_y.nbytes), (dy, of_y.nbytes), (dx, of_x.nbytes), (weights, size), (work, WORK)
        self.enqueue(handle, compute, *memory)

    def RNNBackwardWeights_v8(
        self, handle: int, number: int, add: int, lengths: int | None, one: int, x: int, states: int,
        h: int | None, two: int, y: int, size: int, dweights: int, work_size: int, work: int,
        reserve_size: int, reserve: int,
    ) -> None:  # fmt: skip
        facts, of_x, of_y, _ = self._checked(number, one, two, states, states, size, work_size)
        expect(add == 0, "gradients are added", 3000)
        of_w = _flat(size, facts["dtype"])

        def compute() -> None:
            number = -self._number(reserve)
            expect(number in self.losses, "the gradient of the data comes before that of the weights")
            (found,) = self._slopes(facts, self._lengths(one), number, (3,))
            of_w.write(dweights, of_w.read(dweights) + found)

        memory = (x, of_x.nbytes), (y, of_y.nbytes), (dweights, size), (work, WORK), (reserve, RESERVE)
        self.enqueue(handle, compute, *memory)

    def _number(self, reserve: int) -> int:
        """Of the training pass that left this; below 0 after a gradient, which works in it."""
        words = view(reserve, (RESERVE // 8,), np.int64)
        number = int(words[0])
        expect(abs(number) in self.reserved and bool((words == number).all()), "the reserve was written over")
        return number

    def _slopes(
        self, facts: dict[str, Any], lengths: tuple[int, ...], number: int, wanted: tuple[int, ...]
    ) -> list[np.ndarray]:
        """The gradients of some of x, h, c and the weights."""
        at = self.reserved[number]

        def loss(k: int, value: np.ndarray) -> float:
            made = self._ran(facts, lengths, *at[:k], value, *at[k + 1 :])
            return float(sum((a * b).sum() for a, b in zip(made, self.losses[number])))

        return [slopes(partial(loss, k), at[k]) for k in wanted]

    def _lengths(self, number: int) -> tuple[int, ...]:
        lengths: tuple[int, ...] = self.find("RNNData", number, told=True).facts["lengths"]
        return lengths

    def _checked(
        self, number: int, x: int, y: int, h: int, c: int, size: int, work: int
    ) -> tuple[dict[str, Any], Tensor, Tensor, Tensor]:
        facts, of_x, of_y, of_h = self._rnn(number), self._data(x), self._data(y), self.tensor(h)
        same((self._lengths(x), self._lengths(y)), "lengths")
        same((of_h, self.tensor(c)), "states")
        same((of_x.dtype, of_y.dtype, of_h.dtype, facts["dtype"]), "data types")
        same((of_y.dims[2], facts["units"] * facts["directions"]), "width of y")
        same((of_h.dims, (facts["layers"] * facts["directions"], of_x.dims[0], facts["units"])), "states")
        same((size, self._size(facts)), "bytes of the weights")
        uneven = len(set(self._lengths(x))) > 1 or self._lengths(x)[0] < of_x.dims[1]
        expect(not uneven or facts["flags"] == 1, "padded sequences without the flag")
        expect(work >= WORK, "scratch")
        return facts, of_x, of_y, of_h


def _flat(nbytes: int, d: DType) -> Tensor:
    """All weights as one row."""
    return Tensor((nbytes // d.itemsize,), (1,), d)
