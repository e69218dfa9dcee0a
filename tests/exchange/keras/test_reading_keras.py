"""Files that Keras 3 writes, in every format, give the weights that Keras has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import cortex
from cortex_compute.errors import SpecError
from cortex_core.exchange.keras.model import File, Model
from cortex_core.exchange.keras.reader import read, read_weights
from tests.exchange.keras.handmade import save_named

pytestmark = pytest.mark.peers


def plain(keras: Any) -> Any:
    given = keras.Input((6, 4))
    x = keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True))(given)
    x = keras.layers.MultiHeadAttention(2, 3)(x, x)
    x = keras.layers.TimeDistributed(keras.layers.Dense(5))(x)
    x = keras.layers.GRU(4, return_sequences=True, dropout=0.2)(keras.layers.Dropout(0.5)(x))
    x = keras.layers.SeparableConv1D(3, 2)(keras.layers.LayerNormalization()(x))
    x = keras.layers.Flatten()(keras.layers.Conv1D(4, 2)(keras.layers.BatchNormalization()(x)))
    return keras.Model(given, [keras.layers.Dense(2)(x), keras.layers.Dense(3, use_bias=False)(x)])


def nested(keras: Any) -> Any:
    """A model twice in another one, with a frozen layer; a model in a model; layers of one name in both."""
    inner_given = keras.Input((4,))
    y = keras.layers.BatchNormalization(trainable=False)(keras.layers.Dense(4, name="same")(inner_given))
    deep = keras.Sequential([keras.layers.Dense(4), keras.layers.BatchNormalization()], name="deep")
    inner = keras.Model(inner_given, keras.layers.Dense(4)(deep(y)), name="inner")
    given = keras.Input((4,))
    x = keras.layers.Dense(4, name="same")(given)
    x = keras.layers.BatchNormalization()(inner(inner(x)) + 3.0)
    return keras.Model(given, keras.layers.Dense(1, name="last")(x))


def frozen(keras: Any) -> Any:
    inner = keras.Sequential(
        [
            keras.layers.Dense(4),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(3),
            keras.layers.BatchNormalization(),
        ]
    )
    inner.trainable = False
    return keras.Sequential([keras.Input((5,)), inner, keras.layers.Dense(2)])


def shared(keras: Any) -> Any:
    """A layer that two models and a wrapper have in common."""
    steps = keras.Input((3, 4))
    dense = keras.layers.Dense(4, name="shared")
    one = keras.Sequential([keras.Input((4,)), dense, keras.layers.Dense(4)], name="one")
    other = keras.Sequential([keras.Input((4,)), keras.layers.ReLU(), dense], name="other")
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.TimeDistributed(dense)(steps))
    return keras.Model(steps, other(one(x)), name="sharing")


MAKERS = [plain, nested, frozen, shared]


@pytest.fixture(params=MAKERS, ids=lambda maker: maker.__name__)
def model(request: pytest.FixtureRequest) -> Any:
    import keras

    maker: Callable[[Any], Any] = request.param
    made = maker(keras)
    rng = np.random.default_rng(0)
    made.set_weights([rng.normal(size=w.shape) for w in made.get_weights()])
    return made


def test_every_layer_has_its_weights(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "m.keras")
    model.save(tmp_path / "m.h5")
    model.save_weights(tmp_path / "m.weights.h5")
    (tmp_path / "m.json").write_text(model.to_json())
    for file in (read(tmp_path / "m.keras"), read(tmp_path / "m.h5")):
        assert_weights(file, model)
    if model.name != "sharing":
        assert_weights(read(tmp_path / "m.json", tmp_path / "m.weights.h5"), model)
        return
    with pytest.raises(SpecError, match="no weights for 2 of the layers: one/shared, other/shared"):
        read(tmp_path / "m.json", tmp_path / "m.weights.h5")  # `to_json` does not say what is shared


def assert_weights(file: File, model: Any) -> None:
    expected = dict(of_keras(model))
    found = dict(ours(file.model))
    assert found.keys() == expected.keys()
    for path, arrays in expected.items():
        assert [a.shape for a in found[path]] == [a.shape for a in arrays], path
        assert all(np.array_equal(a, b) for a, b in zip(found[path], arrays)), path


def ours(model: Model, prefix: str = "") -> Iterator[tuple[str, list[np.ndarray]]]:
    for layer in model.layers:
        if layer.model is not None:
            yield from ours(layer.model, f"{prefix}{layer.name}/")
        elif layer.weights:
            yield prefix + layer.name, [w.read() for w in layer.weights]


def of_keras(model: Any, prefix: str = "") -> Iterator[tuple[str, list[np.ndarray]]]:
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from of_keras(layer, f"{prefix}{layer.name}/")
        elif layer.get_weights():
            yield prefix + layer.name, layer.get_weights()


def test_the_optimizer_has_its_state(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01, beta_1=0.8), "mse")
    model.fit(np.ones((8, 4)), np.ones((8, 1)), epochs=2, verbose=0)
    expected = [np.asarray(v) for v in model.optimizer.variables]
    for name in ("m.keras", "m.h5"):
        model.save(tmp_path / name)
        found = read(tmp_path / name)
        assert found.training is not None
        assert found.training["loss"] == "mse"
        optimizer = found.optimizer
        assert optimizer is not None
        assert (optimizer.kind, optimizer.config["beta_1"]) == ("Adam", 0.8)
        assert len(optimizer.weights) == len(expected)
        assert all(np.array_equal(w.read(), e) for w, e in zip(optimizer.weights, expected))


@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras"])
def test_weights_of_keras_3_in_a_model_of_theano(tmp_path: Path, name: str) -> None:
    """Whose kernels were turned; these give what they give in Keras.  Square ones fit in any order."""
    import keras

    layers = [keras.layers.Conv2D(3, 3, name="conv"), keras.layers.Conv2DTranspose(3, 3, name="up")]
    model = keras.Sequential([keras.Input((5, 5, 3)), *layers])
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    (model.save_weights if name.endswith("h5") else model.save)(tmp_path / name)
    config = {"filters": 3, "kernel_size": [3, 3], "strides": [1, 1], "padding": "valid"}
    config |= {"activation": "linear", "use_bias": True, "batch_input_shape": [None, 5, 5, 3]}
    kinds = {"conv": "Conv2D", "up": "Conv2DTranspose"}
    listed = [{"class_name": kind, "config": {"name": id_, **config}} for id_, kind in kinds.items()]
    zeros = {id_: [("k", np.zeros((3, 3, 3, 3))), ("b", np.zeros(3))] for id_ in kinds}
    save_named(tmp_path / "th.h5", zeros, {"class_name": "Sequential", "config": listed}, "2.2.4")
    with h5py.File(tmp_path / "th.h5", "r+") as file:
        file["model_weights"].attrs["backend"] = b"theano"
    x = rng.normal(size=(2, 5, 5, 3)).astype(np.float32)
    found = cortex.from_keras(tmp_path / "th.h5", tmp_path / name)
    np.testing.assert_allclose(found.predict(x), model.predict(x, verbose=0), rtol=1e-4, atol=1e-4)


def test_weights_alone_have_the_names_of_layers(tmp_path: Path) -> None:
    import keras

    model = nested(keras)
    model.save_weights(tmp_path / "w.weights.h5")
    found = read_weights(tmp_path / "w.weights.h5").layers
    expected = dict(of_keras(model))
    assert found.keys() == expected.keys()
    assert all(np.array_equal(w.read(), e) for k, ws in found.items() for w, e in zip(ws, expected[k]))
