"""Transposes move behind ops and cancel; operands that lie otherwise are copied where kernels gain by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cortex_compute.backends import get
from cortex_compute.primitives.elementwise import Copy
from cortex_compute.primitives.views import Transpose
from cortex_compute.types import TensorType, dtype
from cortex_core.graph.order import turn_inputs
from cortex_core.graph.simplify import simplify
from cortex_core.graph.value import Graph, constant, input_value
from cortex_core.ops.convolution import conv
from cortex_core.ops.differentiate import differentiate
from cortex_core.ops.indexing import concatenate
from cortex_core.ops.pointwise import relu, select
from cortex_core.ops.pooling import max_pool
from cortex_core.ops.reduce import argmax, mean
from cortex_core.ops.reduce import max as maximum_of
from cortex_core.ops.reduce import sum as total_of
from cortex_core.ops.views import reshape, transpose
from cortex_core.program import Options, Program, compile_graph
from cortex_core.store import Store
from cortex_core.tensor import Tensor

FIRST, LAST = (0, 3, 1, 2), (0, 2, 3, 1)  # to channels first, and back


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def first(x: Any) -> Any:
    return transpose(x, FIRST)


def last(x: Any) -> Any:
    return transpose(x, LAST)


# Over images (2, 3, 4, 5), channels last, and whether every transpose goes away.
FORMULAS: dict[str, tuple[Callable[[Any], Any], bool]] = {
    "pointwise": (lambda x: last(relu(first(x)) * 2.0), True),
    "two": (lambda x: last(first(x) + first(x * x)), True),
    "channel": (lambda x: last(first(x) * numbers(5, 1, 1)), True),
    "channel with batch": (lambda x: last(first(x) * numbers(1, 5, 1, 1)), True),
    "row": (lambda x: last(first(x) * numbers(4)), True),
    "map": (lambda x: last(first(x) * numbers(3, 4)), False),  # turned back: small, but a transpose
    "scalar": (lambda x: last(first(x) * numbers()), True),
    "one number": (lambda x: last(first(x) * numbers(1, 1, 1, 1)), True),
    "mask": (lambda x: last(select(numbers(2, 5, 3, 4) > 0, first(x), 0.0)), False),
    "tie": (lambda x: last(first(x) + numbers(2, 5, 3, 4)), False),
    "joined": (lambda x: last(concatenate([first(x), first(relu(x))], 1)), True),
    "joined with another": (lambda x: last(concatenate([first(x), numbers(2, 1, 3, 4)], 1)), False),
    "sum of channels": (lambda x: total_of(first(x), 1), True),
    "mean of space": (lambda x: mean(first(x), (2, 3)), True),
    "mean that keeps": (lambda x: mean(first(x), (2, 3), keepdims=True), True),
    "sum of all": (lambda x: total_of(first(x)), True),
    "largest": (lambda x: maximum_of(first(x), 1), True),
    "place": (lambda x: argmax(first(x), 1), True),
    "other order": (lambda x: total_of(first(x), 0), False),  # (5, 3, 4) is not (3, 4, 5)
    "two orders": (lambda x: transpose(x, (3, 0, 1, 2)) + reshape(first(x), (5, 2, 3, 4)), False),
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("backend", ["numpy", "auto"])
def test_transposes_move_and_change_nothing(name: str, backend: str) -> None:
    formula, goes = FORMULAS[name]
    array = numbers(2, 3, 4, 5, seed=1)

    x = input_value("x", TensorType(array.shape, dtype("float64")))
    graph = Graph((x,), {"y": formula(x)})
    simple = simplify(graph)
    if goes:
        assert not any(isinstance(node.primitive, Transpose) for node in simple.nodes())
    again = simplify(simple)
    assert len(again.nodes()) == len(simple.nodes())  # it comes to an end
    expected = formula(Tensor(array)).data
    np.testing.assert_allclose(run(graph, backend, x=array), expected, rtol=1e-12)
    found = run(graph, backend, Options(fusion=False), x=array)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def run(graph: Graph, backend: str, options: Options = Options(), **inputs: np.ndarray) -> np.ndarray:  # noqa: B008
    engine = get(backend)
    program = Program(compile_graph(graph, engine, options), engine, Store(engine.devices()[0]))
    return program.run(inputs)["y"].numpy()


@pytest.mark.parametrize("fusion", [True, False])
@pytest.mark.parametrize("size", [6, 32])
def test_a_gradient_that_lies_otherwise_reaches_a_pool(size: int, fusion: bool) -> None:
    """What can read the residual of the forward wants its gradient row-major."""
    array = numbers(4, size, size, 16).astype(np.float32)
    weights = numbers(4, 16, size // 2, size // 2, seed=1).astype(np.float32)

    def loss(x: Any) -> Any:
        return total_of(first(max_pool(x, 2)) * weights)

    x = input_value("x", TensorType(array.shape))
    (g,) = differentiate([loss(x)], [constant(np.ones((), np.float32))], [x])
    eager = Tensor(array, requires_grad=True)
    loss(eager).backward()
    found = run(Graph((x,), {"y": g}), "auto", Options(fusion=fusion), x=array)
    assert eager.grad is not None
    np.testing.assert_array_equal(found, eager.grad.data)


@pytest.mark.parametrize("size", [6, 40])
def test_a_large_image_that_lies_otherwise_is_copied_once(size: int) -> None:
    images, kernel = numbers(4, 16, size, size).astype(np.float32), numbers(3, 3, 16, 16).astype(np.float32)

    def both(x: Any) -> Any:
        return conv(last(x), kernel) + conv(last(x), kernel * 2.0)

    x = input_value("x", TensorType(images.shape))
    graph = Graph((x,), {"y": both(x)})
    plan = compile_graph(graph, get("auto"))
    copies = [i for i in plan.instructions if i.primitive == Copy() and i.inputs[0].buffer == "input:x"]
    assert len(copies) <= 1
    np.testing.assert_allclose(run(graph, "auto", x=images), both(Tensor(images)).data, rtol=1e-3, atol=1e-3)


def test_inputs_are_given_as_all_their_readers_want_them() -> None:
    x, y, z = (input_value(name, TensorType((2, 3, 4, 5))) for name in "xyz")
    kernel = numbers(1, 1, 3, 6).astype(np.float32)
    outputs = {"x": conv(last(x), kernel), "y": conv(last(y), kernel), "y itself": y, "none": z}
    graph = Graph((x, y, z), outputs)
    turned, orders = turn_inputs(graph)
    assert orders == {"x": LAST}
    assert [v.shape for v in turned.inputs] == [(2, 4, 5, 3), (2, 3, 4, 5), (2, 3, 4, 5)]
    assert turned.outputs["x"].shape == graph.outputs["x"].shape


@pytest.mark.parametrize(
    ("shape", "formula"),
    [
        ((1, 3), lambda x: x.T * 2.0),  # turned, but nothing moves
        ((3, 1, 1), lambda x: transpose(x, (0, 2, 1)) * 2.0),
        ((1, 4), lambda x: concatenate([x.T * 1.0, x.T], 1)),
        ((3, 4), lambda x: x.T * numbers(1, 1, 1)),  # one number of more axes
        ((3, 4), lambda x: x.T * reshape(total_of(x), (1, 1, 1, 1))),
        ((1, 3, 4), lambda x: transpose(x, (0, 2, 1)) * transpose(total_of(x, (0, 1), True), (2, 1, 0))),
    ],
)
def test_axes_of_one_place(shape: tuple[int, ...], formula: Callable[[Any], Any]) -> None:
    array = numbers(*shape)
    x = input_value("x", TensorType(shape, dtype("float64")))
    found = run(Graph((x,), {"y": formula(x)}), "numpy", x=array)
    expected = formula(Tensor(array)).data
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-12)
