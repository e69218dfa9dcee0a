"""Functions that rearrange elements, as Keras 3 and tf.keras write them, give what they give there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import SpecError
from cortex_core.exchange.keras.config import read_model
from cortex_core.exchange.keras.convert import convert
from cortex_core.exchange.keras.model import File
from tests.exchange.keras.configs import Json, entry, given, graph
from tests.exchange.keras.support import check_layers

SIZES = (4, 5, 3)
X = np.random.default_rng(0).normal(size=(2, *SIZES)).astype(np.float32)


@pytest.mark.peers
def test_functions_of_keras_3() -> None:
    from keras import ops

    def call(x: Any, y: Any) -> Any:
        line = x[:, 0]
        rows, columns = ops.reshape(x, (-1, 12, 5)), ops.transpose(y, (0, 2, 1))
        return [
            *(ops.reshape(x, (-1, 15, 4)), ops.reshape(x, (-1, 60)), ops.transpose(x, (0, 3, 1, 2))),
            *(ops.swapaxes(x, 1, -1), ops.moveaxis(x, 1, 2), ops.moveaxis(x, -1, 1)),
            *(
                ops.squeeze(x[:, :1], 1),
                ops.squeeze(x[..., 1:2], axis=-1),
                ops.flip(x, 1),
                ops.flip(x, axis=-1),
            ),
            *(ops.stack([x, x + 1.0], 1), ops.stack([x, 2 * x, x], axis=-1)),
            *(ops.max(line, 1), ops.max(line, axis=-1), ops.min(x, (1, 2), keepdims=True), ops.min(line, 2)),
            *(ops.matmul(rows, y), rows @ ops.transpose(columns, (0, 2, 1))),
        ]

    check_layers(None, SIZES, (5, 2), call=call)


@pytest.mark.peers
def test_channels_first() -> None:
    import keras

    def call(x: Any) -> Any:
        y = keras.layers.Conv2D(4, 2, data_format="channels_first")(x)
        return [keras.ops.max(y, (1, 2)), keras.ops.reshape(y, (-1, 4, 12)), keras.ops.flip(y, 1)]

    check_layers(None, (3, 4, 5), call=call)


@pytest.mark.peers
def test_attention_by_hand() -> None:
    """With steps of any number."""
    from keras import ops

    def call(x: Any) -> Any:
        scores = ops.softmax(ops.matmul(x, ops.transpose(x, (0, 2, 1))) / 2.0, axis=-1)
        return ops.matmul(scores, x)

    check_layers(None, (None, 3), call=call)


def predicted(layer: Json, x: np.ndarray = X) -> Any:
    model = read_model(graph([given("a", *x.shape[1:]), layer], [["a", 0, 0]], [["y", 0, 0]]), "2.4.0")
    return cortex.network(convert(File("2.4.0", "tensorflow", model)).description("m")).predict(x)


def called(function: str, **keywords: Any) -> Json:
    return entry("TFOpLambda", "y", ["a", 0, 0, keywords], function=function)


def of_node(op: str, constant: Any, **attributes: Any) -> Json:
    node = {"name": "n", "op": op, "attr": {"T": {"type": "DT_FLOAT"}, **attributes}}
    return entry("TensorFlowOpLayer", "y", [["a", 0, 0, {}]], node_def=node, constants={"1": constant})


@pytest.mark.parametrize(
    ("layer", "right"),
    [
        (called("reshape", shape=[-1, 20, 3]), X.reshape(-1, 20, 3)),
        (called("transpose", perm=[0, 2, 1, 3]), X.transpose(0, 2, 1, 3)),
        (called("expand_dims", axis=-1), X[..., None]),
        (called("expand_dims", axis=2), X[:, :, None]),
        (called("reverse", axis=[2]), X[:, :, ::-1]),
        (called("math.reduce_max", axis=[1, 2]), X.max((1, 2))),
        (called("math.reduce_min", axis=[1, 2], keepdims=True), X.min((1, 2), keepdims=True)),
        (of_node("Reshape", [-1, 12, 5]), X.reshape(-1, 12, 5)),
        (of_node("Transpose", [0, 3, 2, 1]), X.transpose(0, 3, 2, 1)),
        (of_node("Max", [1, 2], keep_dims={"b": False}), X.max((1, 2))),
    ],
)
def test_functions_of_tensorflow(layer: Json, right: np.ndarray) -> None:
    np.testing.assert_array_equal(predicted(layer), right)


@pytest.mark.parametrize(("first", "second"), [(False, True), (True, False)])
def test_matrices_of_tensorflow(first: bool, second: bool) -> None:
    layer = called("linalg.matmul", b=["a", 0, 0], transpose_a=first, transpose_b=second)
    x = X[:, 0]
    a, b = x.transpose(0, 2, 1) if first else x, x.transpose(0, 2, 1) if second else x
    np.testing.assert_allclose(predicted(layer, x), a @ b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (called("reshape", shape=[2, 60]), "the shape .2, 60.; supported: -1, and sizes of what is in an"),
        (called("reshape", shape=[-1, 5, 3]), r"reshape cannot make \(5, 3\) of 60 elements"),
        (called("reshape", shape="x"), "the shape 'x'; supported"),
        (called("transpose", perm=[1, 0, 2, 3]), "the first, of the examples, stays where it is"),
        (called("transpose"), "the first, of the examples, stays where it is"),
        (called("transpose", perm=[0, 1]), r"axes \[0, 1\] of"),
        (called("squeeze", axis=1), "axis 1 of .4, 5, 3. has not the size 1"),
        (called("squeeze"), "axis is None; supported: 1 to 3, or from the end"),
        (called("expand_dims", axis=0), "axis is 0; supported: 1 to 4"),
        (called("reverse", axis=[0]), "axis is .0.; supported: 1 to 3"),
        (called("math.reduce_max"), "axis is None; supported: 1 to 3"),
        (called("linalg.matmul", b=["a", 0, 0]), "axis 'z' of 'abxz,abzy->abxy' has size 3, and 5"),
        (called("stack", values=[["a", 0, 0], ["a", 0, 0]], axis=0), "axis is 0; supported: 1 to 4"),
    ],
)
def test_what_is_refused(layer: Json, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        predicted(layer)
