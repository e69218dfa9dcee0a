"""Random programs of every family of ops, with gradients: eager, planned and poisoned runs agree.

Their states are swapped, shared, shifted and shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cortex_compute.backends import get
from cortex_compute.types import TensorType, float64
from cortex_core.graph.check import check
from cortex_core.graph.fuse import fuse
from cortex_core.graph.simplify import simplify
from cortex_core.graph.value import Graph, Update, constant, input_value, state_value
from cortex_core.ops.differentiate import differentiate
from cortex_core.ops.indexing import concatenate
from cortex_core.ops.pointwise import isfinite, logical_and, tanh
from cortex_core.ops.views import flip
from cortex_core.program import Options, Program, compile_graph
from cortex_core.store import Store
from cortex_core.tensor import Tensor
from tests.core.graph.programs import COLUMNS, ROWS, Step, run, start, steps
from tests.thorough import THOROUGH

TYPE = TensorType((ROWS, COLUMNS), float64)
RATE = 0.05
STEPS = 3
STATES = "abmn"

# What m and n become, of the states, the last value and the new a.
OTHERS: dict[str, Callable[[dict[str, Any], Any, Any], tuple[Any, Any]]] = {
    "mean": lambda s, last, new: (s["m"] * 0.9 + s["a"] * 0.1, s["n"] + s["m"]),
    "swap": lambda s, last, new: (s["n"], s["m"]),
    "shown": lambda s, last, new: (last, flip(s["n"], 0)),
    "shared": lambda s, last, new: (new, new),
    "shift": lambda s, last, new: (last * 0.1, concatenate([s["n"][1:], last[:1] * 0.1], 0)),
    "turn": lambda s, last, new: (s["m"], concatenate([tanh(s["n"][2:]), s["n"][:2] * 1.0], 0)),
}


class Case(NamedTuple):
    """A program, what the states become, which of them unguarded, and the loss from which the guard holds."""

    program: list[Step]
    others: str
    unguarded: str = ""
    limit: float | None = None


cases = st.builds(
    Case,
    steps(),
    st.sampled_from(list(OTHERS)),
    st.sets(st.sampled_from(STATES)).map("".join),
    st.sampled_from([None, 1.0, 0.3, 0.1]),
)


def training(case: Case, x: Any, s: dict[str, Any], one: Any) -> tuple[Any, Any, dict[str, Any]]:
    """The loss, the last value and the new states: a and b learn by gradient descent."""
    loss, last = run(case.program, [x, s["m"], s["a"], s["b"]])
    wanted = [s["a"], s["b"]]
    gradients = differentiate([loss], [one], wanted)
    a, b = (v if g is None else v - RATE * g for v, g in zip(wanted, gradients))
    m, n = OTHERS[case.others](s, last, a)
    return loss, last, {"a": a, "b": b, "m": m, "n": n}


def graph_of(case: Case) -> Graph:
    x, s = input_value("x", TYPE), {name: state_value(name, TYPE) for name in STATES}
    loss, last, new = training(case, x, s, constant(np.ones(())))
    updates = tuple(Update(s[name], new[name], name not in case.unguarded) for name in STATES)
    predicate = None if case.limit is None else logical_and(isfinite(loss), loss < case.limit)
    return Graph((x,), {"loss": loss, "last": last, "m": s["m"]}, updates, predicate)


def eager(case: Case, seed: int) -> list[np.ndarray]:
    """All that the runs show, and the states in the end."""
    x, *numbers = start(seed, 1 + len(STATES))
    states, shown = dict(zip(STATES, numbers)), []
    for _ in range(STEPS):
        s = {name: Tensor(a, requires_grad=name in "ab") for name, a in states.items()}
        loss, last, new = training(case, Tensor(x), s, Tensor(np.ones(())))
        shown += [loss.data, last.data, states["m"]]
        good = case.limit is None or loss.item() < case.limit
        states = {name: new[name].data if good or name in case.unguarded else states[name] for name in STATES}
    return [*shown, *states.values()]


def planned(graph: Graph, seed: int, options: Options) -> list[np.ndarray]:
    """The same by a program."""
    backend = get("numpy")
    store = Store(backend.devices()[0])
    program = Program(compile_graph(graph, backend, options), backend, store, options=options)
    x, *numbers = start(seed, 1 + len(STATES))
    for name, value in zip(STATES, numbers):
        store.ensure(name, TYPE)
        store.write(name, value)
    shown = []
    for _ in range(STEPS):
        results = program.run({"x": x})
        shown += [results[name].numpy() for name in ("loss", "last", "m")]
    return [*shown, *(store.array(name) for name in STATES)]


def agree(case: Case, seed: int, *every: Options) -> None:
    with np.errstate(all="ignore"):
        expected = eager(case, seed)
    graph = graph_of(case)
    for options in every:
        for got, want in zip(planned(graph, seed, options), expected):
            np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-10, err_msg=str(options))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(cases, st.integers(0, 10))
def test_eager_planned_and_poisoned_agree(case: Case, seed: int) -> None:
    agree(
        case,
        seed,
        Options(),
        Options(poison=True),
        Options(fusion=False),
        Options(fusion=False, poison=True),
        Options(pooling=False, fusion=False),
    )


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(cases)
def test_no_value_is_overwritten_while_it_is_needed(case: Case) -> None:
    backend = get("numpy")
    graph = simplify(graph_of(case))
    assert check(graph, backend) == []
    assert check(fuse(graph, backend), backend) == []


@pytest.mark.slow
@settings(max_examples=1500 if THOROUGH else 200, deadline=None)
@given(cases, st.integers(0, 1000))
def test_many_more(case: Case, seed: int) -> None:
    agree(case, seed, Options(poison=True), Options(fusion=False, poison=True))
