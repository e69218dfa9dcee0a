"""Fusions with patterns of their own: where they happen, where they must not, and that the numbers stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from cortex_compute.backends import get
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.normalization import BatchNormReluGrad
from cortex_compute.protocol import Offer, Operand, Refusal
from cortex_compute.types import TensorType, float64
from cortex_core.graph.plan import Plan
from cortex_core.graph.value import Graph, Value, constant, input_value
from cortex_core.ops import convolution, linear, normalization, pointwise, pooling, reduce
from cortex_core.ops.differentiate import differentiate
from cortex_core.program import Options, Program, compile_graph
from cortex_core.store import Store

RNG = np.random.default_rng(5)
NUMPY = get("numpy")
FUSED, PLAIN = Options(), Options(fusion=False)

Net = Callable[..., Any]  # of the named inputs: a number to differentiate


def numbers(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {name: RNG.standard_normal(shape) for name, shape in shapes.items()}


def graph_of(net: Net, given: dict[str, np.ndarray], *wanted: str) -> Graph:
    """The loss of a net, and its gradients by ``wanted``."""
    values = {name: input_value(name, TensorType(a.shape, float64)) for name, a in given.items()}
    loss = net(**values)
    gradients = differentiate([loss], [constant(np.ones(()))], [values[name] for name in wanted])
    return Graph(tuple(values.values()), {"loss": loss, **dict(zip(wanted, gradients))})


def run(
    graph: Graph, given: dict[str, np.ndarray], options: Options = FUSED
) -> tuple[dict[str, Any], Counter[str], Plan]:
    """The results, and how often each primitive is in the plan."""
    plan = compile_graph(graph, NUMPY, options)
    program = Program(plan, NUMPY, Store(NUMPY.devices()[0]), options=options)
    results = {name: r.numpy() for name, r in program.run(given).items()}
    return results, Counter(i.primitive.name for i in plan.instructions), plan


def compare(graph: Graph, given: dict[str, np.ndarray]) -> tuple[Counter[str], Plan]:
    """What the fused plan is made of, after a look that it gives the numbers of the plain one."""
    wanted, _, _ = run(graph, given, PLAIN)
    for options in (FUSED, Options(poison=True)):
        found, kinds, plan = run(graph, given, options)
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-12, err_msg=name)
    return kinds, plan


def check_slopes(net: Net, graph: Graph, given: dict[str, np.ndarray], *names: str) -> None:
    """The fused gradients against central differences of the loss, along one direction each."""
    found, _, _ = run(graph, given)
    only = graph_of(net, given)
    for name in names:
        direction, step = RNG.standard_normal(given[name].shape), 1e-6
        up, down = (
            float(run(only, {**given, name: given[name] + s * direction})[0]["loss"]) for s in (step, -step)
        )
        slope = (found[name] * direction).sum()
        np.testing.assert_allclose(slope, (up - down) / (2 * step), rtol=1e-5, atol=1e-7)


# Batch norm with ReLU.


def block(x: Any, w: Any, scale: Any, shift: Any, v: Any) -> Any:
    y, _, _ = normalization.batch_norm(convolution.conv(x, w, padding=1), scale, shift)
    return reduce.mean(pointwise.tanh(convolution.conv(pointwise.relu(y), v)))


BLOCK = numbers(x=(3, 6, 5, 2), w=(3, 3, 2, 7), scale=(7,), shift=(7,), v=(3, 3, 7, 4))


def test_a_relu_goes_into_the_batch_norm_before_it() -> None:
    graph = graph_of(block, BLOCK, *BLOCK)
    kinds, plan = compare(graph, BLOCK)
    assert kinds["BatchNormRelu"] == kinds["BatchNormReluGrad"] == 1
    assert kinds["BatchNorm"] == kinds["BatchNormGrad"] == 0
    assert not any("relu" in str(i.primitive) or "gt" in str(i.primitive) for i in plan.instructions)
    check_slopes(block, graph, BLOCK, *BLOCK)


def test_statistics_stay_readable_beside_the_relu() -> None:
    def net(x: Any, scale: Any, shift: Any) -> Any:
        y, mean, variance = normalization.batch_norm(x, scale, shift)
        statistics = constant(np.zeros(())) * reduce.sum(mean + variance)
        return reduce.mean(pointwise.relu(y) * x) + statistics

    given = numbers(x=(9, 4), scale=(4,), shift=(4,))
    plain = graph_of(net, given)
    kinds, _ = compare(plain, given)
    assert kinds["BatchNormRelu"] == 1


def second_reader(x: Any, scale: Any, shift: Any) -> Any:
    y, _, _ = normalization.batch_norm(x, scale, shift)
    return reduce.mean(pointwise.relu(y) * x + pointwise.tanh(y))


def one_gradient_for_all(x: Any, scale: Any, shift: Any) -> Any:
    y, _, _ = normalization.batch_norm(x, scale, shift)
    return reduce.mean(pointwise.relu(y))


def another_activation(x: Any, scale: Any, shift: Any) -> Any:
    y, _, _ = normalization.batch_norm(x, scale, shift)
    return reduce.mean(pointwise.maximum(y, 0.1 * y) * x)


@pytest.mark.parametrize("net", [second_reader, one_gradient_for_all, another_activation])
def test_a_batch_norm_is_left_alone(net: Net) -> None:
    """Its y is read by somebody else; the gradient of the ReLU is one number; the activation is no ReLU."""
    given = numbers(x=(9, 4), scale=(4,), shift=(4,))
    kinds, _ = compare(graph_of(net, given, *given), given)
    assert kinds["BatchNorm"] == kinds["BatchNormGrad"] == 1
    assert kinds["BatchNormRelu"] == kinds["BatchNormReluGrad"] == 0


class Recording:
    """NumPy without some primitives, and what it was asked for."""

    name = "recording"
    asynchronous = False

    def __init__(self, *refused: type[Primitive]) -> None:
        self.refused = refused
        self.asked: list[tuple[Primitive, Sequence[Operand]]] = []

    def offer(self, primitive: Primitive, operands: Sequence[Operand]) -> Offer | Refusal:
        self.asked.append((primitive, operands))
        return Refusal("no") if isinstance(primitive, self.refused) else NUMPY.offer(primitive, operands)


def test_both_are_fused_or_none() -> None:
    graph = graph_of(block, BLOCK, *BLOCK)
    plan = compile_graph(graph, Recording(BatchNormReluGrad), FUSED)
    kinds = Counter(i.primitive.name for i in plan.instructions)
    assert kinds["BatchNorm"] == kinds["BatchNormGrad"] == 1


def test_the_gradient_is_asked_with_the_residual_of_the_forward() -> None:
    backend = Recording()
    compile_graph(graph_of(block, BLOCK, *BLOCK), backend, FUSED)
    keys = [[o.layout.key for o in operands] for p, operands in backend.asked if type(p) is BatchNormReluGrad]
    assert keys
    assert all(found == ["", "", "", "", "", "numpy", ""] for found in keys)


# ReLU behind the pooling.


def pooled(x: Any, w: Any, bias: Any, size: int = 2, stride: int = 2, padding: int = 0) -> Any:
    y = pooling.max_pool(
        pointwise.relu(convolution.conv(x, w, padding=1) + bias), size, stride, padding, True
    )
    return reduce.mean(pointwise.tanh(y * y))


def overlapping(x: Any, w: Any, bias: Any) -> Any:
    return pooled(x, w, bias, 3, 2, 1)


POOLED = numbers(x=(2, 7, 6, 3), w=(3, 3, 3, 4), bias=(4,))


@pytest.mark.parametrize(("net", "shape"), [(pooled, (2, 4, 3, 4)), (overlapping, (2, 4, 4, 4))])
def test_a_relu_goes_behind_the_pooling(net: Net, shape: tuple[int, ...]) -> None:
    graph = graph_of(net, POOLED, *POOLED)
    kinds, plan = compare(graph, POOLED)
    assert kinds["MaxPool"] == kinds["MaxPoolGrad"] == 1
    found = [i.outputs[0].type.shape for i in plan.instructions if "relu" in str(i.primitive)]
    found += [i.outputs[0].type.shape for i in plan.instructions if "select" in str(i.primitive)]
    assert len(found) >= 2
    assert set(found) == {shape}
    check_slopes(net, graph, POOLED, *POOLED)


def maxima(x: Any, g: Any) -> Any:
    return reduce.sum(pooling.max_pool(pointwise.relu(x), 2) * g)


def agree(x: list[float], g: float = 3.0) -> tuple[float, list[float]]:
    """The loss and dx of one window of four, fused and plain; both must be the same."""
    given = {"x": np.reshape(x, (1, 2, 2, 1)), "g": np.full((1, 1, 1, 1), g)}
    graph = graph_of(maxima, given, "x")
    with np.errstate(all="ignore"):
        fused, kinds, plan = run(graph, given)
        plain, _, _ = run(graph, given, PLAIN)
    assert "relu" not in str(plan.instructions[0])
    assert kinds["MaxPoolGrad"] == 1
    np.testing.assert_array_equal(fused["x"], plain["x"])
    np.testing.assert_array_equal(fused["loss"], plain["loss"])
    return float(fused["loss"]), fused["x"].ravel().tolist()


INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("x", "largest", "winner"),
    [
        ([1, 2, 2, 1], 2, 1),
        ([0, -1, 0, -2], 0, None),
        ([-3, -1, -2, -5], 0, None),
        ([-INF, -INF, -INF, -INF], 0, None),
        ([-INF, 4, -INF, 4], 4, 1),
        ([INF, 4, INF, 4], INF, 0),
        ([NAN, -1, -2, -3], NAN, None),
        ([-1, NAN, -2, -3], NAN, None),
    ],
)
def test_the_same_element_wins_behind_the_pooling(x: list[float], largest: float, winner: int | None) -> None:
    loss, dx = agree(x)
    np.testing.assert_equal(loss, largest * 3.0)
    assert dx == [3.0 if i == winner else 0.0 for i in range(4)]


@pytest.mark.parametrize("g", [INF, NAN])
def test_a_gradient_that_is_no_number_goes_to_the_winner_alone(g: float) -> None:
    np.testing.assert_equal(agree([1, 2, 0, -1], g)[1], [0, g, 0, 0])
    np.testing.assert_equal(agree([-1, -2, -3, -1], g)[1], [0, 0, 0, 0])


def test_without_a_gradient_the_relu_stays_before_the_pooling() -> None:
    _, _, plan = run(graph_of(pooled, POOLED), POOLED)
    (conv,) = (i.primitive for i in plan.instructions if i.primitive.name == "Conv")
    assert "relu" in str(conv.epilogue)


def test_a_relu_that_somebody_else_reads_stays_before_the_pooling() -> None:
    def net(x: Any) -> Any:
        y = pointwise.relu(x)
        return reduce.sum(pooling.max_pool(y, 2)) + reduce.sum(y * y)

    given = numbers(x=(2, 4, 4, 3))
    _, plan = compare(graph_of(net, given, "x"), given)
    shapes = {i.outputs[0].type.shape for i in plan.instructions if "relu" in str(i.primitive)}
    assert shapes == {(2, 4, 4, 3)}


def test_the_batch_norm_comes_first() -> None:
    def net(x: Any, scale: Any, shift: Any) -> Any:
        y = pointwise.relu(normalization.batch_norm(x, scale, shift)[0])
        return reduce.mean(pointwise.tanh(pooling.max_pool(y, 2)))

    given = numbers(x=(3, 4, 4, 5), scale=(5,), shift=(5,))
    graph = graph_of(net, given, *given)
    kinds, _ = compare(graph, given)
    assert kinds["BatchNormReluGrad"] == kinds["MaxPoolGrad"] == 1
    check_slopes(net, graph, given, *given)


# Gradients of biases.


def test_a_bias_gradient_comes_from_the_kernel_of_the_weight_gradient() -> None:
    def net(x: Any, w: Any, b: Any, v: Any, c: Any) -> Any:
        y = pointwise.tanh(convolution.conv(x, w, padding=1) + b)
        return reduce.mean(pointwise.tanh(linear.matmul(y, v) + c))

    given = numbers(x=(3, 6, 5, 2), w=(3, 3, 2, 7), b=(7,), v=(7, 4), c=(4,))
    graph = graph_of(net, given, "w", "b", "v", "c")
    kinds, plan = compare(graph, given)
    assert kinds["Reduce"] == 1  # the loss
    fused = [i.primitive for i in plan.instructions if len(i.outputs) == 2]
    assert sorted(p.name for p in fused) == ["ConvKernelGrad", "Gemm"]
    check_slopes(net, graph, given, "w", "b", "v", "c")


def test_one_sum_serves_two_biases() -> None:
    def net(x: Any, w: Any, b: Any, v: Any, c: Any) -> Any:
        return reduce.mean(pointwise.tanh(linear.matmul(x, w) + b + (linear.matmul(x * x, v) + c)))

    given = numbers(x=(9, 3), w=(3, 4), b=(4,), v=(3, 4), c=(4,))
    kinds, plan = compare(graph_of(net, given, "w", "b", "v", "c"), given)
    assert kinds["Reduce"] == 1
    assert sum(len(i.outputs) == 2 for i in plan.instructions) == 1


def sums_and_product(between: Callable[[Value, Value], Value]) -> tuple[Counter[str], Plan]:
    given = numbers(x=(9, 3), g=(9, 3))
    x, g = (input_value(n, TensorType((9, 3), float64)) for n in given)
    total = reduce.sum(g, 0)
    product = linear.matmul(between(x, total), g, True)
    return compare(Graph((x, g), {"total": total, "product": product}), given)


def test_a_sum_that_the_product_depends_on_stays() -> None:
    kinds, _ = sums_and_product(lambda x, total: x)
    assert kinds == {"Gemm": 1}
    kinds, _ = sums_and_product(lambda x, total: x * total)
    assert kinds["Gemm"] == kinds["Reduce"] == 1


def test_other_sums_stay() -> None:
    given = numbers(x=(9, 3), g=(9, 4))
    x, g = (input_value(n, TensorType(a.shape, float64)) for n, a in given.items())
    outputs = {
        "product": linear.matmul(x, g, True),
        "rows": reduce.sum(g, 1),
        "all": reduce.sum(g),
        "mean": reduce.mean(g, 0),
        "kept": reduce.sum(g, 0, keepdims=True),
        "folded": reduce.sum(g.reshape(18, 2), 0),
    }
    kinds, _ = compare(Graph((x, g), outputs), given)
    assert kinds["Reduce"] == 5
    assert kinds["Gemm"] == 1
