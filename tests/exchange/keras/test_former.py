"""Layers that Keras 1 alone had, beside their formulas in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import SpecError
from cortex_core.exchange.keras.config import read_model
from cortex_core.exchange.keras.convert import convert
from cortex_core.exchange.keras.model import File
from tests.exchange.keras.configs import entry, given, graph, listed
from tests.exchange.keras.test_keras1 import converted_of, predicted

RNG = np.random.default_rng(4)
X = RNG.normal(size=(6, 5))
DENSE = {
    "init": "uniform",
    "activation": "tanh",
    "W_regularizer": {"name": "l2", "l2": 0.1},
    "bias": True,
    "input_dim": 5,
}


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [RNG.normal(size=shape).astype(np.float32) for shape in shapes]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def close(found: np.ndarray, right: np.ndarray) -> None:
    assert found.shape == right.shape
    np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3)], ids=["1.2", "1.0"])
def test_highway(order: Any) -> None:
    """The first versions have each bias behind its kernel."""
    w, gate, b, gate_b = given = arrays((5, 5), (5, 5), (5,), (5,))
    found = predicted("Highway", {**DENSE, "transform_bias": -2}, [given[i] for i in order], X)
    t = sigmoid(X @ gate + gate_b)
    close(found, t * np.tanh(X @ w + b) + (1 - t) * X)


def test_a_highway_without_biases() -> None:
    w, gate = arrays((5, 5), (5, 5))
    t = sigmoid(X @ gate)
    config = {**DENSE, "activation": "linear", "bias": False}
    close(predicted("Highway", config, [w, gate], X), t * (X @ w) + (1 - t) * X)


def test_the_regularizer_of_a_highway_does_not_mean_its_gate() -> None:
    made = converted_of("Highway", DENSE, arrays((5, 5), (5, 5), (5,), (5,)), (5,))
    dense = [layer["dense"] for layer in made.builder.layers if "dense" in layer]
    assert ["penalty" in fields for fields in dense] == [True, False]


@pytest.mark.parametrize("kind", ["Highway", "MaxoutDense"])
def test_keras_2_kept_them_as_they_were(kind: str) -> None:
    told = {"output_dim": 2, "bias": True, "W_regularizer": None, "batch_input_shape": [None, 5]}
    config = {"class_name": "Sequential", "config": [listed(kind, name="x", **told)]}
    fields = read_model(config, "2.0.8").layers[1].config
    assert (fields["units"], fields["use_bias"], "kernel_regularizer" in fields) == (2, True, True)


@pytest.mark.parametrize("bias", [True, False])
def test_maxout(bias: bool) -> None:
    w, b = arrays((3, 5, 2), (3, 2))
    config = {"output_dim": 2, "nb_feature": 3, "init": "uniform", "bias": bias, "input_dim": 5}
    right = (np.einsum("bi,kio->bko", X, w) + (b if bias else 0)).max(1)
    close(predicted("MaxoutDense", config, [w, b][: 1 + bias], X), right)


@pytest.mark.parametrize(
    ("shape", "factors"), [((5,), (5,)), ((4, 3), (4, 3)), ((4, 3), (1, 3)), ((2, 4, 3), (1, 1, 3))]
)
def test_parametric_softplus(shape: tuple[int, ...], factors: tuple[int, ...]) -> None:
    alpha, beta = arrays(factors, factors)
    x = RNG.normal(size=(3, *shape))
    found = predicted("ParametricSoftplus", {"alpha_init": 0.2, "beta_init": 5.0}, [alpha, beta], x)
    close(found, alpha * np.logaddexp(0, beta * x))


def test_batch_normalization_of_each_example() -> None:
    """Mode 1, in which epsilon stands twice."""
    gamma, beta, mean, deviation = arrays((5,), (5,), (5,), (5,))
    x = X * np.array([[1e-3], [0.1], [1], [3], [10], [0.03]])
    found = predicted(
        "BatchNormalization", {"mode": 1, "axis": -1, "epsilon": 0.01}, [gamma, beta, mean, deviation], x
    )
    s = np.sqrt(x.var(1, keepdims=True) + 0.01)
    close(found, gamma * (x - x.mean(1, keepdims=True)) / (s + 0.01) + beta)


def test_batch_normalization_by_the_batch_is_refused() -> None:
    with pytest.raises(SpecError, match="mode is 2: it normalises predictions by the other examples"):
        predicted("BatchNormalization", {"mode": 2, "axis": -1}, arrays((5,), (5,), (5,), (5,)), X)


def merge(*shape: int, **config: Any) -> Any:
    layers = [
        given("a", *shape),
        given("b", *shape),
        entry("Merge", "m", [["a", 0, 0], ["b", 0, 0]], **config),
    ]
    model = read_model(graph(layers, [["a", 0, 0], ["b", 0, 0]], [["m", 0, 0]]), "1.2.2")
    return convert(File("1.2.2", "", model))


@pytest.mark.parametrize(
    ("shape", "config", "right"),
    [
        ((5,), {"mode": "sum"}, lambda a, b: a + b),
        ((5,), {"mode": "mul"}, lambda a, b: a * b),
        ((5,), {"mode": "ave"}, lambda a, b: (a + b) / 2),
        ((5,), {"mode": "max"}, np.maximum),
        ((5,), {"mode": "concat", "concat_axis": -1}, lambda a, b: np.concatenate([a, b], -1)),
        ((4, 3), {"mode": "concat", "concat_axis": 1}, lambda a, b: np.concatenate([a, b], 1)),
        ((5,), {"mode": "dot", "dot_axes": -1}, lambda a, b: (a * b).sum(1, keepdims=True)),
        ((5,), {"mode": "dot", "dot_axes": 1}, lambda a, b: (a * b).sum(1, keepdims=True)),
        ((4, 3), {"mode": "dot", "dot_axes": [[2], [2]]}, lambda a, b: np.einsum("bic,bjc->bij", a, b)),
        ((4, 3), {"mode": "dot", "dot_axes": [1, 1]}, lambda a, b: np.einsum("bic,bid->bcd", a, b)),
        (
            (5,),
            {"mode": "cos", "dot_axes": -1},
            lambda a, b: ((a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))).reshape(-1, 1, 1),
        ),
    ],
    ids=lambda x: "" if callable(x) else str(x),
)
def test_merge(shape: tuple[int, ...], config: Any, right: Any) -> None:
    import cortex

    a, b = (RNG.normal(size=(3, *shape)) for _ in range(2))
    more = {"mode_type": "raw", "concat_axis": -1, "dot_axes": -1, "output_shape": None, "arguments": {}}
    found = cortex.network(merge(*shape, **{**more, **config}).description("m")).predict({"a": a, "b": b})
    close(found, right(a, b))


def test_merges_that_are_refused() -> None:
    with pytest.raises(SpecError, match=r"m \(Merge\): the cosine along axes -1 of \[4, 3\], \[4, 3\]"):
        merge(4, 3, mode="cos", mode_type="raw", dot_axes=-1)
    with pytest.raises(SpecError, match=r"m \(Merge\): its mode .* is not supported; map it to a block"):
        merge(5, mode="x", mode_type="function")
    with pytest.raises(SpecError, match=r"m \(Merge\): it holds code of Python, which is never run; map it"):
        merge(5, mode="c\x01\x00", mode_type="lambda")  # (a list, with its defaults, since Keras 1.2)


@pytest.mark.parametrize(
    ("kind", "shapes"),
    [
        ("Highway", [(5, 5)]),
        ("Highway", [(5, 5)] * 3),
        ("MaxoutDense", [(5, 2)]),
        ("MaxoutDense", []),
        ("MaxoutDense", [(3, 5, 2)] * 3),
        ("ParametricSoftplus", [(5,)]),
        ("ParametricSoftplus", [(4,), (4,)]),
    ],
)
def test_arrays_that_are_wrong(kind: str, shapes: Any) -> None:
    with pytest.raises(SpecError, match=rf"x \({kind}\): "):
        predicted(kind, {"output_dim": 2} if kind == "MaxoutDense" else {}, arrays(*shapes), X)
