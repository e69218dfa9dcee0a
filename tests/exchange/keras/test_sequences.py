"""Recurrent layers, masks and attention of Keras, imported: every layer gives what Keras gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import SpecError
from tests.exchange.keras.support import check_layers

pytestmark = pytest.mark.peers
LENGTH, FEATURES = 5, 3
SHAPES = (LENGTH, FEATURES), (LENGTH, FEATURES)
RAGGED = np.array([5, 2, 0, 1])
"""How many steps count, of all but the first and last example at the end: of one none does."""


def sequences(seed: int = 0) -> Any:
    """Sequences with steps of zeros: behind, before and between those that count."""
    x = np.random.default_rng(seed).normal(size=(len(RAGGED) + 1, LENGTH, FEATURES)).astype(np.float32)
    for row, count in enumerate(RAGGED):
        x[row, count:] = 0
    x[-1, [0, 3]] = 0
    return x


def words(seed: int = 0) -> Any:
    """Words, and 0 where there is none."""
    found = np.random.default_rng(seed).integers(1, 9, (len(RAGGED) + 1, LENGTH))
    return np.where(sequences()[..., 0] != 0, found, 0).astype(np.int32)


KINDS: dict[str, dict[str, Any]] = {
    "SimpleRNN": {"activation": "relu"},
    "LSTM": {"recurrent_activation": "hard_sigmoid"},
    "GRU": {"activation": "softsign"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_recurrent(kind: str) -> None:
    """All that a sequence, its mask and its direction may be, in one model: compiling is what takes time."""
    import keras

    make = getattr(keras.layers, kind)

    def call(x: Any) -> Any:
        masked, made = keras.layers.Masking()(x), list[Any]()
        others: list[dict[str, Any]] = [{}, {"use_bias": False}, KINDS[kind]]
        others += [{"reset_after": False}, {"reset_after": False, **KINDS[kind]}] if kind == "GRU" else []
        for fields in others:
            for source in (x, masked) if not fields else (masked,):
                made.append(make(4, **fields)(source))
                made.append(make(2, return_sequences=True, go_backwards=True, **fields)(source))
            made.append(make(4, return_sequences=True, **fields)(masked))
        return made

    check_layers(None, (LENGTH, FEATURES), call=call, inputs=[sequences()], formats=("keras",))


@pytest.mark.parametrize("kind", KINDS)
def test_states(kind: str) -> None:
    import keras

    make = getattr(keras.layers, kind)

    def call(x: Any) -> Any:
        y, *states = make(4, return_state=True)(x)
        z, *more = make(4, return_sequences=True, return_state=True)(x, initial_state=states)
        return [y, z, *more]

    check_layers(None, (LENGTH, FEATURES), call=call, inputs=[sequences()])


@pytest.mark.parametrize("sequence", [False, True])
def test_bidirectional(sequence: bool) -> None:
    import keras

    def call(x: Any) -> Any:
        masked, made = keras.layers.Masking()(x), list[Any]()
        for merge in ("concat", "sum", "mul", "ave", None):
            for kind, source in (("GRU", x), ("LSTM", masked)):
                inner = getattr(keras.layers, kind)(3, return_sequences=sequence)
                found = keras.layers.Bidirectional(inner, merge_mode=merge)(source)
                made += found if isinstance(found, (list, tuple)) else [found]
        inner = keras.layers.LSTM(3, return_sequences=sequence, return_state=True)
        made += keras.layers.Bidirectional(inner)(masked)
        other = keras.layers.LSTM(2, return_sequences=sequence, go_backwards=True, activation="relu")
        one = keras.layers.LSTM(3, return_sequences=sequence)
        made.append(keras.layers.Bidirectional(one, backward_layer=other)(masked))
        return made

    check_layers(None, (LENGTH, FEATURES), call=call, inputs=[sequences()], formats=("keras",))


def test_cells() -> None:
    import keras

    layers = keras.layers
    cells = [layers.LSTMCell(3), layers.GRUCell(4), layers.SimpleRNNCell(2)]
    stack = layers.RNN(cells, return_sequences=True, go_backwards=True)
    made = [layers.Masking(), layers.RNN(layers.GRUCell(4), return_sequences=True), stack]
    check_layers(made, (LENGTH, FEATURES), inputs=[sequences()])


def test_a_sequence_from_a_state_hands_its_mask_on() -> None:
    """Keras 3 does not heed it in the layer itself."""
    import keras

    layers = keras.layers

    def call(a: Any, b: Any) -> Any:
        a, b = layers.Embedding(9, 4, mask_zero=True)(a), layers.Embedding(9, 4, mask_zero=True)(b)
        state = layers.LSTM(3)(a)
        one = layers.GRU(3, return_sequences=True)(b, initial_state=state)
        both = layers.Bidirectional(layers.GRU(3, return_sequences=True), merge_mode="sum")
        two = both(b, initial_state=[state, state])
        memory = layers.Dense(3)(a)
        return [layers.Attention()([one, memory]), layers.Attention()([two, memory])]

    given = [words(), words(1)[::-1].copy()]
    check_layers(None, (LENGTH,), (LENGTH,), call=call, inputs=given, tokens=9, formats=("keras",))


def test_states_of_stacked_cells() -> None:
    """They are given, and come, one cell after the other."""
    import keras

    layers = keras.layers

    def stacked(**fields: Any) -> Any:
        return layers.RNN([layers.LSTMCell(3), layers.GRUCell(4), layers.SimpleRNNCell(2)], **fields)

    def call(x: Any) -> Any:
        y, *states = stacked(return_state=True)(x)
        z = stacked(return_state=True, return_sequences=True)(x, initial_state=states)
        return [y, *keras.tree.flatten(z)]

    check_layers(None, (LENGTH, FEATURES), call=call, inputs=[sequences()])


def test_tokens() -> None:
    import keras

    layers = keras.layers
    embedding = layers.Embedding(9, 4, mask_zero=True)
    made = [embedding, layers.Dropout(0.5), layers.LSTM(3, return_sequences=True)]
    made += [layers.TimeDistributed(layers.Dense(4, activation="tanh")), layers.Bidirectional(layers.GRU(2))]
    check_layers(made, (LENGTH,), inputs=[words()], tokens=9)
    made = [layers.Embedding(9, 4, mask_zero=True), layers.GlobalAveragePooling1D()]
    check_layers(made, (LENGTH,), inputs=[words()[[0, 1, 3, 4]]], tokens=9)


def test_masks_of_merged_values() -> None:
    import keras

    layers = keras.layers

    def call(a: Any, b: Any) -> Any:
        a, b = layers.Embedding(9, 4, mask_zero=True)(a), layers.Embedding(9, 4, mask_zero=True)(b)
        joined, along = layers.Concatenate()([a, b]), layers.Concatenate(axis=1)([a, b])
        merged = [joined, layers.Add()([a, b]), layers.Average()([a, layers.Dense(4)(b)]), along]
        return [layers.LSTM(3, return_sequences=True)(x) for x in merged]

    given = [words(), words(1)[::-1].copy()]
    check_layers(None, (LENGTH,), (LENGTH,), call=call, inputs=given, tokens=9)


def test_products_of_masked_values(tmp_path: Any) -> None:
    """What they give where a step does not count is another in each version of Keras 3."""
    import keras

    words = keras.Input((LENGTH,))
    a, b = (keras.layers.Embedding(9, 4, mask_zero=True)(words) for _ in range(2))
    keras.Model(words, keras.layers.Multiply()([a, b])).save(tmp_path / "m.keras")
    with pytest.raises(SpecError, match="Multiply of masked values is not supported"):
        cortex.from_keras(tmp_path / "m.keras")


def test_tokens_are_whole_beside_a_comparison(tmp_path: Any) -> None:
    """Keras's input is floating, and its embedding rounds: a mask may be made of it in any way."""
    import keras

    given = keras.Input((LENGTH,))
    layers = keras.layers
    mask = keras.ops.greater(given, 0)
    model = keras.Model(given, layers.LSTM(3)(layers.Embedding(9, 4)(given), mask=mask))
    model.save(tmp_path / "m.keras")
    network = cortex.from_keras(tmp_path / "m.keras")
    assert [str(x.dtype) for x in network.description.inputs] == ["int64"]
    x = words()
    x[:, -2:] = 0
    np.testing.assert_allclose(network.predict(x), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


def test_at_each_step() -> None:
    import keras

    layers = keras.layers
    inner = [layers.Conv2D(3, 2, padding="same"), layers.BatchNormalization(), layers.MaxPooling2D()]
    inner += [layers.SeparableConv2D(2, 2), layers.Flatten(), layers.Dense(3, activation="relu")]
    check_layers([*map(layers.TimeDistributed, inner), layers.LSTM(2)], (3, 6, 6, 2))
    check_layers([layers.TimeDistributed(layers.LSTM(2, return_sequences=True))], (3, LENGTH, 2))


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_pictures_in_sequence(padding: str) -> None:
    import keras

    one = keras.layers.ConvLSTM2D(2, (3, 2), padding=padding, return_sequences=True)
    other = keras.layers.ConvLSTM2D(2, 2, strides=2, padding=padding, recurrent_activation="hard_sigmoid")
    check_layers([one, other], (3, 6, 5, 2))


def test_multi_head_attention() -> None:
    """Each has inputs of its own: since Keras 3 the first takes the masks of its inputs away from others."""
    import keras

    layers = keras.layers

    def call(x: Any, memory: Any) -> Any:
        masked, other = layers.Masking()(x), layers.Masking()(memory)

        def of(x: Any) -> Any:
            return layers.Dense(3)(x)

        one, two = of(masked), of(masked)
        return [
            layers.MultiHeadAttention(2, 3)(x, x),
            layers.MultiHeadAttention(2, 3, value_dim=2, output_shape=4, dropout=0.1)(x, memory),
            layers.MultiHeadAttention(1, 3, use_bias=False)(one, one),
            layers.MultiHeadAttention(2, 2)(of(masked), of(other), of(other)),
            layers.MultiHeadAttention(2, 2)(two, two, use_causal_mask=True),
            layers.GroupQueryAttention(3, 4, 2)(x, memory),
        ]

    check_layers(None, *SHAPES, call=call, inputs=[sequences(0), sequences(1)[::-1].copy()])


def test_attention() -> None:
    import keras

    layers = keras.layers

    def call(x: Any, memory: Any) -> Any:
        masked, other = layers.Masking()(x), layers.Masking()(memory)
        made: list[Any] = []
        for kind in (layers.Attention, layers.AdditiveAttention):
            made.append(kind()([x, memory], use_causal_mask=True))
            made.append(kind(use_scale=True)([x, memory, layers.Dense(FEATURES)(memory)]))
            made.append(kind(use_scale=False)([masked, other]))
        return made

    check_layers(None, *SHAPES, call=call, inputs=[sequences(0), sequences(1)[::-1].copy()])


@pytest.mark.parametrize("taker", ["GlobalAveragePooling1D", "LSTM"])
@pytest.mark.parametrize("kind", ["Attention", "AdditiveAttention"])
def test_attention_hands_the_mask_of_its_query_on(kind: str, taker: str) -> None:
    """Keras 3 writes a conversion of that mask into the file."""
    import keras

    layers = keras.layers
    behind = layers.LSTM(3) if taker == "LSTM" else layers.GlobalAveragePooling1D()
    embedding, attention = layers.Embedding(9, 4, mask_zero=True), getattr(layers, kind)()

    def call(x: Any) -> Any:
        steps = embedding(x)
        return behind(attention([steps, steps]))

    some = words()[[0, 1, 3, 4]]  # the mean of no steps is not finite
    check_layers(None, (LENGTH,), call=call, inputs=[some], tokens=9)
