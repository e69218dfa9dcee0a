"""What the planner promises: buffers shared, states written in place, parts computed where they are read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from cortex_compute.backends import get
from cortex_compute.errors import ShapeError
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.elementwise import Copy
from cortex_compute.protocol import Offer, Operand, Refusal
from cortex_compute.types import TensorType, bool_
from cortex_core.graph.check import violations
from cortex_core.graph.memory import Planner, Slot, make_plan, materialize
from cortex_core.graph.schedule import schedules
from cortex_core.graph.value import Graph, Update, Value, constant, input_value, state_value
from cortex_core.ops import indexing, linear, pointwise, pooling, reduce, views
from cortex_core.ops.differentiate import differentiate
from cortex_core.program import Options, Program, compile_graph
from cortex_core.store import Store


def copies(plan: object) -> int:
    return sum(isinstance(i.primitive, Copy) for i in plan.instructions)  # type: ignore[attr-defined]


def run_once(
    graph: Graph, inputs: dict[str, np.ndarray], states: dict[str, np.ndarray]
) -> tuple[dict, Store]:
    backend = get("numpy")
    store = Store(backend.devices()[0])
    program = Program(
        compile_graph(graph, backend, Options(poison=True)), backend, store, options=Options(poison=True)
    )
    for name, value in states.items():
        store.write(name, value)
    return {k: np.asarray(v) for k, v in program.run(inputs).items()}, store


def test_a_chain_needs_two_buffers() -> None:
    x = input_value("x", TensorType((8, 16)))
    y = x
    for i in range(6):
        y = linear.matmul(y, state_value(f"w{i}", TensorType((16, 16))))
    plan = compile_graph(Graph((x,), {"y": y}), get("numpy"))
    assert plan.arena == 2 * 8 * 16 * 4


def test_two_states_that_swap_get_exactly_one_copy_more() -> None:
    a, b = (state_value(n, TensorType((5,))) for n in "ab")
    graph = Graph((), {}, (Update(a, b), Update(b, a)))
    plan = compile_graph(graph, get("numpy"))
    # Two new values, and one of them has to wait aside until the old one has been read.
    assert copies(plan) == 3
    _, store = run_once(graph, {}, {"a": np.arange(5.0), "b": -np.arange(5.0)})
    np.testing.assert_array_equal(store.array("a"), -np.arange(5.0))
    np.testing.assert_array_equal(store.array("b"), np.arange(5.0))


def test_new_states_are_written_over_the_old_ones() -> None:
    x = input_value("x", TensorType((8, 4)))
    w, m = (state_value(n, TensorType((4, 4))) for n in "wm")
    loss = reduce.mean(pointwise.tanh(linear.matmul(x, w)))
    (g,) = differentiate([loss], [constant(np.ones((), np.float32))], [w])
    new_m = m * 0.9 + g
    plan = compile_graph(
        Graph((x,), {"loss": loss}, (Update(w, w - 0.1 * new_m), Update(m, new_m))), get("numpy")
    )
    assert copies(plan) == 0
    written = {o.buffer for i in plan.instructions for o in i.outputs}
    assert {"state:w", "state:m"} <= written


def test_parts_of_a_flat_concatenation_are_computed_in_it() -> None:
    x = input_value("x", TensorType((8, 4)))
    w, v = state_value("w", TensorType((4, 6))), state_value("v", TensorType((6, 2)))
    loss = reduce.sum(pointwise.tanh(linear.matmul(pointwise.relu(linear.matmul(x, w)), v)))
    gradients = differentiate([loss], [constant(np.ones((), np.float32))], [w, v])
    flat = indexing.concatenate([views.reshape(g, (-1,)) for g in gradients], 0)
    plan = compile_graph(Graph((x,), {"flat": flat}), get("numpy"))
    assert copies(plan) == 0
    assert not any(i.primitive.name == "Concatenate" for i in plan.instructions)


def test_a_part_that_appears_twice_is_copied() -> None:
    x = input_value("x", TensorType((3,)))
    y = pointwise.exp(x)
    graph = Graph((x,), {"out": indexing.concatenate([y, y, x], 0)})
    given = np.array([0.0, 1.0, 2.0], np.float32)
    results, _ = run_once(graph, {"x": given}, {})
    np.testing.assert_allclose(
        results["out"], np.concatenate([np.exp(given), np.exp(given), given]), rtol=1e-6
    )


def test_the_value_check_sees_every_wrong_merge() -> None:
    """Slots are merged by force, one pair after the other, whenever both are alive: each time the check
    speaks.
    """
    x = input_value("x", TensorType((8, 8)))
    y = x
    for i in range(5):
        y = pointwise.tanh(linear.matmul(y, state_value(f"w{i}", TensorType((8, 8))))) + y
    graph = materialize(Graph((x,), {"y": y}))
    backend = get("numpy")
    schedule = schedules(graph)[0]
    right = Planner(graph, backend, schedule, pooling=True)
    assert violations(right, right.plan()) == []
    pairs = 0
    names = list(right.slots)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            planner = Planner(graph, backend, schedule, pooling=True)
            plan = planner.plan()
            first, second = planner.slots[a].root()[0], planner.slots[b].root()[0]
            if first is second or not _both_alive(planner, first, second):
                continue
            second.offset = first.offset
            pairs += 1
            assert violations(planner, plan), f"{a} and {b} share memory unseen"
    assert pairs > 10


def _both_alive(planner: Planner, a: Slot, b: Slot) -> bool:
    """Alive together for longer than the moment in which one is made from the other."""
    return a.start < b.end and b.start < a.end


def test_switching_off_pooling_gives_each_value_its_own_memory() -> None:
    x = input_value("x", TensorType((64,)))
    y = pointwise.exp(pointwise.tanh(reduce.sum(x) + x))
    plan = make_plan(Graph((x,), {"y": y}), get("numpy"), pooling=False)
    places = [o.offset for i in plan.instructions for o in i.outputs]
    assert len(set(places)) == len(places)


def test_a_symbolic_value_has_no_number() -> None:
    x = input_value("x", TensorType(()))
    with pytest.raises(TypeError, match="no number yet"):
        bool(x)
    with pytest.raises(TypeError, match="no number yet"):
        float(Value(x.node))


class Recording:
    """NumPy, and the layouts that it was asked with."""

    name = "recording"

    def __init__(self) -> None:
        self.good, self.keys = get("numpy"), {}

    def offer(self, primitive: Primitive, operands: Sequence[Operand]) -> Offer | Refusal:
        self.keys[primitive.name] = [o.layout.key for o in operands]
        return self.good.offer(primitive, operands)


def test_a_gradient_is_asked_with_the_layout_of_the_forwards_residual() -> None:
    x = input_value("x", TensorType((2, 4, 4, 3)))
    loss = reduce.sum(pointwise.tanh(pooling.max_pool(x, 2)))
    (g,) = differentiate([loss], [constant(np.ones((), np.float32))], [x])
    backend = Recording()
    make_plan(Graph((x,), {"g": g}), backend)
    assert backend.keys["MaxPoolGrad"] == ["", "", "numpy", ""]


FOUR = TensorType((4,))


def test_an_output_shows_the_state_as_it_was_before_the_run() -> None:
    a = state_value("a", FOUR)
    graph = Graph((), {"old": a, "turned": a[::-1]}, (Update(a, a + 1.0),))
    results, store = run_once(graph, {}, {"a": np.arange(4.0)})
    np.testing.assert_array_equal(results["old"], np.arange(4.0))
    np.testing.assert_array_equal(results["turned"], np.arange(4.0)[::-1])
    np.testing.assert_array_equal(store.array("a"), np.arange(4.0) + 1)


def test_a_predicate_that_is_a_state_is_read_before_it_changes() -> None:
    go, b = state_value("go", TensorType((), bool_)), state_value("b", FOUR)
    updates = Update(go, pointwise.logical_not(go), guarded=False), Update(b, b + 1.0)
    _, store = run_once(Graph((), {}, updates, go), {}, {"go": np.array(True)})
    np.testing.assert_array_equal(store.array("b"), np.ones(4))
    assert not store.array("go")


@pytest.mark.parametrize("good", [True, False])
def test_guarded_updates_read_what_an_unguarded_one_is_about_to_change(good: bool) -> None:
    x, a, b = input_value("x", TensorType(())), state_value("a", FOUR), state_value("b", FOUR)
    updates = Update(a, a + 1.0, guarded=False), Update(b, b + a)
    graph = Graph((x,), {"x": x * 1.0}, updates, pointwise.isfinite(x))
    _, store = run_once(graph, {"x": np.float32(1 if good else np.nan)}, {"a": np.arange(4.0)})
    np.testing.assert_array_equal(store.array("a"), np.arange(4.0) + 1)
    np.testing.assert_array_equal(store.array("b"), np.arange(4.0) * good)


def test_a_state_has_one_new_value_of_its_own_type() -> None:
    a = state_value("a", FOUR)
    with pytest.raises(ValueError, match="have several: a"):
        Graph((), {}, (Update(a, a + 1.0), Update(a, a * 2.0)))
    with pytest.raises(ShapeError, match=r"state a is float32\[4\], its new value is float32\[\]"):
        Update(a, reduce.sum(a))
