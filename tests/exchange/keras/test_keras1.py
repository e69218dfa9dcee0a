"""Layers as Keras 1 wrote them, from the configuration and the arrays of the file to what they compute."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cortex_compute.errors import SpecError
from cortex_core.declared import declare
from cortex_core.exchange.keras import translators
from cortex_core.exchange.keras.config import read_model
from cortex_core.exchange.keras.convert import Converted, convert
from cortex_core.exchange.keras.legacy import modern_weights
from cortex_core.exchange.keras.model import File, Weight
from cortex_core.exchange.keras.proof import load_proved
from cortex_core.network import Network
from cortex_core.spec import read
from tests.exchange.keras.configs import Json, listed
from tests.exchange.keras.handmade import save_named

Shape = tuple[int, ...]

OF_WEIGHTS: Json = dict.fromkeys(("W_regularizer", "b_regularizer", "W_constraint", "b_constraint"))
DENSE: Json = {"output_dim": 3, "init": "uniform", "activation": "linear", "bias": True, **OF_WEIGHTS}
CONV: Json = {
    "nb_filter": 6,
    "nb_row": 3,
    "nb_col": 2,
    "init": "glorot_uniform",
    "activation": "linear",
    "border_mode": "valid",
    "subsample": [1, 1],
    "dim_ordering": "tf",
    "bias": True,
    "activity_regularizer": None,
    **OF_WEIGHTS,
}
FIRST = {**CONV, "dim_ordering": "th"}
STEPS: Json = {
    "nb_filter": 6,
    "filter_length": 3,
    "init": "uniform",
    "activation": "relu",
    "border_mode": "same",
    "subsample_length": 1,
    "bias": True,
    "input_dim": 4,
    "input_length": 8,
    **OF_WEIGHTS,
}
VOLUME: Json = {
    **{key: value for key, value in CONV.items() if key not in ("nb_row", "nb_col")},
    "kernel_dim1": 3,
    "kernel_dim2": 2,
    "kernel_dim3": 1,
    "subsample": [1, 1, 1],
}
RECURRENT: Json = {
    "output_dim": 5,
    "init": "glorot_uniform",
    "inner_init": "orthogonal",
    "activation": "tanh",
    "U_regularizer": None,
    "dropout_W": 0.1,
    "dropout_U": 0.0,
    "return_sequences": True,
    "go_backwards": False,
    "stateful": False,
    "unroll": False,
    "consume_less": "cpu",
    "input_dim": 4,
    "input_length": None,
    **OF_WEIGHTS,
}
GATED = {**RECURRENT, "inner_activation": "hard_sigmoid"}
LSTM = {**GATED, "forget_bias_init": "one"}
GATE = [(4, 5), (5, 5), (5,)]
POOL: Json = {"pool_size": [2, 2], "strides": [2, 2], "border_mode": "valid", "dim_ordering": "tf"}
NORM: Json = {"mode": 0, "axis": 1, "epsilon": 1e-3, "momentum": 0.99, "gamma_regularizer": None}
DEPTH: Json = {key: value for key, value in CONV.items() if not key.startswith("W_")}
TOKENS: Json = {"input_dim": 9, "output_dim": 3, "init": "uniform", "input_length": 7, "mask_zero": False}

LAYERS: list[tuple[str, Shape, Json, Sequence[Shape], Shape]] = [
    ("Activation", (4,), {"activation": "hard_sigmoid"}, (), (4,)),
    ("ActivityRegularization", (4,), {"l1": 0.1, "l2": 0.0}, (), (4,)),
    ("AtrousConvolution1D", (8, 4), {**STEPS, "atrous_rate": 2}, [(3, 1, 4, 6), (6,)], (8, 6)),
    ("AtrousConvolution2D", (8, 8, 4), {**CONV, "atrous_rate": [2, 2]}, [(3, 2, 4, 6), (6,)], (4, 6, 6)),
    ("AveragePooling1D", (8, 4), {"pool_length": 2, "stride": 2, "border_mode": "valid"}, (), (4, 4)),
    ("AveragePooling2D", (4, 8, 8), {**POOL, "dim_ordering": "th"}, (), (4, 4, 4)),
    ("BatchNormalization", (4, 8, 8), NORM, [(4,)] * 4, (4, 8, 8)),
    ("Bidirectional", (7, 4), {"merge_mode": "concat", "layer": listed("LSTM", **LSTM)}, GATE * 8, (7, 10)),
    ("Convolution1D", (8, 4), STEPS, [(3, 1, 4, 6), (6,)], (8, 6)),
    ("Convolution2D", (8, 8, 4), CONV, [(3, 2, 4, 6), (6,)], (6, 7, 6)),
    ("Convolution2D", (4, 8, 8), FIRST, [(6, 4, 3, 2), (6,)], (6, 6, 7)),
    ("Convolution3D", (4, 4, 4, 2), VOLUME, [(3, 2, 1, 2, 6), (6,)], (2, 3, 4, 6)),
    ("Cropping2D", (8, 8, 4), {"cropping": [[1, 1], [0, 2]], "dim_ordering": "tf"}, (), (6, 6, 4)),
    ("Dense", (4,), {**DENSE, "input_dim": 4}, [(4, 3), (3,)], (3,)),
    ("Dropout", (4,), {"p": 0.5}, (), (4,)),
    ("ELU", (4,), {"alpha": 1.0}, (), (4,)),
    ("Embedding", (7,), {**TOKENS, "dropout": 0.2, "W_constraint": None}, [(9, 3)], (7, 3)),
    ("Flatten", (2, 3, 4), {}, (), (24,)),
    ("GRU", (7, 4), GATED, GATE * 3, (7, 5)),
    ("GaussianDropout", (4,), {"p": 0.1}, (), (4,)),
    ("GaussianNoise", (4,), {"sigma": 0.1}, (), (4,)),
    ("GlobalAveragePooling2D", (8, 8, 4), {"dim_ordering": "tf"}, (), (4,)),
    ("GlobalMaxPooling1D", (8, 4), {}, (), (4,)),
    ("LSTM", (7, 4), LSTM, GATE * 4, (7, 5)),
    ("LeakyReLU", (4,), {"alpha": 0.3}, (), (4,)),
    ("LocallyConnected1D", (8, 4), {**STEPS, "border_mode": "valid"}, [(6, 12, 6), (6, 6)], (6, 6)),
    ("LocallyConnected2D", (4, 8, 8), FIRST, [(42, 24, 6), (6, 7, 6)], (6, 6, 7)),
    ("Masking", (7, 4), {"mask_value": 0.0}, (), (7, 4)),
    ("MaxPooling1D", (8, 4), {"pool_length": 2, "stride": 2, "border_mode": "valid"}, (), (4, 4)),
    ("MaxPooling2D", (8, 8, 4), POOL, (), (4, 4, 4)),
    ("PReLU", (4,), {"init": "zero"}, [(4,)], (4,)),
    ("Permute", (8, 4), {"dims": [2, 1]}, (), (4, 8)),
    ("RepeatVector", (4,), {"n": 3}, (), (3, 4)),
    ("Reshape", (4,), {"target_shape": [2, 2]}, (), (2, 2)),
    (
        "SeparableConvolution2D",
        (8, 8, 4),
        {**DEPTH, "depth_multiplier": 2},
        [(3, 2, 4, 2), (1, 1, 8, 6), (6,)],
        (6, 7, 6),
    ),
    ("SimpleRNN", (7, 4), RECURRENT, GATE, (7, 5)),
    ("SpatialDropout2D", (8, 8, 4), {"p": 0.5, "dim_ordering": "tf"}, (), (8, 8, 4)),
    ("ThresholdedReLU", (4,), {"theta": 1.0}, (), (4,)),
    ("TimeDistributed", (7, 4), {"layer": listed("Dense", **DENSE)}, [(4, 3), (3,)], (7, 3)),
    ("TimeDistributedDense", (7, 4), {**DENSE, "input_length": 7}, [(4, 3), (3,)], (7, 3)),
    ("UpSampling1D", (8, 4), {"length": 2}, (), (16, 4)),
    ("UpSampling2D", (8, 8, 4), {"size": [2, 2], "dim_ordering": "tf"}, (), (16, 16, 4)),
    ("ZeroPadding1D", (8, 4), {"padding": 2}, (), (12, 4)),
    ("ZeroPadding2D", (8, 8, 4), {"padding": [1, 1, 2, 0], "dim_ordering": "tf"}, (), (10, 10, 4)),
]


@pytest.fixture(autouse=True, scope="module")
def _translators() -> None:
    translators.load()


def drawn(shapes: Sequence[Shape]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.uniform(0.1, 1, shape).astype(np.float32) for shape in shapes]


def converted_of(
    kind: str,
    config: Json,
    arrays: Sequence[np.ndarray],
    shape: Shape,
    backend: str = "",
    version: str = "1.2.2",
) -> Converted:
    """What becomes of a model of one layer."""
    own = {"name": "x", "trainable": True, "batch_input_shape": [None, *shape]}
    own["input_dtype"] = "int32" if kind == "Embedding" else "float32"
    model = read_model({"class_name": "Sequential", "config": [listed(kind, **{**own, **config})]}, version)
    layer = model.layers[1]
    weights = tuple(Weight("w", array.shape, "float32", array.copy) for array in arrays)
    layer = replace(layer, weights=modern_weights(layer, weights, version, backend))
    return convert(File(version, backend, replace(model, layers=(model.layers[0], layer))))


def predicted(
    kind: str,
    config: Json,
    arrays: Sequence[np.ndarray],
    x: np.ndarray,
    backend: str = "",
    version: str = "1.2.2",
) -> np.ndarray:
    """What a model of one layer gives, with the axes that Keras has."""
    converted = converted_of(kind, config, arrays, x.shape[1:], backend, version)
    description = read(converted.description("m"))
    network = Network.blank(description, declare(description))
    for name, array in converted.builder.weights.items():
        network.store.write(name, array)
    found: np.ndarray = network.predict(x)
    return np.moveaxis(found, -1, 1) if converted.outputs[0].moved else found


@pytest.mark.parametrize(
    ("kind", "shape", "config", "weights", "expected"), LAYERS, ids=[case[0] for case in LAYERS]
)
def test_layers_of_keras_1_are_read_whole(
    kind: str, shape: Shape, config: Json, weights: Sequence[Shape], expected: Shape
) -> None:
    x = np.ones((2, *shape), np.int64 if kind == "Embedding" else np.float32)
    assert predicted(kind, config, drawn(weights), x).shape == (2, *expected)


ODD: list[Any] = [
    None,
    -1,
    0,
    10**12,
    -(10**30),
    2.5,
    float("nan"),
    "x",
    [],
    [1],
    [None],
    [0, 0],
    [[1]],
    {},
    True,
    False,
]


def test_odd_values_of_fields_are_told_or_do_not_matter() -> None:
    rng = random.Random(0)
    told = 0
    for _ in range(200):
        kind, shape, config, weights, _ = rng.choice(LAYERS)
        key = rng.choice([*config, "batch_input_shape", "name", "trainable"])
        try:
            converted_of(kind, {**config, key: rng.choice(ODD)}, drawn(weights), shape)
        except SpecError as error:
            told += "x" in str(error)
    assert told > 50


def hard(x: np.ndarray) -> np.ndarray:
    """The hard sigmoid of Keras 1."""
    return np.clip(0.2 * x + 0.5, 0, 1)


def test_an_lstm_of_keras_1() -> None:
    """Its arrays are W, U, b of the gates i, c, f, o."""
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in GATE * 4]
    x = rng.normal(size=(2, 7, 4)).astype(np.float32)
    h = c = np.zeros((2, 5))
    right = []
    for t in range(7):
        i, new, f, o = (x[:, t] @ arrays[3 * g] + h @ arrays[3 * g + 1] + arrays[3 * g + 2] for g in range(4))
        c = hard(f) * c + hard(i) * np.tanh(new)
        h = hard(o) * np.tanh(c)
        right.append(h)
    np.testing.assert_allclose(predicted("LSTM", LSTM, arrays, x), np.stack(right, 1), rtol=1e-4, atol=1e-5)


def test_a_gru_of_keras_1() -> None:
    """Its arrays are W, U, b of the gates z, r, h; it resets before the product."""
    rng = np.random.default_rng(2)
    wz, uz, bz, wr, ur, br, wh, uh, bh = (rng.normal(size=shape).astype(np.float32) for shape in GATE * 3)
    x = rng.normal(size=(2, 7, 4)).astype(np.float32)
    h = np.zeros((2, 5))
    for t in range(7):
        z, r = hard(x[:, t] @ wz + h @ uz + bz), hard(x[:, t] @ wr + h @ ur + br)
        h = z * h + (1 - z) * np.tanh(x[:, t] @ wh + (r * h) @ uh + bh)
    found = predicted("GRU", GATED, [wz, uz, bz, wr, ur, br, wh, uh, bh], x)
    np.testing.assert_allclose(found[:, -1], h, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", ["", "theano"])
def test_a_convolution_with_its_channels_first(backend: str) -> None:
    """Theano turns the kernel (out, in, rows, columns), others do not."""
    kernel, bias, x = drawn([(6, 4, 3, 2), (6,), (2, 4, 5, 5)])
    seen = kernel[:, :, ::-1, ::-1] if backend else kernel
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 2), axis=(2, 3))
    right = np.einsum("nchwrs,ocrs->nohw", windows, seen) + bias[:, None, None]
    found = predicted("Convolution2D", FIRST, [kernel, bias], x, backend)
    np.testing.assert_allclose(found, right, rtol=1e-5)


@pytest.mark.parametrize(("version", "root"), [("", True), ("1.0.5", True), ("1.0.7", False)])
def test_the_first_versions_keep_the_deviation_of_batches(version: str, root: bool) -> None:
    """And called it running_std, as later ones call a variance; epsilon is added to it."""
    arrays = scale, shift, mean, spread = drawn([(4,)] * 4)
    x = np.random.default_rng(3).normal(size=(5, 4)).astype(np.float32)
    divisor = spread + 1e-3 if root else np.sqrt(spread + 1e-3)
    found = predicted("BatchNormalization", {**NORM, "axis": -1}, arrays, x, version=version)
    np.testing.assert_allclose(found, scale * (x - mean) / divisor + shift, rtol=1e-4, atol=1e-5)
    with pytest.raises(SpecError, match=r"Keras 1\.0\.6 keeps a deviation on Theano"):
        predicted("BatchNormalization", {**NORM, "axis": -1}, arrays, x, version="1.0.6")


def padded(*orders: str) -> Json:
    """A margin, whose order of axes Keras 1 does not write, and convolutions with these."""
    first = listed("ZeroPadding2D", name="pad", padding=[1, 2], batch_input_shape=[None, 4, 5, 5])
    others = [listed("Convolution2D", **{**CONV, "dim_ordering": order}, name=order) for order in orders]
    return {"class_name": "Sequential", "config": [first, *others]}


@pytest.mark.parametrize(("order", "there"), [("th", "channels_first"), ("tf", "channels_last")])
def test_a_layer_that_does_not_say_the_order_of_its_axes_has_that_of_the_others(
    order: str, there: str
) -> None:
    layer = read_model(padded(order), "1.1.2").layers[1]
    assert (layer.name, layer.config["data_format"], layer.refused) == ("pad", there, "")
    of_keras_2 = read_model(padded(order), "2.0.0").layers[1]
    assert "data_format" not in of_keras_2.config
    assert "other layers have both" in read_model(padded("th", "tf"), "1.1.2").layers[1].refused


@pytest.mark.parametrize("order", ["th", "tf"])
@pytest.mark.parametrize("backend", ["", "tensorflow", "theano"])
def test_what_keras_1_ran_on_is_in_a_recording_or_a_guess(tmp_path: Path, order: str, backend: str) -> None:
    """The file does not say it; a kernel of Theano is turned by 180 degrees."""
    first = order == "th"
    kernel, bias, x = drawn([(6, 4, 3, 2) if first else (3, 2, 4, 6), (6,), (2, 4, 5, 5)])
    seen = kernel if first else kernel.transpose(3, 2, 0, 1)
    seen = seen[:, :, ::-1, ::-1] if backend == "theano" or (first and not backend) else seen
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 2), axis=(2, 3))
    right = np.einsum("nchwrs,ocrs->nohw", windows, seen) + bias[:, None, None]
    if not first:
        x, right = np.moveaxis(x, 1, -1), np.moveaxis(right, 1, -1)
    config = {**CONV, "dim_ordering": order, "name": "c", "batch_input_shape": [None, *x.shape[1:]]}
    whole = {"class_name": "Sequential", "config": [listed("Convolution2D", **config)]}
    path = save_named(tmp_path / "m.h5", {"c": [("c_W", kernel), ("c_b", bias)]}, whole, version="1.2.2")
    with h5py.File(path, "r+") as file:
        del file.attrs["backend"], file["model_weights"].attrs["backend"]
    about = json.dumps({"backend": backend})
    recording = {"about": np.array(about), "input/c_input": x, "layer/c/0/0": right.astype(np.float32)}
    np.savez(tmp_path / "recording.npz", **recording)
    imported, proof = load_proved(path, None, None, tmp_path / "recording.npz", 1e-5)
    assert proof.verdict == "proved", str(proof)
    told = [note for note in imported.notes if "kernels are taken for those of" in note]
    assert len(told) == (not backend)
    assert all(("of Theano, which turns" in note) == first for note in told)


def scattered(x: np.ndarray, kernel: np.ndarray, step: int, cut: int, size: int) -> np.ndarray:
    """Each number of x spread by a kernel (rows, columns, in, out); ``size`` from ``cut`` on stay."""
    batch, high, wide, _ = x.shape
    rows, columns, _, filters = kernel.shape
    out = np.zeros((batch, step * high + rows + size, step * wide + columns + size, filters))
    for i in range(high):
        for j in range(wide):
            spread = np.einsum("nc,rsco->nrso", x[:, i, j], kernel)
            out[:, step * i : step * i + rows, step * j : step * j + columns] += spread
    return out[:, cut : cut + size, cut : cut + size]


@pytest.mark.parametrize(
    ("mode", "step", "size", "cut"),
    [("valid", 1, 6, 0), ("valid", 2, 9, 0), ("valid", 2, 10, 0), ("same", 2, 8, 0), ("same", 2, 7, 1)],
)
def test_a_deconvolution_is_as_large_as_keras_1_says(mode: str, step: int, size: int, cut: int) -> None:
    """Of what a forward convolution of that size would pad, the smaller half stands before."""
    kernel, bias, x = drawn([(3, 3, 4, 6), (6,), (2, 4, 4, 4)])
    config = {**CONV, "nb_col": 3, "border_mode": mode, "subsample": [step, step]}
    found = predicted("Deconvolution2D", {**config, "output_shape": [None, size, size, 6]}, [kernel, bias], x)
    np.testing.assert_allclose(found, scattered(x, kernel, step, cut, size) + bias, rtol=1e-5)
