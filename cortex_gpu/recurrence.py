"""Rnn, Lstm and Gru as generated kernels between products.

One product makes x w of all steps, where the gates will lie.  A step is then the product of the state and u,
and one launch for all gates.  Nothing is turned to time: the gates of a step are rows that lie far apart.

The residual is the gates of all steps, and behind them what else a cell leaves: an Lstm its cell states, a
Gru that resets after the product what r multiplies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cortex_compute.primitives.normalization import vector_type
from cortex_compute.primitives.recurrence import Gru, Lstm, Recurrence, Rnn
from cortex_compute.protocol import Offer, Operand, Refusal
from cortex_gpu import recurrence_cells as c
from cortex_gpu.backend import Gpu, offers
from cortex_gpu.composed import Composed, Part, matrix
from cortex_gpu.kernels import BLOCK, Argument, Call, In, Out, Place, Step, Work, blocks, refusal, seconds
from cortex_gpu.memory import aligned
from cortex_gpu.prelude import header, index
from cortex_gpu.product import LARGEST, source

READ, WRITTEN, WIDE_READ, WIDE = "const Storage*", "Storage*", "const Real*", "Real*"
TYPES = {
    "gates": WRITTEN, "kept": "char*", "beyond": "i64", "product": READ, "bias": WIDE_READ,
    "inner_bias": WIDE_READ, "h": READ, "out": WRITTEN, "c": WIDE_READ, "c_out": WIDE, "y": WRITTEN,
    "dy": READ, "carried": WIDE_READ, "carry": WIDE, "das": WRITTEN, "sides": WRITTEN, "before": WRITTEN,
    "c0": WIDE_READ, "dc": WIDE_READ, "dc_out": WIDE, "last": "int", "given": WRITTEN, "took": WRITTEN,
    "reset": WRITTEN, "x": READ,
}  # fmt: skip
"""The C types of what the lines of `recurrence_cells` name; c and dc may lie where c_out and dc_out do."""

Given = dict[str, Argument]
Walker = Callable[[int, int, Place, Place], list[Step]]


class Layer(Composed):
    """The sizes of a primitive, its operands' places, and what forward and gradient have in common."""

    def __init__(self, p: Recurrence, operands: Sequence[Operand], gpu: Gpu) -> None:
        super().__init__(gpu)
        self.p = p
        self.at = {name: In(k) for k, name in enumerate(p.given)}
        types = {name: o.type for name, o in zip(p.given, operands)}
        self.batch, self.steps, self.features = types["x"].shape
        self.rows, self.columns = types["u"].shape
        self.units, self.dtype = self.columns // p.gates, types["x"].dtype
        self.item, self.wide = self.dtype.itemsize, vector_type(self.dtype).itemsize
        self.order = range(self.steps)[::-1] if p.reverse else range(self.steps)
        self.beyond = aligned(self.all(self.columns))
        others = self.wide if p.cells else self.item if "n" in self.at else 0
        self.residual = self.beyond + self.batch * self.steps * self.units * others

    def one(self, columns: int) -> int:
        """Bytes of (batch, columns)."""
        return self.batch * columns * self.item

    def all(self, columns: int) -> int:
        """Bytes of (batch, steps, columns)."""
        return self.steps * self.one(columns)

    def call(self, name: str, body: str, columns: int, t: int, given: Given, width: int = 0) -> Call:
        """The launch of a body over a state of so many columns at step t; ``width``: gates in a product."""
        return self.over(name, body, (self.batch, columns), given, (t, self.steps), width)

    def over(
        self, name: str, body: str, shape: tuple[int, int], given: Given, at: tuple[int, int] = (0, 1),
        width: int = 0,
    ) -> Call:  # fmt: skip
        """The same over any matrix; ``at``: the step that its rows have, and how many there are."""
        p, count, columns = self.p, shape[0] * shape[1], shape[1]
        kind, integer = index(count)
        constants: dict[str, str | int] = {
            "GATES": p.gates, "WIDTH": width or p.gates, "MASKED": int(p.masked), "REVERSE": int(p.reverse),
            "TANH": int(p.activation == "tanh"), "Index": kind,
        }  # fmt: skip
        declared = "".join(f"{TYPES[k]} {k}, " for k in given)
        slope = f"constexpr Real SLOPE = {getattr(p, 'slope', None) or 0.0!r};\n"
        text = source(header(self.dtype, **constants) + slope + c.EACH, name, PARAMETERS=declared, BODY=body)
        places = (*given.values(), self.at.get("mask"), *map(np.int32, (*at, columns)), integer(count))
        return Call(text, blocks(count), BLOCK, places)

    def refused(self, operands: Sequence[Operand]) -> Refusal | None:
        if max(self.batch * self.steps, self.features, self.columns) > LARGEST - BLOCK:
            return Refusal("cupy counts the rows and columns of a product in 32 bits")
        return refusal(self.p, operands)

    def seconds(self, operands: Sequence[Operand], launches: int) -> float:
        """Of all but the products."""
        return seconds(self.p.nbytes(*(o.type for o in operands)) + 2 * self.residual, launches=launches)


