"""The graph of eager code as an object."""

from __future__ import annotations

import gc
import json
import weakref

import numpy as np
import pytest

from cortex_compute.errors import GradientError
from cortex_core.eager_graph import AutogradGraph, describe, graph_of
from cortex_core.ops.pointwise import pointwise
from cortex_core.tensor import Tensor, no_grad


def leaf(*numbers: float) -> Tensor:
    return Tensor(list(numbers), requires_grad=True)


def operations(x: Tensor) -> list[str]:
    return [node.operation for node in graph_of(x).topological()]


def by_hand() -> tuple[Tensor, Tensor]:
    """Two results, each an operand of the other."""
    a = leaf(1.0) * 2.0
    b = a + 1.0
    assert a.node is not None
    a.node.inputs = (b,)
    return a, b


# The picture.


def test_nodes_and_edges_of_a_worked_example() -> None:
    x, y = leaf(2.0, 3.0), leaf(4.0, 5.0)
    z = x * y + x**2
    graph = graph_of(z.sum(), names={"x": x, "y": y, "z": z})
    assert [(n.operation, n.name, n.shape) for n in graph] == [
        ("sum", "", ()),
        ("add", "z", (2,)),
        ("mul", "", (2,)),
        ("mul", "", (2,)),
        ("leaf", "x", (2,)),
        ("leaf", "y", (2,)),
    ]
    square, product = 2, 3  # the later one comes first
    assert {(e.source, e.target, e.argument) for e in graph.edges} == {
        *((1, 0, 0), (product, 1, 0), (square, 1, 1)),
        *((4, product, 0), (5, product, 1), (4, square, 0)),
    }
    assert graph.outputs == (0,)
    assert graph[square].detail == "a * a"
    assert graph[0].detail == "axes=(0,)"
    assert {n.dtype for n in graph} == {"float32"}
    assert len(graph) == 6
    assert repr(graph) == "<EagerGraph: operations 4, leaves 2, edges 6>"


def test_each_node_comes_before_what_it_was_computed_from() -> None:
    x = leaf(0.5)
    shared = x.exp()
    y = (shared * x + shared.sin()) * (shared - x)
    graph = graph_of(y)
    assert all(e.target < e.source for e in graph.edges)
    assert [n.id for n in graph.topological()] == list(range(len(graph)))


def test_only_what_an_output_depends_on_is_there() -> None:
    x = leaf(1.0)
    y = x.exp()
    other = y.sin()
    assert operations(y) == ["exp", "leaf"]
    assert operations(other) == ["sin", "exp", "leaf"]
    assert len(graph_of(y, other)) == 3
    assert graph_of(y, other).outputs == (1, 0)


def test_leaves_say_whether_they_have_gradients() -> None:
    graph = graph_of(leaf(1.0) * Tensor([2.0]))
    assert [n.requires_grad for n in graph if n.is_leaf] == [True, False]


def test_a_leaf_alone_is_a_graph() -> None:
    assert operations(leaf(1.0)) == ["leaf"]


def test_it_is_plain_data() -> None:
    data = graph_of((leaf(1.0, 2.0) * 3.0).sum()).to_dict()
    assert json.loads(json.dumps(data)) == data
    assert data["edges"][0] == {"source": 1, "target": 0, "argument": 0, "output": 0}
    assert data["nodes"][1]["operation"] == "mul"


def test_it_keeps_nothing_alive() -> None:
    gc.disable()
    try:
        x = leaf(1.0)
        loss = x.exp()
        node = weakref.ref(loss.node)
        graph = graph_of(loss, names={"x": x}, values=True)
        del loss
        assert node() is None
        assert len(graph) == 2
    finally:
        gc.enable()


def test_the_structure_stays_after_backward() -> None:
    x = leaf(2.0)
    loss = (x.exp() * x).sum()
    before = operations(loss)
    loss.backward()
    assert operations(loss) == before == ["sum", "mul", "exp", "leaf"]


def test_a_change_in_place_shows_what_it_was_computed_from() -> None:
    x = leaf(1.0)
    y = x.exp()
    z = y.sin()
    y += 1.0
    assert operations(z) == ["sin", "exp", "leaf"]
    assert operations(y) == ["add", "exp", "leaf"]


def test_values_and_gradients_where_they_are() -> None:
    x, w = leaf(2.0), leaf(-3.0)
    product = x * w
    product.retain_grad()
    loss = product * product
    loss.backward(retain_graph=True)
    told = {n.name: (n.value, n.gradient) for n in graph_of(loss, names={"p": product, "w": w}, values=True)}
    assert told["p"] == ("[-6.]", "[-12.]")
    assert told["w"] == ("[-3.]", "[-24.]")
    assert {n.value for n in graph_of(loss)} == {""}
    assert graph_of(Tensor(np.zeros(5)), values=True)[0].value == ""


def test_values_that_are_gone_are_left_out() -> None:
    x = leaf(2.0)
    loss = x.exp().sin()
    loss.backward()
    inner = graph_of(loss, values=True)[1]
    assert (inner.operation, inner.value) == ("exp", "")


