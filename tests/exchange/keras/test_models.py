"""Models that are more than layers one behind the other."""

from __future__ import annotations

import pytest

from tests.exchange.keras.support import check_layers

pytestmark = pytest.mark.peers


def test_several_inputs_and_outputs() -> None:
    from keras import layers

    def call(a: object, b: object) -> object:
        both = layers.Concatenate()([layers.Dense(4, activation="relu")(a), b])
        return [layers.Dense(3)(both), layers.Dense(2)(a), layers.Dense(2, activation="softmax")(both)]

    check_layers(None, (3,), (5,), call=call)


def test_a_layer_that_is_called_again_on_what_came_of_it() -> None:
    from keras import layers

    shared, other = layers.Dense(4), layers.Dense(4, activation="tanh")

    def call(a: object, b: object) -> object:
        return layers.Add()([shared(other(shared(a))), shared(b)])

    check_layers(None, (4,), (4,), call=call)


def test_nested_models_are_called_twice() -> None:
    import keras
    from keras import layers

    norm = layers.BatchNormalization()
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(6), norm, layers.Dense(4)])
    x = keras.Input((4,))
    middle = keras.Model(x, layers.Add()([inner(layers.Dense(4, activation="relu")(x)), x]))

    def call(a: object, b: object) -> object:
        return [middle(middle(a)), layers.Subtract()([inner(b), a])]

    check_layers(None, (4,), (4,), call=call)


def test_a_nested_model_that_is_called_with_a_mapping() -> None:
    """Its values go by their names, in whatever order they are written."""
    import keras
    from keras import layers

    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    inner = keras.Model({"b": b, "a": a}, layers.Subtract()([a, b]))
    check_layers(None, (4,), (4,), call=lambda x, y: inner({"b": x, "a": y}))


def test_frozen_layers_keep_their_weights_apart() -> None:
    """HDF5 has the weights of a nested model in two heaps: those that learn, and the others."""
    import keras
    from keras import layers

    frozen = layers.Dense(4, trainable=False)
    norm = layers.BatchNormalization()
    inner = keras.Sequential([keras.Input((4,)), frozen, norm, layers.Dense(4)])
    check_layers([inner, layers.Dense(3)], (4,))


def test_axes_of_any_length() -> None:
    from keras import layers

    check_layers([layers.Conv1D(4, 3, padding="same"), layers.GlobalAveragePooling1D()], (None, 3))
    check_layers([layers.Conv2D(4, 3), layers.GlobalMaxPooling2D(), layers.Dense(2)], (None, None, 3))


def test_channels_first() -> None:
    """As files of Theano have them: what stands along axis 1 there is joined and normalised here too."""
    from keras import layers

    first = {"data_format": "channels_first"}

    def call(x: object) -> object:
        a = layers.Conv2D(4, 3, padding="same", strides=2, activation="relu", **first)(x)
        b = layers.AveragePooling2D(2, **first)(layers.ZeroPadding2D(((0, 1), (1, 0)), **first)(x))
        both = layers.BatchNormalization(axis=1)(layers.Concatenate(axis=1)([a, b]))
        flat = layers.Flatten()(layers.Activation("relu")(both))
        return [
            layers.Dense(3)(flat),
            layers.GlobalAveragePooling2D(**first)(both),
            layers.Softmax(axis=1)(both),
        ]

    check_layers(None, (3, 7, 9), call=call)


@pytest.mark.filterwarnings("ignore:Layer 'sequential:UserWarning")
def test_masks_go_into_nested_models() -> None:
    """But not out of them, of which Keras warns."""
    import keras
    from keras import layers

    inner = keras.Sequential([keras.Input((6, 4)), layers.LSTM(5, return_sequences=True), layers.GRU(3)])
    check_layers([layers.Embedding(4, 4, mask_zero=True), inner, layers.Dense(2)], (6,), tokens=4)
