"""Rnn, Lstm and Gru, step by step, and their gradients.

All of x is turned to time first, beside a column of ones: so one product with the weights and the bias below
them makes the input's share of the gates of all steps, and one in the gradient gives both their gradients.
A step is then one product with u, and pointwise calls over a few arrays that stay in the cache.  The gates
are activated where they lie: in the residual, or, where nobody wants that, in the place of one step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        self.kept = [s.all(columns) for columns in self.cell.kept()]
        self.turned = [s.all(s.features + 1), *[TensorType((s.steps, s.batch, 1), bool_)] * (2 * p.masked)]
        self.cost = p.flops(*self.types.values()) / PEAK + p.nbytes(*self.types.values()) / BANDWIDTH

    def turn(self, given: Arrays, memory: Sequence[np.ndarray]) -> list[Call]:
        """Fills what ``turned`` describes: x and ones; where a sequence has a step, and where it has none.

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


@offers(Rnn)
@offers(Lstm)
@offers(Gru)
def forward(p: Recurrence, operands: Sequence[Operand]) -> Offer:
    plan = Plan(p, operands)
    s, cell = plan.s, plan.cell
    weights = {k: plan.types[k] for k in ("u", "n", "p") if k in plan.types}
    one = [s.step(t.shape[-1]) for t in plan.kept] * 2  # two, as a step reads what the last one left
    first = s.step(s.units)
    parts = [
        plan.turned, [s.matrix(s.features + 1, s.columns)], list(weights.values()),
        [s.step(s.rows)] * 2, [first], one, cell.scratch(),
    ]  # fmt: skip
    scratch = [t for part in parts for t in part]

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Callable[[], None]:
        given = dict(zip(p.given, inputs))
        turned, (wb,), copies, states, (start,), single, spare = _split(carve(workspace, scratch), parts)
        calls = plan.turn(given, turned) + _weights(cell, given, wb, copies, weights)
        w = dict(zip(weights, copies))
        kept = None if outputs[-1] is None else carve(outputs[-1], plan.kept)
        if kept is not None:
            calls.append(partial(np.matmul, flat(turned[0]), wb, flat(kept[0])))
        calls.append(partial(np.copyto, states[0], given["h0"]))
        last: list[Any] = [None, start]
        if p.cells:
            calls.append(partial(np.copyto, start, given["c0"]))
        for k, t in enumerate(s.order):
            half = len(single) // 2
            now = [a[t] for a in kept] if kept else single[:half] if k % 2 else single[half:]
            if kept is None:
                calls.append(partial(np.matmul, turned[0][t], wb, now[0]))
            h, out = states[k % 2], states[1 - k % 2]
            calls += cell.forward(w, spare, now, last, h, out)
            if p.masked:
                stays = [(out, h), (now[1], last[1])] if p.cells else [(out, h)]
                calls += [partial(np.copyto, a, b, where=turned[2][t]) for a, b in stays]
            if outputs[0] is not None:
                calls += _shown(outputs[0][:, t], out, turned[2][t] if p.masked else None)
            last = now
        ends = [states[s.steps % 2], last[1]] if p.cells else [states[s.steps % 2]]
        calls += [partial(np.copyto, out, end) for out, end in zip(outputs[1:-1], ends) if out is not None]
        return sequence(calls)

    residual = scratch_size(plan.kept)
    return kernel(bound, workspace=scratch_size(scratch), residual=residual, cost=plan.cost + STEP * s.steps)


def _split(arrays: Sequence[np.ndarray], parts: Sequence[Sequence[Any]]) -> list[list[np.ndarray]]:
    """Arrays in the groups that their types came in."""
    each = iter(arrays)
    return [[next(each) for _ in part] for part in parts]


def _weights(
    cell: Cell, given: Arrays, wb: np.ndarray, copies: Sequence[np.ndarray], names: Sequence[str] | Any
) -> list[Call]:
    """w above b, and u and others, row-major; halved where they make a sigmoid."""
    calls: list[Call] = [partial(np.copyto, wb[:-1], given["w"]), partial(np.copyto, wb[-1], given["b"])]
    calls += [partial(np.copyto, copy, given[name]) for name, copy in zip(names, copies)]
    for gates in cell.sigmoids:
        for a in (wb, copies[0]):
            part = a[:, cell.columns(gates)]
            calls.append(partial(np.multiply, part, 0.5, part))
    return calls


def _shown(y: np.ndarray, h: np.ndarray, skipped: np.ndarray | None) -> list[Call]:
    """y = h, and 0 where a sequence has no step."""
    calls: list[Call] = [partial(np.copyto, y, h)]
    return calls if skipped is None else [*calls, partial(np.copyto, y, 0.0, where=skipped)]