def test_a_model_names_its_parameters() -> None:
    from cortex_core import nn

    model = nn.Linear(3, 2)
    graph = graph_of(model(Tensor(np.ones((4, 3), np.float32))).sum(), names=model.named_parameters())
    assert {n.name for n in graph if n.is_leaf} == {"weight", "bias", ""}


def test_other_things_are_refused() -> None:
    with pytest.raises(TypeError, match="graph_of takes Tensors, got float"):
        graph_of(1.0)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_chain_of_100000_operations() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    graph = graph_of(y)
    assert len(graph.topological()) == 100_001
    assert not graph.check_cycle()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda x: x @ x, ("matmul", "")),
        (lambda x: x.mean(), ("mean", "axes=(0, 1)")),
        (lambda x: x.reshape((4,)), ("reshape", "shape=(4,)")),
        (lambda x: 2.0 * x, ("mul", "2.0 * a")),
        (lambda x: x.log_softmax(-1), ("log_softmax", "")),
        (lambda x: x.relu(), ("relu", "")),
    ],
)
def test_operations_have_the_names_of_the_language(make: object, expected: tuple[str, str]) -> None:
    y = make(Tensor(np.ones((2, 2)), requires_grad=True))  # type: ignore[operator]
    assert describe(y.node.primitive) == expected


def test_fused_code_lists_its_instructions() -> None:
    y = pointwise(lambda a, b: 0.5 * a * (1 + b))(leaf(1.0), leaf(2.0))
    assert describe(y.node.primitive) == ("mul, add, mul", "(0.5 * a) * (1 + b)")


# A circle, made by hand.


def test_a_circle_is_found() -> None:
    _, b = by_hand()
    graph = graph_of(b)
    assert graph.check_cycle()
    assert len(graph) == 2
    with pytest.raises(RuntimeError, match=r"^Cycle detected in autograd graph$"):
        graph.topological()


def test_no_circle_is_seen_where_paths_meet_again() -> None:
    x = leaf(1.0)
    y = x.exp()
    assert graph_of(y * y + y).check_cycle() is False


# The context.


def test_a_context_collects_what_is_made_inside_and_gives_it_back() -> None:
    x = leaf(2.0)
    before = x.sin()
    with AutogradGraph(check_for_cycles=True, auto_cleanup=True) as graph:
        y = before.exp()
        loss = y * y
        with no_grad():
            loss.exp()
        assert [n.primitive.name for n in graph.nodes] == ["Elementwise"] * 2
        assert graph.check_cycle() is False
    with pytest.raises(GradientError, match="freed"):
        loss.backward()
    np.testing.assert_allclose(loss.numpy(), np.exp(2 * np.sin([2.0])), rtol=1e-6)
    before.backward()
    assert x.grad is not None


def test_backward_works_inside() -> None:
    x = leaf(3.0)
    with AutogradGraph():
        (x * x).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [6.0]


def test_without_cleanup_the_graph_stays() -> None:
    x = leaf(3.0)
    with AutogradGraph(auto_cleanup=False):
        y = x * x
    y.backward()
    assert x.grad is not None


def test_a_context_raises_for_a_circle_at_its_end() -> None:
    graph = AutogradGraph(check_for_cycles=True, auto_cleanup=True)
    graph.__enter__()
    _, b = by_hand()
    with pytest.raises(RuntimeError, match=r"^Cycle detected in autograd graph$"):
        graph.check_cycle()
    with pytest.raises(RuntimeError, match=r"^Cycle detected in autograd graph$"):
        graph.__exit__(None, None, None)
    with pytest.raises(GradientError, match="freed"):
        b.backward()


def test_a_circle_through_an_older_node_is_found() -> None:
    a = leaf(1.0).exp()
    assert a.node is not None
    with AutogradGraph() as graph:
        b = a.sin()
        old, a.node.inputs = a.node.inputs, (b,)
        with pytest.raises(RuntimeError, match="Cycle"):
            graph.check_cycle()
        a.node.inputs = old


def test_circles_are_not_looked_for_unasked() -> None:
    with AutogradGraph(check_for_cycles=False):
        by_hand()


def test_an_error_inside_goes_on_as_it_is() -> None:
    kept = []

    def fail() -> None:
        with AutogradGraph():
            kept.extend(by_hand())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with pytest.raises(GradientError, match="freed"):
        kept[1].backward()


def test_an_outer_context_sees_the_nodes_of_an_inner_one() -> None:
    x = leaf(1.0)
    with AutogradGraph() as outer:
        a = x.exp()
        with AutogradGraph() as inner:
            b = a.sin()
        c = a.cos()
        assert (len(outer), len(inner)) == (3, 1)
        with pytest.raises(GradientError, match="freed"):
            b.backward()
        c.backward()
    x.exp()
    assert len(outer) == 3


def test_a_context_keeps_nothing_alive() -> None:
    gc.disable()
    try:
        x = leaf(1.0)
        with AutogradGraph() as graph:
            for _ in range(100):
                y = x.exp()
            assert len(graph) == 1
            del y
            assert len(graph) == 0
    finally:
        gc.enable()


def test_the_tensors_walk_the_graph_themselves() -> None:
    x = leaf(1.0)
    y = x.exp()
    (child,) = y.children
    assert child is x
    assert (y.operation, x.operation, x.children) == ("Elementwise", "", ())
