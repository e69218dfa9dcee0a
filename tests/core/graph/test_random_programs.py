"""Random programs with gradients, views, concatenations and state updates: eager, planned and poisoned runs
agree.
"""

from __future__ import annotations

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
from cortex_core.ops.pointwise import isfinite
from cortex_core.program import Options, Program, compile_graph
from cortex_core.store import Store
from cortex_core.tensor import Tensor
from tests.core.graph.programs import COLUMNS, ROWS, run, start, steps

TYPE = TensorType((ROWS, COLUMNS), float64)
RATE = 0.05
STEPS = 3


def graph_of(program: list[tuple[str, int, int]], guarded: bool) -> Graph:
    """One training step: two states learn by gradient descent, a third keeps a moving mean of the first."""
    x, a, b, m = input_value("x", TYPE), *(state_value(n, TYPE) for n in ("a", "b", "m"))
    loss = run(program, [x, a, b])
    da, db = differentiate([loss], [constant(np.ones(()))], [a, b])
    updates = [Update(s, s - RATE * g) for s, g in ((a, da), (b, db)) if g is not None]
    updates.append(Update(m, m * 0.9 + a * 0.1))
    return Graph((x,), {"loss": loss}, tuple(updates), isfinite(loss) if guarded else None)


def eager(program: list[tuple[str, int, int]], seed: int, guarded: bool) -> list[np.ndarray]:
    """The same steps with Tensors."""
    x, a, b = start(seed, 3)
    m, losses = np.zeros((ROWS, COLUMNS)), []
    for _ in range(STEPS):
        ta, tb = Tensor(a, requires_grad=True), Tensor(b, requires_grad=True)
        loss = run(program, [Tensor(x), ta, tb])
        losses.append(loss.item())
        if guarded and not np.isfinite(loss.item()):  # the guard leaves every state as it was
            continue
        if loss.requires_grad:
            loss.backward()
        m = m * 0.9 + a * 0.1
        a = a if ta.grad is None else a - RATE * ta.grad.data
        b = b if tb.grad is None else b - RATE * tb.grad.data
    return [np.array(losses), a, b, m]


def planned(graph: Graph, seed: int, options: Options) -> list[np.ndarray]:
    """The steps by a program."""
    backend = get("numpy")
    store = Store(backend.devices()[0])
    program = Program(compile_graph(graph, backend, options), backend, store, options=options)
    x, a, b = start(seed, 3)
    for name, value in (("a", a), ("b", b)):
        store.ensure(name, TYPE)
        store.write(name, value)
    losses = [float(program.run({"x": x})["loss"]) for _ in range(STEPS)]
    return [np.array(losses), *(store.array(n).copy() for n in ("a", "b", "m"))]


@settings(max_examples=60, deadline=None)
@given(steps(), st.integers(0, 10), st.booleans())
def test_eager_planned_and_poisoned_agree(
    program: list[tuple[str, int, int]], seed: int, guarded: bool
) -> None:
    expected = eager(program, seed, guarded)
    graph = graph_of(program, guarded)
    for options in (
        Options(),
        Options(poison=True),
        Options(fusion=False),
        Options(fusion=False, poison=True),
        Options(pooling=False, fusion=False),
    ):
        for got, want in zip(planned(graph, seed, options), expected):
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12, err_msg=str(options))


@settings(max_examples=60, deadline=None)
@given(steps(), st.booleans())
def test_no_value_is_overwritten_while_it_is_needed(
    program: list[tuple[str, int, int]], guarded: bool
) -> None:
    backend = get("numpy")
    graph = simplify(graph_of(program, guarded))
    assert check(graph, backend) == []
    assert check(fuse(graph, backend), backend) == []


@pytest.mark.slow
@settings(max_examples=1500, deadline=None)
@given(steps(), st.integers(0, 1000), st.booleans())
def test_many_more(program: list[tuple[str, int, int]], seed: int, guarded: bool) -> None:
    expected = eager(program, seed, guarded)
    graph = graph_of(program, guarded)
    for options in (Options(poison=True), Options(fusion=False, poison=True)):
        for got, want in zip(planned(graph, seed, options), expected):
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
