"""Rnn, Lstm and Gru, step by step, and their gradients.

All of x is turned to time first, beside a column of ones: so one product with the weights and the bias below
them makes the input's share of the gates of all steps, and one in the gradient gives both their gradients.
A step is then one product with u, and pointwise calls over a few arrays that stay in the cache.  The gates
are activated where they lie: in the residual, or, where nobody wants that, in the place of one step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from cortex_compute.numpy_backend.backend import kernel, offers
from cortex_compute.numpy_backend.elementwise import BANDWIDTH, sequence
from cortex_compute.numpy_backend.matrix import PEAK
from cortex_compute.numpy_backend.memory import carve, scratch_size
from cortex_compute.numpy_backend.recurrence_cells import (
    Arrays,
    Call,
    Cell,
    GruCell,
    LstmCell,
    Memory,
    RnnCell,
    Sizes,
    flat,
)
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
from cortex_compute.protocol import Offer, Operand
from cortex_compute.types import TensorType, bool_

STEP = 2e-5  # seconds for the calls of one step

CELLS: dict[type[Recurrence], type[Cell]] = {
    Rnn: RnnCell, RnnGrad: RnnCell, Lstm: LstmCell, LstmGrad: LstmCell, Gru: GruCell, GruGrad: GruCell,
}  # fmt: skip


class Plan:
    """What a kernel and its gradient have in common."""

    def __init__(self, p: Recurrence, operands: Sequence[Operand]) -> None:
        self.p = p
        self.types = dict(zip(p.given, (o.type for o in operands)))
        self.s = s = Sizes(p, self.types)
        self.cell = CELLS[type(p)](p, s)
        self.kept = [s.all(*columns) for columns in self.cell.kept()]
        flags = [TensorType((s.steps, s.batch, 1), bool_)] * (2 * p.masked)
        self.sequence = [s.all(s.features + 1), *flags]
        self.weights = [s.type(s.gates, s.features + 1, s.units), s.type(s.gates, s.rows, s.units)]
        self.cost = p.flops(*self.types.values()) / PEAK + p.nbytes(*self.types.values()) / BANDWIDTH

    def turn(self, given: Arrays, memory: Memory) -> list[Call]:
        """Fills ``sequence``: x and ones; where a sequence has a step, and where it has none.

        x counts as 0 where there is no step, so that a NaN there stays unseen.
        """
        x, *flags = memory
        calls: list[Call] = [partial(np.copyto, x[..., :-1], given["x"].swapaxes(0, 1))]
        calls.append(partial(x[..., -1].fill, 1))
        if flags:
            calls.append(partial(np.copyto, flags[0][..., 0], given["mask"].T))
            calls.append(partial(np.logical_not, *flags))
            calls.append(partial(np.copyto, x, 0.0, where=flags[1]))
        return calls

    def gates_first(self, a: np.ndarray) -> np.ndarray:
        """(n, G H) as (G, n, H), in the same memory."""
        return a.reshape(*a.shape[:-1], self.s.gates, self.s.units).swapaxes(0, -2)

    def load(self, given: Mapping[str, Any], memory: Memory) -> list[Call]:
        """Fills ``weights``: w, with b below it if that is given, and u."""
        calls: list[Call] = [partial(np.copyto, memory[0][:, :-1], self.gates_first(given["w"]))]
        if given["b"] is not None:
            calls.append(partial(np.copyto, memory[0][:, -1], self.gates_first(given["b"])))
        return [*calls, partial(np.copyto, memory[1], self.gates_first(given["u"]))]


def _groups(arrays: Memory, parts: Sequence[Sequence[TensorType]]) -> list[list[np.ndarray]]:
    """Arrays in the groups that their types came in."""
    each = iter(arrays)
    return [[next(each) for _ in part] for part in parts]


@offers(Rnn)
@offers(Lstm)
@offers(Gru)
def forward(p: Recurrence, operands: Sequence[Operand]) -> Offer:
    plan = Plan(p, operands)
    s, cell = plan.s, plan.cell
    others = {k: plan.types[k] for k in ("n", "p") if k in plan.types}
    single = [s.step(*columns) for columns in cell.kept()]  # of one step, where the residual is not wanted
    parts = [
        plan.sequence, plan.weights, list(others.values()), [s.step(s.rows)] * 2,
        [s.step(s.units)], single, single, cell.scratch(),
    ]  # fmt: skip
    scratch = [t for part in parts for t in part]

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Callable[[], None]:
        given = dict(zip(p.given, inputs))
        memory = _groups(carve(workspace, scratch), parts)
        sequences, (wb, u), copies, states, (start,), *singles, spare = memory
        x, skipped = sequences[0], sequences[2] if p.masked else None
        y, *ends, residual = outputs
        calls = plan.turn(given, sequences) + plan.load(given, (wb, u))
        halves = [a[gates] for gates in cell.sigmoids for a in (wb, u)]
        calls += [partial(np.multiply, a, 0.5, a) for a in halves]
        calls += [partial(np.copyto, a, given[name]) for a, name in zip(copies, others)]
        calls.append(partial(np.copyto, states[0], given["h0"]))
        if p.cells:
            calls.append(partial(np.copyto, start, given["c0"]))
        kept = None if residual is None else carve(residual, plan.kept)
        if kept is not None:
            calls.append(partial(np.matmul, flat(x), wb, flat(kept[0])))
        w, last = {"u": u, **dict(zip(others, copies))}, [start, start]
        for k, t in enumerate(s.order):
            h, out = states[k % 2], states[1 - k % 2]
            if kept is not None:
                now = [_at(a, t) for a in kept]
            else:
                now = singles[k % 2]
                calls.append(partial(np.matmul, x[t], wb, now[0]))
            calls += cell.forward(w, spare, now, last, h, out)
            pairs = [(out, h), (now[-1], last[-1])][: 1 + p.cells]
            calls += _unless(skipped, t, pairs)
            if y is not None:
                calls += [partial(np.copyto, y[:, t], out), *_unless(skipped, t, [(y[:, t], 0.0)])]
            last = now
        results = zip(ends, (states[s.steps % 2], last[-1]))
        calls += [partial(np.copyto, end, a) for end, a in results if end is not None]
        return sequence(calls)

    cost = plan.cost + STEP * s.steps
    return kernel(bound, workspace=scratch_size(scratch), residual=scratch_size(plan.kept), cost=cost)


def _at(a: np.ndarray, t: int) -> np.ndarray:
    """Step t of what is kept of all steps, (..., T, B, n)."""
    step: np.ndarray = a[..., t, :, :]
    return step


def _unless(skipped: np.ndarray | None, t: int, pairs: Sequence[tuple[np.ndarray, Any]]) -> list[Call]:
    """Calls that give each first array the value of the second, where sequences have no step t."""
    if skipped is None:
        return []
    return [partial(np.copyto, a, b, where=skipped[t]) for a, b in pairs]


@offers(RnnGrad)
@offers(LstmGrad)
@offers(GruGrad)
def gradient(p: Gradient, operands: Sequence[Operand]) -> Offer:
    plan = Plan(p, operands)
    s, cell = plan.s, plan.cell
    projection = [plan.types["p"]] if "p" in plan.types else []
    flowing = [s.step(s.rows), s.step(s.units)][: 1 + p.cells]
    parts = [
        plan.sequence, plan.weights, plan.weights, projection, flowing, flowing * p.masked,
        [s.all(s.rows), s.all(s.gates, s.units), s.step(s.gates, s.features), s.step(s.units)],
        cell.gradient_scratch(),
    ]  # fmt: skip
    scratch = [t for part in parts for t in part]

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Callable[[], None]:
        given = dict(zip(p.given, inputs))
        wanted = {name: out for name, out in zip(p.weights, outputs) if out is not None}
        memory = _groups(carve(workspace, scratch), parts)
        sequences, (wb, u), (dwb, du), projections, flows, held, rest, spare = memory
        before, das, shares, start = rest
        x, has, skipped = sequences if p.masked else (sequences[0], None, None)
        calls = plan.turn(given, sequences) + plan.load({**given, "b": None}, (wb, u))
        calls += [partial(np.copyto, a, given["p"]) for a in projections]
        calls += _states(s.order, given, before, skipped)
        flow = dict(zip(("h", "c"), flows))
        calls += [partial(np.copyto, d, given[f"d{name}"]) for name, d in flow.items()]
        if p.cells:
            calls.append(partial(np.copyto, start, given["c0"]))
        kept, w = carve(given["residual"], plan.kept), {"u": u, **dict(zip("p", projections))}
        for k in reversed(range(s.steps)):
            t = s.order[k]
            now, da = [_at(a, t) for a in kept], _at(das, t)
            last = [_at(a, s.order[k - 1]) for a in kept] if k else [start, start]
            here: Any = True if has is None else has[t]
            calls.append(partial(np.add, flow["h"], given["dy"][:, t], flow["h"], where=here))
            calls += [partial(np.copyto, a, d) for a, d in zip(held, flows)]
            calls += cell.backward(w, spare, t, now, last, before[t], {"a": da, **flow})
            nothing = [(a, 0.0) for a in (da, *cell.summed(spare, t))]
            calls += _unless(skipped, t, [*zip(flows, held), *nothing])
            if "x" in wanted:
                calls += cell.back(wb[:, :-1], da, shares, wanted["x"][:, t])
        calls += cell.products(spare, before, das, du, wanted)
        if "w" in wanted or "b" in wanted:
            calls.append(partial(np.matmul, flat(x).T, flat(das), dwb))
        made = {"w": dwb[:, :-1], "b": dwb[:, -1], "u": du}
        ends = [(plan.gates_first(wanted[k]), a) for k, a in made.items() if k in wanted]
        ends += [(wanted[f"{k}0"], d) for k, d in flow.items() if f"{k}0" in wanted]
        calls += [partial(np.copyto, out, a) for out, a in ends]
        return sequence(calls)

    reads = frozenset(k for k, name in enumerate(p.given) if name not in ("b", "n"))
    cost = plan.cost + 2 * STEP * s.steps
    return kernel(bound, workspace=scratch_size(scratch), reads=reads, cost=cost)


def _states(order: range, given: Arrays, before: np.ndarray, skipped: np.ndarray | None) -> list[Call]:
    """before[t] = the state before step t; y does not show it where a sequence had no step."""
    calls: list[Call] = [partial(np.copyto, before[order[0]], given["h0"])]
    for last, t in pairwise(order):
        calls.append(partial(np.copyto, before[t], given["y"][:, last]))
        calls += _unless(skipped, last, [(before[t], before[last])])
    return calls
