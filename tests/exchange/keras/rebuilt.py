"""The models of the real files, built again in Keras 3 as the code that made them says, with their arrays.

What Keras 3 has no words for (gates with the hard sigmoid of Keras 2, cuDNN's order of weights, Theano's
kernels) is written out here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Arrays = list[np.ndarray]


def file_arrays(path: Path) -> dict[str, Arrays]:
    """The arrays of each layer of a file that Keras 1 or 2 wrote, by its name."""
    with h5py.File(path) as file:
        group = file.get("model_weights", file)
        names = [name.decode() if isinstance(name, bytes) else name for name in group.attrs["layer_names"]]
        return {name: [group[name][w][()] for w in group[name].attrs["weight_names"]] for name in names}


def filled(model: Any, arrays: Mapping[str, Arrays]) -> Any:
    """The model with these arrays in the layers of these names; all that have any must be named."""
    for layer in model.layers:
        layer.set_weights(arrays.get(layer.name, []))
    return model


def hard_sigmoid(x: Any) -> Any:
    """That of Keras 1 and 2."""
    from keras import ops

    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def squeezenet(path: Path) -> Any:
    """SqueezeNet 1.1 up to its last dropout; names have _ in place of /."""
    from keras import Model, layers

    def fire(x: Any, name: str, squeeze: int, expand: int) -> Any:
        def conv(x: Any, what: str, filters: int, size: int) -> Any:
            found = layers.Conv2D(filters, size, padding="same", name=f"{name}_{what}")(x)
            return layers.Activation("relu", name=f"{name}_relu_{what}")(found)

        x = conv(x, "squeeze1x1", squeeze, 1)
        both = conv(x, "expand1x1", expand, 1), conv(x, "expand3x3", expand, 3)
        return layers.Concatenate(name=f"{name}_concat")(both)

    inputs = x = layers.Input((227, 227, 3), name="input_1")
    x = layers.Conv2D(64, 3, strides=2, name="conv1")(x)
    x = layers.Activation("relu", name="relu_conv1")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    x = fire(fire(x, "fire2", 16, 64), "fire3", 16, 64)
    x = layers.MaxPooling2D(3, strides=2, name="pool3")(x)
    x = fire(fire(x, "fire4", 32, 128), "fire5", 32, 128)
    x = layers.MaxPooling2D(3, strides=2, name="pool5")(x)
    x = fire(fire(x, "fire6", 48, 192), "fire7", 48, 192)
    x = fire(fire(x, "fire8", 64, 256), "fire9", 64, 256)
    x = layers.Dropout(0.5, name="drop9")(x)
    arrays = {name.replace("/", "_"): found for name, found in file_arrays(path).items()}
    if "th_kernels" in path.name:
        arrays = {name: [_of_theano(x) for x in found] for name, found in arrays.items()}
    return filled(Model(inputs, x), arrays)


def _of_theano(x: np.ndarray) -> np.ndarray:
    """Theano's kernels are (out, in, height, width), and turned by 180 degrees."""
    return x.transpose(2, 3, 1, 0)[::-1, ::-1] if x.ndim == 4 else x


def deepcut(path: Path) -> Any:
    """deepcut 0.7.0.0: the convolutions of a text of 21 characters."""
    from keras import Model, layers

    inputs = [layers.Input((21,), name=f"input_{k}") for k in (1, 2)]
    a = layers.Embedding(178, 32, name="embedding_1")(inputs[0])
    a = layers.SpatialDropout1D(0.15, name="spatial_dropout1d_1")(a)
    a = layers.BatchNormalization(name="batch_normalization_1")(a)
    found = []
    for k in range(1, 13):
        filters = 200 if k <= 8 else 150 if k <= 11 else 100
        x = layers.Conv1D(filters, k, activation="relu", name=f"conv1d_{k}")(a)
        x = layers.TimeDistributed(layers.Dense(5), name=f"time_distributed_{k}")(x)
        found.append(layers.ZeroPadding1D((0, k - 1), name=f"zero_padding1d_{k}")(x))
    largest = layers.Maximum(name="maximum_1")(found)
    b = layers.Embedding(12, 12, name="embedding_2")(inputs[1])
    b = layers.SpatialDropout1D(0.15, name="spatial_dropout1d_2")(b)
    x = layers.Concatenate(name="concatenate_1")([a, largest, b])
    x = layers.BatchNormalization(name="batch_normalization_2")(x)
    x = layers.Flatten(name="flatten_1")(x)
    x = layers.Dense(100, activation="relu", name="dense_13")(x)
    x = layers.Dense(1, activation="sigmoid", name="dense_14")(x)
    return filled(Model(inputs, x), file_arrays(path))


