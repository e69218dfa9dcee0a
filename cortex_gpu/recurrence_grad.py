"""The gradients of Rnn, Lstm and Gru as generated kernels between products.

From the last step walked to the first one launch makes the gradients of the gates, and a product with u what
flows on to the step before.  Behind that one product each makes the gradients of x, w and u over all steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cortex_compute.primitives.recurrence import Gradient, GruGrad, LstmGrad, RnnGrad
from cortex_compute.protocol import Offer, Operand, Refusal
from cortex_gpu import recurrence_cells as c
from cortex_gpu.backend import Gpu, offers
from cortex_gpu.composed import Part, matrix
from cortex_gpu.kernels import In, Out, Place, Step, Work
from cortex_gpu.recurrence import Given, Layer

Walker = Callable[[int, int, Given, Place], list[Step]]


class Backward(Layer):
    """The gradient's scratch, and the walk.

    Of all steps: ``das``, the gradients of the gates, and ``before``, the state before each.  Of one:
    ``flow``, the product of these gradients and u, and ``carry``, what comes to the gradient of h beside it.
    """

    def __init__(self, p: Gradient, operands: Sequence[Operand], gpu: Gpu) -> None:
        super().__init__(p, operands, gpu)
        self.results = {name: Out(k) for k, name in enumerate(p.weights)}
        self.das, self.before = self.space(self.all(self.columns)), self.space(self.all(self.rows))
        self.flow = self.space(self.one(self.rows))
        carries = p.masked or isinstance(p, GruGrad)
        self.carry = self.space(self.batch * self.rows * self.wide) if carries else None

    def read(self) -> Given:
        """What the launches of a step read of the forward."""
        kept = self.at["residual"]
        return {"gates": kept, "kept": kept, "beyond": np.int64(self.beyond), "das": self.das}

    def of_step(self, place: Work, t: int, columns: int, start: int = 0) -> Work:
        """The rows of step t, from a column on, in what is kept of all steps."""
        return Work(place.offset + (t * columns + start) * self.item)

    def times(self, columns: int, width: int = 0, rows: int = 0) -> Part:
        """The product of some columns of one step's rows, and of those columns of u transposed.

        ``width`` and ``rows`` are those of another matrix than u.
        """
        width, rows = width or self.columns, rows or self.rows
        a = matrix(self.dtype, self.batch, columns, strides=(self.steps * width, 1))
        b = matrix(self.dtype, rows, columns, strides=(width, 1))
        return self.product(a, b, self.steps, transpose_b=True)

    def summed(self, left: int, right: int, width: int = 0) -> Part:
        """The product over all steps of (left columns) transposed and (right columns)."""
        return self.product(self.all_rows(left), self.all_rows(right, width), transpose_a=True)

    def all_rows(self, columns: int, width: int = 0) -> Operand:
        """Of all steps as one matrix, whose columns lie among ``width``."""
        return matrix(self.dtype, self.batch * self.steps, columns, strides=(width or columns, 1))

    @property
    def carrying(self) -> Given:
        return {"carry": self.carry}


class Cell:
    """One step backward, and the gradients of what all steps share; here of an Rnn."""

    def __init__(self, layer: Backward) -> None:
        self.layer = layer
        self.prepare()

    def prepare(self) -> None:
        self.times_u = self.layer.times(self.layer.columns)
        self.of_u = self.layer.summed(self.layer.rows, self.layer.columns)

    def step(self, k: int, t: int, flow: Given, out: Place) -> list[Step]:
        """``flow`` is what the gradient of h after step t is made of, ``out`` where that of h before goes."""
        layer = self.layer
        made = layer.call("rnn_grad", c.RNN_BACK, layer.units, t, {**flow, **layer.read()})
        return [made, self.back(layer.das, t, out)]

    def back(self, das: Work, t: int, out: Place) -> Step:
        """The product of a step's gradients and u."""
        return self.times_u((self.layer.of_step(das, t, self.layer.columns), self.layer.at["u"]), out)

    def end(self) -> list[Step]:
        layer = self.layer
        return [self.of_u((layer.before, layer.das), layer.results["u"])]


class LstmCell(Cell):
    """``took`` is what a projection took in all steps, ``given`` the gradients of what it gave."""

    def prepare(self) -> None:
        super().prepare()
        layer = self.layer
        self.cell = layer.space(layer.batch * layer.units * layer.wide)
        self.projected = "p" in layer.at
        if self.projected:
            self.took, self.given = (layer.space(layer.all(n)) for n in (layer.units, layer.rows))
            self.through = layer.space(layer.one(layer.units))
            self.times_p = layer.times(layer.rows, layer.rows, layer.units)
            self.of_p = layer.summed(layer.units, layer.rows)

    def step(self, k: int, t: int, flow: Given, out: Place) -> list[Step]:
        layer, made = self.layer, list[Step]()
        body, name = c.FLOW + c.LSTM_BACK + c.STAY, "lstm_grad"
        if self.projected:
            made.append(layer.call("lstm_given", c.GIVEN, layer.rows, t, {**flow, "given": self.given}))
            there = layer.of_step(self.given, t, layer.rows)
            made.append(self.times_p((there, layer.at["p"]), self.through))
            body, name = c.THROUGH + c.LSTM_BACK + c.TOOK, "lstm_projected_grad"
            flow = {"product": self.through, "took": self.took}
        cells: Given = {
            "c0": layer.at["c0"], "last": np.int32(layer.order[k - 1] if k else -1),
            "dc": self.cell if k < layer.steps - 1 else layer.at["dc"],
            "dc_out": self.cell if k else Out(5, self.cell.offset),
        }  # fmt: skip
        made.append(layer.call(name, body, layer.units, t, {**flow, **layer.read(), **cells}))
        return [*made, self.back(layer.das, t, out)]

    def end(self) -> list[Step]:
        sums = [self.of_p((self.took, self.given), self.layer.results["p"])] if self.projected else []
        return super().end() + sums


