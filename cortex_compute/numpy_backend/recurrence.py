"""Rnn, Lstm and Gru, step by step, and their gradients.

All of x is turned to time first, beside a column of ones: so one product with the weights and the bias below
them makes the input's share of the gates of all steps, and one in the gradient gives both their gradients.
A step is then one product with u, and pointwise calls over a few arrays that stay in the cache.  The gates
are activated where they lie: in the residual, or, where nobody wants that, in the place of one step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
        self.others = {k: self.types[k] for k in ("n", "p") if k in self.types}
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
        """Fills ``weights``: w with b below it, and u."""
        places = {"w": memory[0][:, :-1], "b": memory[0][:, -1], "u": memory[1]}
        return _copies((a, self.gates_first(given[k])) for k, a in places.items())


Parts = Mapping[str, Sequence[TensorType]]
Memories = dict[str, list[np.ndarray]]


def _carved(workspace: Any, parts: Parts) -> Memories:
    each = iter(carve(workspace, [t for part in parts.values() for t in part]))
    return {name: [next(each) for _ in part] for name, part in parts.items()}


def _size(parts: Parts) -> int:
    return sum(map(scratch_size, parts.values()))


def _at(a: np.ndarray, t: int) -> np.ndarray:
    """Step t of what is kept of all steps, (..., T, B, n)."""
    step: np.ndarray = a[..., t, :, :]
    return step


def _copies(pairs: Iterable[tuple[Any, Any]]) -> list[Call]:
    """Calls that give each first array the value of the second; None is left out."""
    return [partial(np.copyto, a, b) for a, b in pairs if a is not None]


def _unless(skipped: np.ndarray | None, t: int, pairs: Iterable[tuple[np.ndarray, Any]]) -> list[Call]:
    """The same where sequences have no step t."""
    return [] if skipped is None else [partial(np.copyto, a, b, where=skipped[t]) for a, b in pairs]


@offers(Rnn)
@offers(Lstm)
@offers(Gru)
def forward(p: Recurrence, operands: Sequence[Operand]) -> Offer:
    plan = Plan(p, operands)
    s, cell = plan.s, plan.cell
    single = [s.step(*columns) for columns in cell.kept()]  # of one step, where the residual is not wanted
    parts = {
        "sequence": plan.sequence, "weights": plan.weights, "others": list(plan.others.values()),
        "h": [s.step(s.rows)] * 2, "c": [s.step(s.units)], "even": single, "odd": single,
        "scratch": cell.scratch(),
    }  # fmt: skip

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Callable[[], None]:
        given, memory = dict(zip(p.given, inputs)), _carved(workspace, parts)
        y, *ends, residual = outputs
        x, skipped = memory["sequence"][0], memory["sequence"][2] if p.masked else None
        wb, u = memory["weights"]
        w, states, last = dict(zip(("u", *plan.others), (u, *memory["others"]))), memory["h"], memory["c"]
        calls = _begin(plan, given, memory)
        kept = None if residual is None else carve(residual, plan.kept)
        if kept is not None:
            calls.append(partial(np.matmul, flat(x), wb, flat(kept[0])))
        for k, t in enumerate(s.order):
            h, out = states[k % 2], states[1 - k % 2]
            if kept is not None:
                now = [_at(a, t) for a in kept]
            else:
                now = memory["odd" if k % 2 else "even"]
                calls.append(partial(np.matmul, x[t], wb, now[0]))
            calls += cell.forward(w, memory["scratch"], now, last, h, out)
            calls += _unless(skipped, t, [(out, h), (now[-1], last[-1])][: 1 + p.cells])
            if y is not None:
                calls += [partial(np.copyto, y[:, t], out), *_unless(skipped, t, [(y[:, t], 0.0)])]
            last = now
        return sequence(calls + _copies(zip(ends, (states[s.steps % 2], last[-1]))))

    cost = plan.cost + STEP * s.steps
    return kernel(bound, workspace=_size(parts), residual=scratch_size(plan.kept), cost=cost)


def _begin(plan: Plan, given: Arrays, memory: Memories) -> list[Call]:
    """What comes before the first step forward; weights that make a sigmoid of tanh are halved."""
    calls = plan.turn(given, memory["sequence"]) + plan.load(given, memory["weights"])
    halves = [a[gates] for gates in plan.cell.halved for a in memory["weights"]]
    calls += [partial(np.multiply, a, 0.5, a) for a in halves]
    calls += _copies((a, given[name]) for a, name in zip(memory["others"], plan.others))
    calls.append(partial(np.copyto, memory["h"][0], given["h0"]))
    return calls + _copies([(memory["c"][0], given["c0"])] if plan.p.cells else [])


@offers(RnnGrad)
@offers(LstmGrad)
@offers(GruGrad)
def gradient(p: Gradient, operands: Sequence[Operand]) -> Offer:
    plan = Plan(p, operands)
    s, cell = plan.s, plan.cell
    flowing = [s.step(s.rows), s.step(s.units)][: 1 + p.cells]
    parts = {
        "sequence": plan.sequence, "u": plan.weights[1:], "sums": plan.weights,
        "p": [t for k, t in plan.others.items() if k == "p"], "flows": flowing, "held": flowing * p.masked,
        "all": [s.all(s.rows), s.all(s.gates, s.units)], "x": [s.type(s.batch, s.steps, s.gates, s.units)],
        "c": [s.step(s.units)], "scratch": cell.gradient_scratch(),
    }  # fmt: skip

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Callable[[], None]:
        given, memory = dict(zip(p.given, inputs)), _carved(workspace, parts)
        wanted = {name: out for name, out in zip(p.weights, outputs) if out is not None}
        _, has, skipped = memory["sequence"] if p.masked else (None, None, None)
        (before, das), flows, spare = (memory[k] for k in ("all", "flows", "scratch"))
        kept, flow = carve(given["residual"], plan.kept), dict(zip("hc", flows))
        w = dict(zip("up", memory["u"] + memory["p"]))
        calls = _begin_back(plan, given, memory, skipped)
        for k in reversed(range(s.steps)):
            t = s.order[k]
            now, da, here = [_at(a, t) for a in kept], _at(das, t), True if has is None else has[t]
            last = [_at(a, s.order[k - 1]) for a in kept] if k else memory["c"]
            calls.append(partial(np.add, flow["h"], given["dy"][:, t], flow["h"], where=here))
            calls += _copies(zip(memory["held"], flows))
            calls += cell.backward(w, spare, t, now, last, before[t], {"a": da, **flow})
            calls += _unless(skipped, t, zip(flows, memory["held"]))
            calls += _unless(skipped, t, [(a, 0.0) for a in (da, *cell.summed(spare, t))])
        if "x" in wanted:
            calls += _back_to_x(das, memory["x"][0], given["w"], wanted["x"])
        return sequence(calls + _results(plan, memory, wanted))

    reads = frozenset(k for k, name in enumerate(p.given) if name not in ("b", "n"))
    return kernel(bound, workspace=_size(parts), reads=reads, cost=plan.cost + 2 * STEP * s.steps)


def _begin_back(
    plan: Plan, given: Mapping[str, Any], memory: Memories, skipped: np.ndarray | None
) -> list[Call]:
    """What comes before the first step backward.

    That is also the state before each step, in the first of ``all``: y does not show it where a sequence had
    no step.
    """
    calls = plan.turn(given, memory["sequence"])
    calls.append(partial(np.copyto, memory["u"][0], plan.gates_first(given["u"])))
    calls += _copies((a, given["p"]) for a in memory["p"])
    calls += _copies(zip(memory["flows"], (given["dh"], given.get("dc"))))
    calls += _copies([(memory["c"][0], given["c0"])] if plan.p.cells else [])
    before, order = memory["all"][0], plan.s.order
    calls.append(partial(np.copyto, before[order[0]], given["h0"]))
    for last, t in pairwise(order):
        calls.append(partial(np.copyto, before[t], given["y"][:, last]))
        calls += _unless(skipped, last, [(before[t], before[last])])
    return calls


def _back_to_x(das: np.ndarray, rows: np.ndarray, w: np.ndarray, dx: np.ndarray) -> list[Call]:
    """dx = da w^T, of all steps at once: da (G, T, B, H) comes into ``rows`` (B, T, G, H)."""
    count = rows.shape[0] * rows.shape[1]
    flat_rows, flat_dx = rows.reshape(count, w.shape[1]), dx.reshape(count, w.shape[0])
    turn = partial(np.copyto, rows, das.transpose(2, 1, 0, 3))
    return [turn, partial(np.matmul, flat_rows, w.T, flat_dx)]


def _results(plan: Plan, memory: Memories, wanted: Arrays) -> list[Call]:
    """What comes behind the last step backward: all gradients but that of x."""
    (dwb, du), (before, das) = memory["sums"], memory["all"]
    calls = plan.cell.products(memory["scratch"], before, das, du, wanted)
    if "w" in wanted or "b" in wanted:
        calls.append(partial(np.matmul, flat(memory["sequence"][0]).T, flat(das), dwb))
    made = {"w": dwb[:, :-1], "b": dwb[:, -1], "u": du}
    calls += _copies((plan.gates_first(wanted[k]), a) for k, a in made.items() if k in wanted)
    return calls + _copies((wanted.get(f"{k}0"), d) for k, d in zip("hc", memory["flows"]))