def mhcnuggets(path: Path) -> Any:
    """MHCnuggets 2.3.2: an LSTM of Keras 2.2, which has hard sigmoids for its gates."""
    from keras import Model, layers

    inputs = layers.Input((15, 21), name="peptide")
    x = layers.Masking(-4200000.0, name="masking_1")(inputs)
    x = layers.LSTM(64, recurrent_activation=hard_sigmoid, name="lstm_1")(x)
    x = layers.Dense(64, name="dense_1")(x)
    x = layers.Dropout(0.2, name="dropout_1")(x)
    x = layers.Activation("tanh", name="activation_1")(x)
    x = layers.Dense(1, name="dense_2")(x)
    x = layers.Activation("sigmoid", name="activation_2")(x)
    return filled(Model(inputs, x), file_arrays(path))


def textgenrnn(path: Path) -> Any:
    """textgenrnn 2.0.0, whose weights a GPU wrote: its LSTMs are those of cuDNN."""
    import keras
    from keras import Model, layers, ops

    class AttentionWeightedAverage(keras.Layer):
        def build(self, shape: Any) -> None:
            self.W = self.add_weight(shape=(shape[2], 1))

        def call(self, x: Any) -> Any:
            scores = ops.squeeze(ops.matmul(x, self.W), -1)
            weights = ops.exp(scores - ops.max(scores, -1, keepdims=True))
            weights = weights / (ops.sum(weights, 1, keepdims=True) + 1e-7)
            return ops.sum(x * ops.expand_dims(weights, -1), 1)

    inputs = layers.Input((40,), name="text")
    x = layers.Embedding(465, 100, name="embedding")(inputs)
    first = layers.LSTM(128, return_sequences=True, name="rnn_1")(x)
    second = layers.LSTM(128, return_sequences=True, name="rnn_2")(first)
    x = layers.Concatenate(name="rnn_concat")([x, first, second])
    x = AttentionWeightedAverage(name="attention")(x)
    x = layers.Dense(465, activation="softmax", name="output")(x)
    arrays = file_arrays(path)
    arrays |= {name: list(_of_cudnn(*arrays[name])) for name in ("rnn_1", "rnn_2")}
    return filled(Model(inputs, x), arrays)


def _of_cudnn(kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> Iterator[np.ndarray]:
    """cuDNN has a matrix (units, in) for each gate, which Keras calls (in, units); and two biases."""
    units = len(recurrent)
    yield np.hstack([k.reshape(units, -1).T for k in np.hsplit(kernel, 4)])
    yield np.hstack([k.T for k in np.hsplit(recurrent, 4)])
    yield bias[: 4 * units] + bias[4 * units :]


def ethnicolr(path: Path) -> Any:
    """ethnicolr's LSTM over 20 tokens: of Keras 2.1, with hard sigmoids, or of tf.keras, with sigmoids."""
    from keras import Model, layers

    arrays = file_arrays(path)
    names = list(arrays)[-3:]
    gates = hard_sigmoid if "k216" in path.name else "sigmoid"
    inputs = layers.Input((20,))
    x = layers.Embedding(*arrays[names[0]][0].shape, name=names[0])(inputs)
    x = layers.LSTM(128, recurrent_activation=gates, name=names[1])(x)
    x = layers.Dense(4, activation="softmax", name=names[2])(x)
    return filled(Model(inputs, x), arrays)
