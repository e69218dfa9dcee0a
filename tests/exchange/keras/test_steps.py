"""Layers and models at each step of a sequence, imported: they give what Keras gives."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import SpecError
from cortex_core.exchange.keras.config import read_model
from cortex_core.exchange.keras.convert import convert
from cortex_core.exchange.keras.custom import block_of, translator
from cortex_core.exchange.keras.model import File
from tests.exchange.keras.support import check_layers
from tests.exchange.keras.test_sequences_by_version import converted, layer, of_recurrence, weights

FRAMES = (3, 8, 8, 2)


def residual(x: Any) -> Any:
    """A few layers with a branch, and a gate for each channel."""
    import keras

    layers = keras.layers
    y = layers.Conv2D(3, 3, padding="same")(x)
    y = layers.BatchNormalization()(y)
    gate = layers.Dense(3, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(y))
    y = layers.Multiply()([y, gate])
    y = layers.Add()([y, layers.Conv2D(3, 1)(x)])
    return layers.Concatenate()([layers.ReLU()(y), x, y])


@pytest.mark.peers
def test_a_network_for_pictures_before_one_for_sequences() -> None:
    """The model of everyone who has films: Sequential, at each step."""
    import keras

    layers = keras.layers
    inside = [layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization(), layers.MaxPooling2D()]
    inside += [layers.Dropout(0.3), layers.Flatten(), layers.Dense(5, activation="tanh")]
    pictures = keras.Sequential(inside)
    check_layers([layers.TimeDistributed(pictures), layers.LSTM(4), layers.Dense(2)], FRAMES)


@pytest.mark.peers
def test_a_model_with_branches() -> None:
    import keras

    frame = keras.Input(FRAMES[1:])
    branched = keras.Model(frame, keras.layers.GlobalMaxPooling2D()(residual(frame)))
    distributed = keras.layers.TimeDistributed(branched)

    def call(x: Any, other: Any) -> Any:
        """Called twice: the weights are shared."""
        both = keras.layers.Concatenate()([distributed(x), distributed(other)])
        return keras.layers.GRU(3)(both)

    check_layers(None, FRAMES, FRAMES, call=call)


@pytest.mark.peers
def test_models_in_a_model_with_channels_first() -> None:
    """That of a step holds another, and ends in pictures."""
    import keras

    layers = keras.layers
    first = {"data_format": "channels_first"}
    one = keras.Sequential([layers.Conv2D(4, 3, **first), layers.BatchNormalization(axis=1)])
    both = keras.Sequential([one, layers.MaxPooling2D(**first), layers.Conv2D(3, 2, **first)])
    layered = [layers.TimeDistributed(both), layers.TimeDistributed(layers.Flatten()), layers.LSTM(3)]
    check_layers(layered, (3, 2, 8, 8))


@pytest.mark.peers
def test_sentences_of_documents() -> None:
    """A network for words at each sentence, with a mask inside, as hierarchical attention has it."""
    import keras

    layers = keras.layers
    words = [layers.Embedding(9, 4, mask_zero=True), layers.Bidirectional(layers.GRU(3))]
    documents = np.random.default_rng(1).integers(1, 9, (4, 3, 6)).astype(np.int32)
    documents[0, :, 4:] = documents[1, 1, 1:] = documents[2, 0, 0] = 0
    sentence = keras.Sequential([keras.Input((6,), dtype="int32"), *words])
    check_layers([layers.TimeDistributed(sentence), layers.LSTM(3)], (3, 6), tokens=9, inputs=[documents])


@pytest.mark.peers
def test_layers_that_were_never_tried_at_each_step() -> None:
    import keras

    layers = keras.layers
    inner = [layers.Bidirectional(layers.LSTM(2, return_sequences=True), merge_mode="sum")]
    inner += [layers.LayerNormalization(), layers.GRU(3, return_sequences=True, go_backwards=True)]
    inner += [layers.PReLU(), layers.Conv1D(3, 2, padding="causal"), layers.TimeDistributed(layers.Dense(2))]
    check_layers([*map(layers.TimeDistributed, inner)], (3, 5, 2))


# By the version of Keras


def document(words: int, version: str) -> Any:
    """A network for words at each sentence, and one for sentences, of layers with weights that are known."""
    rng = np.random.default_rng(3)
    embedding = {"input_dim": 9, "output_dim": 3, "mask_zero": True}
    lstm = {"units": 2, "activation": "tanh", "recurrent_activation": "sigmoid"}
    inner = [("Embedding", embedding, weights((9, 3))), ("LSTM", lstm, of_recurrence(3, 2, 4))]
    layers, source = [], "a"
    for name, (kind, config, arrays) in zip("bc", inner):
        held = {"class_name": kind, "config": config}
        layers.append(layer(name, "TimeDistributed", source, arrays=drawn(arrays, rng), layer=held))
        source = name
    last = layer("d", "LSTM", "c", arrays=drawn(of_recurrence(2, 2, 4), rng), **lstm)
    return converted(*layers, last, version=version, a=[None, 3, words])


def drawn(arrays: Any, rng: np.random.Generator) -> Any:
    return tuple(replace(w, read=partial(np.asarray, rng.normal(size=w.shape))) for w in arrays)


def predicted(made: Any, x: np.ndarray) -> np.ndarray:
    from cortex_core.declared import declare
    from cortex_core.network import Network
    from cortex_core.spec import read

    description = read(made.description("m"))
    network = Network.blank(description, declare(description))
    for name, array in made.builder.weights.items():
        network.store.write(name, array)
    found: np.ndarray = network.predict(x)
    return found


@pytest.mark.parametrize(("version", "masked"), [("1.2.2", False), ("2.2.4", True), ("2.15.0", True)])
def test_words_that_do_not_count(version: str, masked: bool) -> None:
    """From 2.2.3 on the masks of words reach the layer for them, and sentences without words do not count."""
    x = np.array([[[1, 2], [3, 4], [5, 6]], [[1, 2], [0, 0], [7, 8]]])
    padded = np.pad(x, [(0, 0), (0, 0), (0, 2)])
    alike = predicted(document(4, version), padded) - predicted(document(2, version), x)
    assert (np.abs(alike).max() < 1e-6) == masked
    moved = predicted(document(2, version), x[1:, [0, 2, 1]]) - predicted(document(2, version), x[1:])
    assert (np.abs(moved).max() < 1e-6) == masked


def nested(inner: Any) -> Any:
    """A model of one TimeDistributed as Keras 2 writes it."""
    sequential = {"class_name": "Sequential", "config": {"name": "s", "layers": [inner]}}
    first = {"name": "td", "batch_input_shape": [None, 3, 4], "layer": sequential}
    config = {"name": "m", "layers": [{"class_name": "TimeDistributed", "config": first}]}
    return read_model({"class_name": "Sequential", "config": config}, "2.3.1")


def test_what_is_wrong_inside_is_told_and_mapped(tmp_path: Path) -> None:
    code = {"class_name": "Lambda", "config": {"name": "l", "batch_input_shape": [None, 4], "function": "x"}}
    file = File("2.3.1", "tensorflow", nested(code))
    with pytest.raises(SpecError, match=r"td/l \(Lambda\): it holds code of Python") as told:
        convert(file)
    assert "1 of the model's layers" in str(told.value)
    block = tmp_path / "block.yaml"
    block.write_text("layers: [{scale: 2}]")
    x = np.arange(24.0).reshape(2, 3, 4)
    for name in ("td/l", "td"):
        np.testing.assert_array_equal(
            predicted(convert(file, {name: translator(block_of(name, block))}), x), 2 * x
        )
