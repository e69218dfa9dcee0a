"""Parts of values, as Keras 3 and tf.keras write them, give what they give there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import SpecError
from tests.exchange.keras.configs import Json, entry, given, graph, new_entry, new_given, node, tensor
from tests.exchange.keras.support import check_layers

KEYS: list[Any] = [
    np.s_[:, 0],
    np.s_[..., -1],
    np.s_[:, ::2],
    np.s_[:, 1:-1, None],
    np.s_[:, -1, 1:],
    np.s_[:, ::-1, ..., 0:2],
    np.s_[:, None, 0, :, 1],
    np.s_[:, 1:2, 2:0:-1, :2],
]
SIZES = (5, 4, 3)
X = np.random.default_rng(0).normal(size=(2, *SIZES)).astype(np.float32)


@pytest.mark.peers
def test_keys_of_keras_3() -> None:
    check_layers(None, SIZES, call=lambda x: [x[key] for key in KEYS])


@pytest.mark.peers
def test_the_last_step_of_any_length() -> None:
    import keras

    def call(x: Any) -> Any:
        y = keras.layers.LSTM(4, return_sequences=True)(x)
        return [y[:, -1], y[:, 1:, :2]]

    check_layers(None, (None, 3), call=call)


@pytest.mark.peers
def test_the_channels_of_pictures_whose_channels_are_first() -> None:
    import keras

    def call(x: Any) -> Any:
        y = keras.layers.Conv2D(4, 2, data_format="channels_first")(x)
        return [y[:, 1:3], y[:, 0], y[..., 0]]

    check_layers(None, (3, 5, 6), call=call)


def written(part: Any) -> Any:
    """A key in JSON, as tf.keras writes it."""
    if isinstance(part, slice):
        return {name: getattr(part, name) for name in ("start", "stop", "step")}
    return {"class_name": "__ellipsis__"} if part is ... else part


def predicted(*layers: Json, name: str = "y") -> Any:
    from cortex_core.exchange.keras.config import read_model
    from cortex_core.exchange.keras.convert import convert
    from cortex_core.exchange.keras.model import File

    new = "module" in layers[0]
    first = new_given("a", *SIZES) if new else given("a", *SIZES)
    model = read_model(graph([first, *layers], [["a", 0, 0]], [[name, 0, 0]]), "3.3.0" if new else "2.4.0")
    return cortex.network(convert(File("2.4.0", "tensorflow", model)).description("m")).predict(X)


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("kind", ["SlicingOpLambda", "TFOpLambda"])
def test_keys_of_tf_keras(kind: str, key: Any) -> None:
    keywords = {"slice_spec": [written(part) for part in key]}
    function = "__operators__.getitem" if kind == "SlicingOpLambda" else "_operators.getitem"
    layer = entry(kind, "y", ["a", 0, 0, keywords], function=function)
    np.testing.assert_array_equal(predicted(layer), X[key])


def strided(begin: Any, end: Any, steps: Any, **masks: int) -> Json:
    attributes = {name: {"i": str(bits)} for name, bits in masks.items()}
    types = {"T": {"type": "DT_FLOAT"}, "Index": {"type": "DT_INT32"}}
    definition = {"name": "s", "op": "StridedSlice", "attr": {**types, **attributes}}
    constants = {"1": begin, "2": end, "3": steps}
    return entry("TensorFlowOpLayer", "y", [["a", 0, 0, {}]], node_def=definition, constants=constants)


@pytest.mark.parametrize(
    ("layer", "key"),
    [
        (strided([0, -1], [0, 0], [1, 1], begin_mask=1, end_mask=1, shrink_axis_mask=2), np.s_[:, -1]),
        (strided([0, 0, 1], [0, 0, 3], [1, 1, 2], begin_mask=3, end_mask=3), np.s_[:, :, 1:3:2]),
        (
            strided([0, 0, 0], [0, 0, 2], [1, 1, 1], begin_mask=5, end_mask=1, ellipsis_mask=2),
            np.s_[:, ..., :2],
        ),
        (strided([0, 0], [0, 0], [1, 1], begin_mask=1, end_mask=1, new_axis_mask=2), np.s_[:, None]),
    ],
)
def test_nodes_of_tensorflow(layer: Json, key: Any) -> None:
    np.testing.assert_array_equal(predicted(layer), X[key])


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ([0], r"the key \[0\] takes examples apart"),
        ([None], "takes examples apart"),
        ([{"start": 1, "stop": None, "step": None}], r"the key \[1::\] takes examples apart"),
        ([written(np.s_[:]), [0, 1]], "is not supported: numbers, slices, None and ... are"),
        ([written(np.s_[:]), True], "is not supported"),
        ([written(...), written(...)], "is not supported"),
        ([written(np.s_[:])] * 5, "is not supported"),
        ([written(np.s_[:]), 7], "select finds no place 7 among 5 along axis 1"),
        ([written(np.s_[:]), written(np.s_[3:3])], "slice finds nothing at 3:3:1 of 5 places"),
        ([written(np.s_[:]), written(np.s_[::0])], "0 goes nowhere"),
        ("x", "is not supported"),
        ([written(np.s_[:]), "x"], "is not supported"),
        ([{"start": "a", "stop": None, "step": None}], "is not supported"),
    ],
)
def test_what_is_refused(key: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        predicted(new_entry("GetItem", "y", node(tensor("a"), key), module="keras.src.ops.numpy"))


@pytest.mark.parametrize("layer", [
    strided([0, 0], [0], [1, 1]), strided([0], [0], "x"), strided({}, {}, {}), strided(["x"], [0], [1]),
    strided([0, 0], [0, 0], [1, 1], begin_mask="x"),
])  # fmt: skip
def test_nodes_that_are_wrong(layer: Json) -> None:
    with pytest.raises(SpecError, match=r"y \(TensorFlowOpLayer\): "):
        predicted(layer)
