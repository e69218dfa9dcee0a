"""Models such as many people have: imported as they are, and trained on here as Keras would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from tests.exchange.keras.peer import draw_weights, results
from tests.exchange.keras.support import check_model, drawn_inputs

pytestmark = pytest.mark.peers
BATCH, WORDS, STEPS = 4, 9, 3


def pictures_in_sequence() -> Any:
    """A small network for pictures at each step, and a recurrent layer behind it."""
    from keras import Input, Sequential, layers

    pictures = Sequential(
        [
            Input((8, 8, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.LayerNormalization(),
            layers.Flatten(),
        ]
    )
    return Sequential(
        [Input((3, 8, 8, 1)), layers.TimeDistributed(pictures), layers.LSTM(5), layers.Dense(1)]
    )


def words() -> Any:
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((7,), dtype="int32"),
            layers.Embedding(WORDS, 5, mask_zero=True),
            layers.Bidirectional(layers.GRU(4, return_sequences=True)),
            layers.LSTM(3),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def translation() -> Any:
    """The states of one recurrent layer are the first of another."""
    from keras import Input, Model, layers

    source, target = Input((6,), dtype="int32", name="source"), Input((5,), dtype="int32", name="so_far")
    states = layers.LSTM(6, return_state=True)(layers.Embedding(WORDS, 5, mask_zero=True)(source))[1:]
    embedded = layers.Embedding(WORDS, 5)(target)
    y = layers.LSTM(6, return_sequences=True)(embedded, initial_state=states)
    return Model([source, target], layers.Dense(WORDS)(y))


def regions() -> Any:
    """A U-Net."""
    from keras import Input, Model, layers

    def block(x: Any, filters: int) -> Any:
        return layers.ReLU()(layers.Conv2D(filters, 3, padding="same")(x))

    pictures = Input((8, 8, 2))
    wide = block(pictures, 3)
    narrow = block(layers.MaxPooling2D()(wide), 4)
    up = layers.Conv2DTranspose(3, 2, strides=2, padding="same")(narrow)
    y = block(layers.Concatenate()([up, wide]), 3)
    return Model(pictures, layers.Conv2D(1, 1, activation="sigmoid")(y))


def pairs() -> Any:
    """One nested model is called with both; how far apart what it gives is, by functions."""
    from keras import Input, Model, Sequential, layers, ops

    tower = Sequential([Input((6,)), layers.Dense(5, activation="relu"), layers.Dense(4)], name="tower")
    one, other = Input((6,)), Input((6,))
    square = ops.sum(ops.square(tower(one) - tower(other)), axis=1, keepdims=True)
    return Model([one, other], layers.Dense(1)(ops.sqrt(ops.maximum(square, 1e-7))))


def attention() -> Any:
    """A block of a transformer, with sums by `+`."""
    from keras import Input, Model, layers

    tokens = Input((6,), dtype="int32")
    x = layers.Embedding(WORDS, 8)(tokens)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True))
    y = layers.Dense(8)(layers.Dense(16, activation="gelu")(x))
    return Model(tokens, layers.Dense(WORDS)(layers.LayerNormalization()(x + y)))


def wide_and_deep() -> Any:
    from keras import Input, Model, layers

    wide, deep = Input((5,), name="wide"), Input((7,), name="deep")
    x = layers.Dense(6, activation="selu")(layers.Dense(8, activation="elu")(deep))
    return Model([wide, deep], layers.Dense(1)(layers.concatenate([wide, x])))


def prepared_pictures() -> Any:
    """What varies pictures does so in training alone."""
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((8, 8, 3)),
            layers.Rescaling(0.5, offset=-1.0),
            layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0]),
            layers.Conv2D(4, 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1),
        ]
    )


def operators() -> Any:
    from keras import Input, Model, layers, ops

    x = Input((5, 4))
    first, last = x[:, 0], x[..., -1]
    means = ops.mean(x * 2 + 1, axis=1) - ops.sum(1 - x / 3, axis=1)
    joined = ops.concatenate([first, last, ops.tanh(-means), ops.exp(first) * first**2], axis=-1)
    return Model(x, layers.Dense(1)(joined))


MODELS = (words, translation, regions, wide_and_deep, prepared_pictures, operators)
TRAINED = (pictures_in_sequence, pairs, attention)
"""These are trained on, too; each takes Keras seconds to compile."""


@pytest.mark.parametrize("made", [*MODELS, *TRAINED], ids=lambda made: made.__name__)
def test_it_is_imported(made: Callable[[], Any]) -> None:
    model = made()
    check_model(model, tokens=_tokens(model))


@pytest.mark.parametrize("made", TRAINED, ids=lambda made: made.__name__)
def test_it_is_trained_on(made: Callable[[], Any], tmp_path: Path) -> None:
    """Three steps of gradient descent move its predictions as they do in Keras."""
    import keras

    model, rng = made(), np.random.default_rng(1)
    draw_weights(model, rng)
    model.compile(keras.optimizers.SGD(0.01), "mse")
    model.save(tmp_path / "m.keras")
    network = cortex.from_keras(tmp_path / "m.keras")
    program = cortex.compile(network, batch_size=BATCH)
    inputs = drawn_inputs(model, BATCH, _tokens(model), 1.0, rng)
    target = rng.uniform(size=(BATCH, *model.outputs[0].shape[1:])).astype(np.float32)
    named = dict(zip((x.name for x in network.description.inputs), inputs, strict=True))
    before = network.predict(named)
    for _ in range(STEPS):
        model.train_on_batch(inputs if len(inputs) > 1 else inputs[0], target)
        program.run({**named, "target": target})
    (after,), _ = results(model, inputs)
    assert np.abs(network.predict(named) - after).max() < 0.01 * np.abs(after - before).max()


def _tokens(model: Any) -> int:
    return WORDS if model.inputs[0].dtype == "int32" else 0