class GruAfterCell(Cell):
    """``sides`` are the gradients of h u + n, of which the third is not that of x w + b."""

    def prepare(self) -> None:
        super().prepare()
        layer = self.layer
        self.sides = layer.space(layer.all(layer.columns))
        third = layer.all_rows(layer.units, layer.columns)
        self.of_n = layer.column_sums(third)

    def step(self, k: int, t: int, flow: Given, out: Place) -> list[Step]:
        layer = self.layer
        own: Given = {"before": layer.before, "sides": self.sides}
        given = {**flow, **layer.read(), **own}
        return [
            layer.call("gru_after_grad", c.GRU_AFTER_BACK, layer.units, t, given),
            self.back(self.sides, t, out),
        ]

    def end(self) -> list[Step]:
        layer = self.layer
        third = layer.of_step(self.sides, 0, layer.columns, 2 * layer.units)
        return [
            self.of_u((layer.before, self.sides), layer.results["u"]),
            self.of_n((third,), layer.results["n"]),
        ]


class GruBeforeCell(Cell):
    """``reset`` is r h of all steps, the left factor of the gradient of the third of u."""

    def prepare(self) -> None:
        super().prepare()
        layer = self.layer
        self.reset = layer.space(layer.all(layer.units))
        self.through = layer.space(layer.one(layer.units))
        self.times_gates = layer.times(2 * layer.units)
        self.times_third = layer.times(layer.units)
        self.third = layer.space(layer.units * layer.units * layer.item)
        self.of_third = layer.summed(layer.units, layer.units, layer.columns)

    def step(self, k: int, t: int, flow: Given, out: Place) -> list[Step]:
        layer, u = self.layer, self.layer.at["u"].index
        rows = layer.of_step(layer.das, t, layer.columns)
        third = layer.of_step(layer.das, t, layer.columns, 2 * layer.units)
        own: Given = {"before": layer.before}
        read = {**layer.read(), **own, **layer.carrying, "product": self.through, "reset": self.reset}
        return [
            layer.call("gru_grad", c.GRU_BACK, layer.units, t, {**flow, **layer.read(), **own}),
            self.times_third((third, In(u, 2 * layer.units)), self.through),
            layer.call("gru_reset_grad", c.GRU_RESET_BACK, layer.units, t, read),
            self.times_gates((rows, In(u)), out),
        ]

    def end(self) -> list[Step]:
        layer = self.layer
        gradients = layer.of_step(layer.das, 0, layer.columns, 2 * layer.units)
        own: Given = {"x": self.third, "out": layer.results["u"]}
        return [
            *super().end(),
            self.of_third((self.reset, gradients), self.third),
            layer.over("gru_third", c.PUT, (layer.units, layer.units), own),
        ]


def _cell(layer: Backward) -> Cell:
    if isinstance(layer.p, GruGrad):
        return GruAfterCell(layer) if layer.p.reset_after else GruBeforeCell(layer)
    return LstmCell(layer) if layer.p.cells else Cell(layer)


@offers(RnnGrad)
@offers(LstmGrad)
@offers(GruGrad)
def gradient(p: Gradient, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    layer = Backward(p, operands, gpu)
    if (no := layer.refused(operands)) is not None:
        return no
    cell = _cell(layer)
    ends = Ends(layer)

    def steps() -> list[Step]:
        made: list[Step] = [*ends.before()]
        flow: Given = {"product": layer.at["dh"], "carried": None}
        for k in reversed(range(layer.steps)):
            t = layer.order[k]
            out: Place = layer.flow if k or layer.carry else layer.results["h0"]
            made += cell.step(k, t, {**flow, "dy": layer.at["dy"], **layer.carrying}, out)
            flow = {"product": out, "carried": layer.carry}
        return [*made, *ends.after(), *cell.end()]

    reads = frozenset(k for k, name in enumerate(p.given) if name not in ("b", "n"))
    return layer.offer(steps, layer.seconds(operands, layer.steps), reads=reads)


class Ends:
    """What comes before and behind the walk."""

    def __init__(self, layer: Backward) -> None:
        self.layer, count = layer, layer.batch * layer.steps
        gates = layer.all_rows(layer.columns)
        self.x: Place = layer.space(layer.all(layer.features)) if layer.p.masked else layer.at["x"]
        w = matrix(layer.dtype, layer.features, layer.columns)
        self.of_x = layer.product(gates, w, transpose_b=True)
        self.of_w = layer.summed(layer.features, layer.columns)
        self.of_b = layer.column_sums(gates)
        self.count = count

    def before(self) -> list[Step]:
        """The state before each step; x without what no step has seen."""
        layer = self.layer
        own: Given = {"h": layer.at["h0"], "y": layer.at["y"], "before": layer.before}
        made: list[Step] = [layer.call("states_before", c.BEFORE, layer.rows, 0, own)]
        if isinstance(self.x, Work):
            clean: Given = {"x": layer.at["x"], "out": self.x}
            made.append(layer.over("clean", c.CLEAN, (self.count, layer.features), clean))
        return made

    def after(self) -> list[Step]:
        layer, results = self.layer, self.layer.results
        made: list[Step] = [
            self.of_x((layer.das, layer.at["w"]), results["x"]),
            self.of_w((self.x, layer.das), results["w"]),
            self.of_b((layer.das,), results["b"]),
        ]
        if layer.carry is not None:
            own: Given = {"product": layer.flow, "carried": layer.carry, "out": results["h0"]}
            made.append(layer.call("flow_before", c.SUM, layer.rows, 0, own))
        return made
