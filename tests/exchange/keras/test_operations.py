"""Operations as TensorFlow's Keras wrote them, and layers of older versions: worked by hand, for no Keras of
today writes or reads them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import SpecError
from cortex_core.declared import declare
from cortex_core.exchange.keras.convert import Converted, convert
from cortex_core.exchange.keras.model import Call, File, Layer, Model, Out, Weight
from cortex_core.network import Network
from cortex_core.spec import read

X, Y = (np.random.default_rng(i).normal(size=(2, 3, 4)).astype(np.float32) for i in range(2))
ROWS = np.arange(1.0, 4.0).reshape(3, 1)
A, B = Out("a"), Out("b")


def converted(*layers: Layer, shape: tuple[int, ...] = (3, 4)) -> Converted:
    """A model of two inputs and these layers, all of which are outputs."""
    inputs = [Layer(n, "InputLayer", {"batch_shape": [None, *shape]}, (Call((), {}),)) for n in "ab"]
    last = Layer("all", "Activation", {"activation": "linear"}, (Call((B,), {}),))
    both = Layer("both", "Add", {}, (Call(([A, B],), {}),))
    outputs = tuple(Out(x.name) for x in (*layers, both))
    model = Model("it", (*inputs, *layers, last, both), (A, B), outputs)
    return convert(File("2.5.0", "tensorflow", model))


def computed(*layers: Layer, x: np.ndarray = X, y: np.ndarray = Y) -> np.ndarray:
    made = converted(*layers, shape=x.shape[1:])
    description = read(made.description("it"))
    network = Network.blank(description, declare(description))
    for name, array in made.builder.weights.items():
        network.store.write(name, array)
    value = made.outputs[0]
    found = np.asarray(network.predict({"a": x, "b": y})[value.source])
    return np.moveaxis(found, -1, 1) if value.moved else found


def function(name: str, /, *args: Any, **keywords: Any) -> Layer:
    return Layer("it", "TFOpLambda", {"name": "it", "function": name}, (Call(args, keywords),))


def node(op: str, *args: Any, constants: Mapping[str, Any] | None = None, **attributes: Any) -> Layer:
    config = {"node_def": {"name": "it", "op": op, "attr": attributes}, "constants": constants or {}}
    return Layer("it", "TensorFlowOpLayer", config, (Call(args, {}),))


def weight(array: np.ndarray) -> Weight:
    return Weight("", array.shape, "float32", lambda: array)


def layer(kind: str, *weights: np.ndarray, **config: Any) -> Layer:
    given = tuple(map(weight, weights))
    return Layer("it", kind, config, (Call((A,), {}),), given)


FUNCTIONS: list[tuple[Layer, Any]] = [
    (function("__operators__.add", A, y=3.0, name=None), X + 3),
    (function("math.add", A, y=B), X + Y),
    (function("math.multiply", A, 1 / 6), X / 6),
    (function("math.subtract", 1.0, y=A), 1 - X),
    (function("math.subtract", A, B), X - Y),
    (function("math.truediv", A, 127.5), X / 127.5),
    (function("math.truediv", 1.0, y=A), 1 / X),
    (function("__operators__.rsub", A, 2.0), 2 - X),
    (function("math.pow", A, 2), X**2),
    (function("nn.relu", A), np.maximum(X, 0)),
    (function("nn.relu6", A), np.clip(X, 0, 6)),
    (function("nn.leaky_relu", A, alpha=0.1), np.where(X > 0, X, X / 10)),
    (function("clip_by_value", A, clip_value_min=-0.5, clip_value_max=0.5), np.clip(X, -0.5, 0.5)),
    (function("clip_by_value", A, -0.5, 0.5), np.clip(X, -0.5, 0.5)),
    (function("math.maximum", A, y=0.1), np.maximum(X, 0.1)),
    (function("math.minimum", A, B), np.minimum(X, Y)),
    (function("math.abs", A), abs(X)),
    (function("math.square", A), X**2),
    (function("math.negative", A), -X),
    (function("math.sigmoid", A), 1 / (1 + np.exp(-X))),
    (function("math.reduce_mean", A, axis=1), X.mean(1)),
    (function("math.reduce_sum", A, axis=[1, 2], keepdims=True), X.sum((1, 2), keepdims=True)),
    (function("concat", [A, B], axis=-1), np.concatenate([X, Y], -1)),
    (function("concat", [A, B], 1), np.concatenate([X, Y], 1)),
    (function("math.add_n", [A, B]), X + Y),
    (function("cast", A, dtype="float32"), X),
    (function("math.multiply", A, [1.0, 2.0, 3.0, 4.0]), X * [1, 2, 3, 4]),
    (function("math.reduce_mean", A, 1), X.mean(1)),
    (function("keras.backend.hard_sigmoid", A), np.clip(0.2 * X + 0.5, 0, 1)),
    (function("nn.gelu", A), X * (1 + np.vectorize(math.erf)(X / math.sqrt(2))) / 2),
    (function("nn.silu", A, beta=1.0), X / (1 + np.exp(-X))),
    (function("nn.bias_add", A, bias=[1.0, 2.0, 3.0, 4.0]), X + np.arange(1, 5)),
    (function("nn.bias_add", A, [1.0, 2.0, 3.0], data_format="NCHW"), X + ROWS),
    (
        node("BiasAdd", A, constants={"1": [1.0, 2.0, 3.0]}, data_format={"s": "TkNIVw=="}),
        X + ROWS,
    ),
    (node("LeakyRelu", A, T={"type": "DT_FLOAT"}, alpha={"f": 0.1}), np.where(X > 0, X, X / 10)),
    (node("Cast", A, DstT={"type": "DT_FLOAT"}, Truncate={"b": False}), X),
    (node("AddV2", A, constants={"1": 3.0}), X + 3),
    (node("Mul", A, constants={"0": 0.5}), X / 2),
    (node("Sub", A, constants={"0": 1.0}), 1 - X),
    (node("Sub", A, B), X - Y),
    (node("Relu6", A), np.clip(X, 0, 6)),
    (node("Mean", A, constants={"1": [1, 2]}, keep_dims={"b": True}), X.mean((1, 2), keepdims=True)),
    (node("ConcatV2", A, B, constants={"2": -1}), np.concatenate([X, Y], -1)),
]


@pytest.mark.parametrize(("made", "wanted"), FUNCTIONS)
def test_functions(made: Layer, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(computed(made), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (function("signal.fft", A), "the function 'signal.fft' is not known"),
        (function("math.add", A, "text"), "'text' is no number"),
        (function("math.reduce_mean", A, axis=0), "the examples of a batch stay apart"),
        (function("math.reduce_mean", A), "the examples of a batch stay apart"),
        (function("math.multiply", A, [1.0, 2.0]), "they must fit its last axes"),
        (function("math.pow", 2.0, A), "a power is supported of a value to a number"),
        (function("cast", A, dtype="int32"), "a cast of float32 to 'int32'"),
        (Layer("it", "TensorFlowOpLayer", {"node_def": "name: x"}, (Call((A,), {}),)), "is text"),
        (function("nn.silu", A, beta=2.0), "silu is supported with beta 1"),
        (function("math.add", A, [[[[1.0]]]]), "numbers of shape"),
        (function("math.square", A, axis=0), "the function square with axis=0 is not supported"),
        (function("nn.bias_add", A, [1.0] * 4, data_format="CN"), "data_format is 'CN'"),
        (Layer("it", "ops.Softmax", {"axis": None}, (Call((A,), {}),)), "softmax along all axes"),
        (
            node("AddV2", A, constants={"7": 3.0}),
            "its constants are {'7': 3.0}; expected operands by their pl",
        ),
        (node("AddV2", A, constants=[3.0]), r"its constants are \[3.0\]"),  # type: ignore[arg-type]
        (node("ConcatV2"), "values joined with numbers are not supported"),
        (node("Mean", A, constants={"1": 1}, keep_dims=True), "its configuration is not as Keras writes it"),
        (layer("Activation", activation="swoosh"), "its activation is 'swoosh'"),
        (layer("Dropout", rate=0.5, noise_shape=[None, 3, 1]), "noise_shape"),
        (layer("BatchNormalization", renorm=True), "renorm is True"),
        (layer("Dense", units=2), "lacking are kernel, bias"),
        (layer("EinsumDense", equation="ab,bc->ca", output_shape=2), "equation is 'ab,bc->ca'"),
        (layer("Normalization"), "it was never adapted"),
    ],
)
def test_what_is_not_supported_is_told(made: Layer, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        converted(made)


def test_layers_of_older_versions() -> None:
    rows = [np.random.default_rng(i).normal(size=4).astype(np.float32) for i in range(4)]
    slope = np.array([[0.1], [0.2], [0.3]], np.float32)
    gamma, beta, mean = rows[:3]
    variance = abs(rows[3]) + 0.5
    normal = (X - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    cases: list[tuple[Layer, Any]] = [
        (layer("ThresholdedReLU", theta=0.5), np.where(X > 0.5, X, 0)),
        (layer("Activation", activation="hard_sigmoid_0.2"), np.clip(0.2 * X + 0.5, 0, 1)),
        (layer("Activation", activation="log_softmax_v2"), X - np.log(np.exp(X).sum(-1, keepdims=True))),
        (layer("PReLU", slope, shared_axes=[2]), np.where(X > 0, X, X * slope)),
        (layer("BatchNormalization", gamma, beta, mean, variance, epsilon=1e-3, axis=-1, mode=0), normal),
        (layer("LeakyReLU", negative_slope=0.3), np.where(X > 0, X, 0.3 * X)),
        (layer("Rescaling", scale=2.0, offset=-1.0), 2 * X - 1),
        (layer("StochasticDepth", drop_path_rate=0.2), X),
        (layer("LayerScale", gamma, init_values=1e-6, projection_dim=4), X * gamma),
        (layer("Normalization", mean, variance, np.array(7.0), axis=[2]), (X - mean) / np.sqrt(variance)),
    ]
    for made, wanted in cases:
        np.testing.assert_allclose(computed(made), wanted, rtol=1e-5, atol=1e-6, err_msg=made.kind)


def test_slopes_that_channels_share_are_not_those_of_the_channels() -> None:
    x, slope = X[:, :, :3], np.array([[0.1], [0.2], [0.3]], np.float32)
    found = computed(layer("PReLU", slope, shared_axes=[2]), x=x, y=Y[:, :, :3])
    np.testing.assert_allclose(found, np.where(x > 0, x, x * slope), rtol=1e-6)


def test_trunks_and_branches() -> None:
    both = (Call(([A, B],), {}),)
    scaled = Layer("it", "CustomScaleLayer", {"scale": 0.17}, both)
    np.testing.assert_allclose(computed(scaled), X + 0.17 * Y, rtol=1e-6, atol=1e-7)
    for config in ({"survival_probability": 0.8}, {"rate": 0.2}):
        dropped = Layer("it", "StochasticDepth", config, both)
        np.testing.assert_allclose(computed(dropped), X + 0.8 * Y, rtol=1e-6, atol=1e-7)


def test_values_whose_channels_are_first_are_turned_where_that_matters() -> None:
    """Pointwise layers leave them as they lie; a softmax and a list of numbers are along Keras's last."""
    x = np.random.default_rng(5).normal(size=(2, 3, 4, 5)).astype(np.float32)
    scale = np.arange(5.0)
    kernel, bias = np.eye(3, dtype=np.float32).reshape(1, 1, 3, 3), np.zeros(3, np.float32)
    weights = (weight(kernel), weight(bias))
    conv = {"filters": 3, "kernel_size": [1, 1], "strides": [1, 1], "padding": "valid"}
    first = Layer("c", "Conv2D", conv | {"data_format": "channels_first"}, (Call((A,), {}),), weights)
    cases: list[tuple[str, dict[str, Any], Any]] = [
        ("Activation", {"activation": "tanh"}, np.tanh(x)),
        ("Softmax", {"axis": 1}, np.exp(x) / np.exp(x).sum(1, keepdims=True)),
        ("Softmax", {"axis": -1}, np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
        ("Rescaling", {"scale": scale.tolist(), "offset": 1.0}, x * scale + 1),
        ("UnitNormalization", {"axis": 1}, x / np.sqrt((x * x).sum(1, keepdims=True))),
    ]
    for kind, config, wanted in cases:
        last = Layer("it", kind, config, (Call((Out("c"),), {}),))
        made = converted(first, last, shape=x.shape[1:])
        description = read(made.description("it"))
        network = Network.blank(description, declare(description))
        for name, array in made.builder.weights.items():
            network.store.write(name, array)
        value = made.outputs[1]
        found = np.asarray(network.predict({"a": x, "b": x})[value.source])
        found = np.moveaxis(found, -1, 1) if value.moved else found
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6, err_msg=kind)


def test_joining_along_the_channels_leaves_channels_first_as_they_lie() -> None:
    x = np.random.default_rng(6).normal(size=(2, 3, 4, 5)).astype(np.float32)
    pool = {"pool_size": [1, 1], "strides": [1, 1], "padding": "valid", "data_format": "channels_first"}
    pooled = [Layer(n, "MaxPooling2D", pool, (Call((Out(i),), {}),)) for n, i in (("p", "a"), ("q", "b"))]
    joined = Layer("it", "Concatenate", {"axis": 1}, (Call(([Out("p"), Out("q")],), {}),))
    made = converted(*pooled, joined, shape=x.shape[1:])
    value = made.outputs[2]
    assert value.moved
    assert value.shape == (6, 4, 5)