class Forward(Layer):
    """The forward's scratch: gates where nobody wants the residual, states in turn, a product of one step."""

    def __init__(self, p: Recurrence, operands: Sequence[Operand], gpu: Gpu) -> None:
        super().__init__(p, operands, gpu)
        self.kept = Out(2 + p.cells)
        self.gates = Out(2 + p.cells, self.space(self.all(self.columns)).offset)
        self.states = [self.space(self.one(self.rows)) for _ in range(2)]
        self.made = self.space(self.one(self.columns))
        sides = matrix(self.dtype, self.batch * self.steps, self.features), self.weights(self.features)
        self.of_x = self.product(*sides)

    def weights(self, rows: int, gates: int = 0) -> Operand:
        """Some gates of w or u, or all."""
        columns = gates * self.units or self.columns
        return matrix(self.dtype, rows, columns, strides=(self.columns, 1))

    def times(self, b: Operand) -> Part:
        """The product of one step's (batch, rows) and b."""
        return self.product(matrix(self.dtype, self.batch, b.type.shape[0]), b, self.steps)

    def moved(
        self, name: str, body: str, t: int, h: Place, out: Place, given: Given | None = None, width: int = 0
    ) -> Call:
        """The launch that ends a step."""
        own: Given = {
            "gates": self.gates, "kept": self.kept, "bias": self.at["b"], "product": self.made, "h": h,
            "out": out, "y": Out(0),
        }  # fmt: skip
        return self.call(name, body, self.units, t, {**own, **(given or {})}, width)


def rnn(layer: Forward) -> Walker:
    times_u = layer.times(layer.weights(layer.rows))

    def step(k: int, t: int, h: Place, out: Place) -> list[Step]:
        return [times_u((h, layer.at["u"]), layer.made), layer.moved("rnn", c.RNN, t, h, out)]

    return step


def lstm(layer: Forward) -> Walker:
    times_u, cell = (
        layer.times(layer.weights(layer.rows)),
        layer.space(layer.batch * layer.units * layer.wide),
    )
    projected = "p" in layer.at
    if projected:
        taken, through = (layer.space(layer.one(n)) for n in (layer.units, layer.rows))
        times_p = layer.times(matrix(layer.dtype, layer.units, layer.rows))

    def step(k: int, t: int, h: Place, out: Place) -> list[Step]:
        last = Out(2, cell.offset) if k == layer.steps - 1 else cell
        of: Given = {
            "c": cell if k else layer.at["c0"], "c_out": last, "beyond": np.int64(layer.beyond)
        }  # fmt: skip
        product = times_u((h, layer.at["u"]), layer.made)
        if not projected:
            return [product, layer.moved("lstm", c.LSTM + c.MOVE, t, h, out, of)]
        held: Given = {"product": through, "h": h, "out": out, "y": Out(0)}
        return [
            product,
            layer.moved("lstm_projected", c.LSTM + c.TAKEN, t, h, taken, of),
            times_p((taken, layer.at["p"]), through),
            layer.call("lstm_hold", c.HOLD, layer.rows, t, held),
        ]

    return step


def gru(layer: Forward) -> Walker:
    if "n" in layer.at:
        return gru_after(layer)
    gates, candidate = layer.weights(layer.rows, 2), layer.weights(layer.rows, 1)
    times_gates, times_candidate = layer.times(gates), layer.times(candidate)
    reset, through = (layer.space(layer.one(layer.units)) for _ in range(2))
    third = In(layer.at["u"].index, 2 * layer.units)

    def step(k: int, t: int, h: Place, out: Place) -> list[Step]:
        return [
            times_gates((h, layer.at["u"]), layer.made),
            layer.moved("gru_reset", c.GRU_RESET, t, h, reset, width=2),
            times_candidate((reset, third), through),
            layer.moved("gru_before", c.GRU_BEFORE, t, h, out, {"product": through}, width=1),
        ]

    return step


def gru_after(layer: Forward) -> Walker:
    times_u = layer.times(layer.weights(layer.rows))
    of: Given = {"inner_bias": layer.at["n"], "beyond": np.int64(layer.beyond)}

    def step(k: int, t: int, h: Place, out: Place) -> list[Step]:
        product = times_u((h, layer.at["u"]), layer.made)
        return [product, layer.moved("gru_after", c.GRU_AFTER, t, h, out, of)]

    return step


CELLS: dict[type[Recurrence], Callable[[Forward], Walker]] = {Rnn: rnn, Lstm: lstm, Gru: gru}


@offers(Rnn)
@offers(Lstm)
@offers(Gru)
def forward(p: Recurrence, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    layer = Forward(p, operands, gpu)
    if (no := layer.refused(operands)) is not None:
        return no
    step = CELLS[type(p)](layer)

    def steps() -> list[Step]:
        made: list[Step] = [layer.of_x((In(0), In(1)), layer.gates)]
        h: Place = layer.at["h0"]
        for k, t in enumerate(layer.order):
            state: Work = layer.states[k % 2]
            out: Place = Out(1, state.offset) if k == layer.steps - 1 else state
            made += step(k, t, h, out)
            h = out
        return made

    return layer.offer(steps, layer.seconds(operands, layer.steps), residual=layer.residual)