@offers(RnnGrad)
@offers(LstmGrad)
@offers(GruGrad)
def gradient(p: Gradient, operands: Sequence[Operand]) -> Offer:
    plan = Plan(p, operands)
    s, cell = plan.s, plan.cell
    weights = {k: plan.types[k] for k in ("w", "u", "p") if k in plan.types}
    flowing = [s.step(s.rows), s.step(s.units)][: 1 + p.cells]
    parts = [
        plan.turned, [s.matrix(s.features + 1, s.columns)], list(weights.values()),
        [s.all(s.rows), s.all(s.columns), s.step(s.units)],
        flowing * (1 + p.masked), cell.gradient_scratch(),
    ]  # fmt: skip
    scratch = [t for part in parts for t in part]

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Callable[[], None]:
        given = dict(zip(p.given, inputs))
        wanted = {name: out for name, out in zip(p.weights, outputs) if out is not None}
        memory = _split(carve(workspace, scratch), parts)
        turned, (dwb,), copies, (before, das, start), flows, spare = memory
        w = dict(zip(weights, copies))
        calls = plan.turn(given, turned)
        calls += [partial(np.copyto, copy, given[name]) for name, copy in w.items()]
        calls += _states(s.order, given, before, turned[2] if p.masked else None)
        flow = dict(zip(("h", "c"), flows[: len(flowing)]))
        held = flows[len(flowing) :]
        calls += [partial(np.copyto, d, given[f"d{name}"]) for name, d in flow.items()]
        if p.cells:
            calls.append(partial(np.copyto, start, given["c0"]))
        kept = carve(given["residual"], plan.kept)
        for k in reversed(range(s.steps)):
            t, da = s.order[k], das[s.order[k]]
            last: Any = [a[s.order[k - 1]] for a in kept] if k else [None, start]
            calls.append(_plus(flow["h"], given["dy"][:, t], turned[1][t] if p.masked else None))
            calls += [partial(np.copyto, a, d) for a, d in zip(held, flow.values())]
            now = [a[t] for a in kept]
            calls += cell.backward(w, spare, t, now, last, before[t], {"a": da, **flow})
            if p.masked:
                skipped = turned[2][t]
                calls += [partial(np.copyto, d, a, where=skipped) for a, d in zip(held, flow.values())]
                calls += [partial(np.copyto, a, 0.0, where=skipped) for a in (da, *cell.summed(spare, t))]
        calls += cell.products(spare, before, das, wanted)
        calls += _inputs(turned[0], das, w["w"], dwb, wanted)
        calls += [partial(np.copyto, wanted[f"{k}0"], d) for k, d in flow.items() if f"{k}0" in wanted]
        return sequence(calls)

    reads = frozenset(k for k, name in enumerate(p.given) if name not in ("b", "n"))
    seconds = plan.cost + 2 * STEP * s.steps
    return kernel(bound, workspace=scratch_size(scratch), reads=reads, cost=seconds)


def _states(order: range, given: Arrays, before: np.ndarray, skipped: np.ndarray | None) -> list[Call]:
    """before[t] = the state before step t; y does not show it where a sequence had no step."""
    calls: list[Call] = [partial(np.copyto, before[order[0]], given["h0"])]
    for last, t in pairwise(order):
        calls.append(partial(np.copyto, before[t], given["y"][:, last]))
        if skipped is not None:
            calls.append(partial(np.copyto, before[t], before[last], where=skipped[last]))
    return calls


def _plus(total: np.ndarray, g: np.ndarray, where: np.ndarray | None) -> Call:
    if where is None:
        return partial(np.add, total, g, total)
    return partial(np.add, total, g, total, where=where)


def _inputs(x: np.ndarray, da: np.ndarray, w: np.ndarray, dwb: np.ndarray, out: Arrays) -> list[Call]:
    """The gradients of w, b and x, whose turned form is written over."""
    calls: list[Call] = []
    if "w" in out or "b" in out:
        calls.append(partial(np.matmul, flat(x).T, flat(da), dwb))
        calls += [partial(np.copyto, out[k], d) for k, d in (("w", dwb[:-1]), ("b", dwb[-1])) if k in out]
    if "x" in out:
        turned = x.reshape(-1)[: da.shape[0] * da.shape[1] * len(w)].reshape(*da.shape[:2], len(w))
        calls.append(partial(np.matmul, flat(da), w.T, flat(turned)))
        calls.append(partial(np.copyto, out["x"], turned.swapaxes(0, 1)))
    return calls
