"""Graphs that Keras 3 writes: every layer at every call, read from both formats."""

from __future__ import annotations

import pytest

from tests.exchange.keras.support import check_model

pytestmark = pytest.mark.peers


def test_a_shared_layer_is_called_between_the_calls_of_another_one() -> None:
    keras = pytest.importorskip("keras")
    x = keras.Input((4,))
    first, second = keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(4)
    check_model(keras.Model(x, first(second(first(x)))))


def test_models_in_models_are_called_several_times_and_give_several_values() -> None:
    keras = pytest.importorskip("keras")
    n = keras.Input((4,))
    d = keras.layers.Dense(4, activation="tanh")(n)
    inner = keras.Model(n, [d, keras.layers.Dense(4)(d)], name="inner")
    x = keras.Input((4,))
    one, two = inner(x)
    three, four = inner(two)
    out = keras.layers.Concatenate()([one, three])
    check_model(keras.Model(x, [out, four], name="outer"))


def test_a_sequential_model_in_a_graph_and_a_graph_in_a_sequential_model() -> None:
    keras = pytest.importorskip("keras")
    listed = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, activation="relu")])
    x = keras.Input((4,))
    graph = keras.Model(x, keras.layers.Add()([listed(x), listed(listed(x))]))
    check_model(keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), graph, keras.layers.Dense(2)]))


def test_inputs_and_outputs_with_names_of_their_own() -> None:
    keras = pytest.importorskip("keras")
    x, y = keras.Input((4,), name="z"), keras.Input((3,), name="a")
    b = keras.layers.Dense(2)(x)
    c = keras.layers.Concatenate()([keras.layers.Dense(3)(y), b])
    check_model(keras.Model({"z": x, "a": y}, {"two": c, "one": b}))


def test_operations_with_numbers_beside_layers_of_the_same_name() -> None:
    keras = pytest.importorskip("keras")
    x = keras.Input((4,))
    y = keras.layers.Dense(4)(x) * (1 / 6) + 3.0
    z = keras.layers.Multiply()([y, keras.ops.relu(y - 2.5)])
    check_model(keras.Model(x, keras.layers.Add()([z, x * y])), formats=("keras",))
