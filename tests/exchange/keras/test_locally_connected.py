"""Locally connected layers, which Keras 1 and 2 had, beside their formula in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import SpecError
from cortex_core.exchange.keras.assign import assign
from cortex_core.exchange.keras.imported import Imported, load
from tests.exchange.keras.configs import Json, listed, sequential
from tests.exchange.keras.handmade import save_named
from tests.exchange.keras.test_assign import described, drawn, stored
from tests.exchange.keras.test_keras1 import CONV, STEPS, predicted

RNG = np.random.default_rng(6)
FIRST, LAST = "channels_first", "channels_last"


def formula(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None, size: Any, stride: Any, order: str
) -> np.ndarray:
    """As Keras writes it down: what a window cuts out of x is flattened as it lies, and a bias is reshaped.

    x (B, *N, in), or (B, in, *N) with the channels first.
    """
    first = order == FIRST
    lengths = x.shape[2:] if first else x.shape[1:-1]
    places = [(n - k) // s + 1 for n, k, s in zip(lengths, size, stride)]
    y = np.empty((len(x), kernel.shape[-1], *places) if first else (len(x), *places, kernel.shape[-1]))
    for number, place in enumerate(np.ndindex(*places)):
        cut = tuple(slice(p * s, p * s + k) for p, s, k in zip(place, stride, size))
        window = x[(slice(None), slice(None), *cut) if first else (slice(None), *cut)]
        at = (slice(None), slice(None), *place) if first else (slice(None), *place)
        y[at] = window.reshape(len(x), -1).astype(np.float64) @ kernel[number]
    return y if bias is None else y + bias.reshape(y.shape[1:])


def close(found: np.ndarray, right: np.ndarray) -> None:
    assert found.shape == right.shape
    np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_steps_of_keras_1(bias: bool) -> None:
    x, kernel, b = RNG.normal(size=(3, 8, 4)), drawn(3, 12, 6), drawn(3, 6)
    config = {**STEPS, "border_mode": "valid", "subsample_length": 2, "activation": "linear", "bias": bias}
    found = predicted("LocallyConnected1D", config, [kernel, b][: 1 + bias], x)
    close(found, formula(x, kernel, b if bias else None, (3,), (2,), LAST))


@pytest.mark.parametrize(("order", "told"), [(LAST, "tf"), (FIRST, "th")])
@pytest.mark.parametrize("backend", ["tensorflow", "theano"])
def test_pictures_of_keras_1(order: str, told: str, backend: str) -> None:
    """Theano turns no kernels here: they are matrices."""
    x, kernel, b = RNG.normal(size=(2, 6, 7, 4)), drawn(12, 24, 6), drawn(4, 3, 6)
    x = x.transpose(0, 3, 1, 2) if order == FIRST else x
    config = {**CONV, "dim_ordering": told, "subsample": [1, 2], "activation": "relu"}
    found = predicted("LocallyConnected2D", config, [kernel, b], x, backend)
    close(found, np.maximum(formula(x, kernel, b, (3, 2), (1, 2), order), 0))


def model(kind: str, size: list[int], stride: list[int], shape: tuple[int, ...], **config: Any) -> Json:
    """As Keras 2 writes it."""
    own = {
        "name": "local",
        "trainable": True,
        "batch_input_shape": [None, *shape],
        "dtype": "float32",
        "filters": 5,
        "kernel_size": size,
        "strides": stride,
        "padding": "valid",
        "activation": "tanh",
        "use_bias": True,
        "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}},
        "kernel_constraint": None,
        "implementation": 1,
    }
    return sequential(listed(kind, **{**own, **config}))


def imported(folder: Path, config: Json, *arrays: np.ndarray) -> Imported:
    named = [(f"local/{name}:0", array) for name, array in zip(("kernel", "bias"), arrays)]
    return load(save_named(folder / "m.h5", {"local": named}, config, "2.3.1"))


@pytest.mark.parametrize("order", [LAST, FIRST])
@pytest.mark.parametrize(
    ("lengths", "size", "stride", "places"),
    [([7], [3], [2], (3,)), ([5, 6], [2, 3], [1, 1], (4, 4)), ([5, 6], [3, 2], [2, 3], (2, 2))],
)
def test_a_file_of_keras_2(
    tmp_path: Path, order: str, lengths: list[int], size: list[int], stride: list[int], places: Any
) -> None:
    shape = (2, *lengths) if order == FIRST else (*lengths, 2)
    kernel, bias = drawn(int(np.prod(places)), 2 * int(np.prod(size)), 5), drawn(*places, 5)
    config = model(f"LocallyConnected{len(size)}D", size, stride, shape, data_format=order)
    made = imported(tmp_path, config, kernel, bias)
    x = RNG.normal(size=(3, *shape)).astype(np.float32)
    found = made.network.predict(x)
    right = np.tanh(formula(x, kernel, bias, size, stride, order))
    close(np.moveaxis(found, -1, 1) if order == FIRST else found, right)


def test_one_number_for_both_axes_of_a_window(tmp_path: Path) -> None:
    """With channels first, where the kernel is turned by the window."""
    kernel, bias = drawn(12, 18, 5), drawn(3, 4, 5)
    config = model("LocallyConnected2D", [], [1, 1], (2, 5, 6), kernel_size=3, data_format=FIRST)
    made = imported(tmp_path, config, kernel, bias)
    x = RNG.normal(size=(3, 2, 5, 6)).astype(np.float32)
    right = np.tanh(formula(x, kernel, bias, [3, 3], [1, 1], FIRST))
    close(np.moveaxis(made.network.predict(x), -1, 1), right)


@pytest.mark.parametrize(
    ("config", "shapes", "told"),
    [
        ({"implementation": 2}, [(7, 2, 5, 5), (5, 5)], r"local \(LocallyConnected1D\): .*implementation 2"),
        ({"implementation": 3}, [(150,), (5, 5)], "implementation 3"),
        ({"padding": "same"}, [(5, 6, 5), (5, 5)], "padding is 'same'; supported: 'valid'"),
        ({"kernel_size": [9]}, [(5, 6, 5), (5, 5)], "does not fit into it"),
        ({}, [(4, 6, 5), (5, 5)], r"kernel has shape \[4, 6, 5\]; expected \[5, 6, 5\]"),
        ({}, [(5, 6, 5)], "lacking are bias"),
        ({"data_format": FIRST}, [(5, 7, 5), (5, 5)], r"kernel has shape \[5, 7, 5\]; expected \[5, 6, 5\]"),
        ({"data_format": FIRST}, [(5, 6), ()], r"kernel has shape \[5, 6\]; expected \[5, 6, 5\]"),
        ({"data_format": FIRST, "kernel_size": "x"}, [(5, 6, 5), (5, 5)], r"kernel.0: 'x' is text"),
    ],
)
def test_what_is_refused(tmp_path: Path, config: Json, shapes: Any, told: str) -> None:
    shape = (2, 7) if config.get("data_format") == FIRST else (7, 2)
    made = model("LocallyConnected1D", [3], [1], shape, **config)
    with pytest.raises(SpecError, match=told):
        imported(tmp_path, made, *(drawn(*s) for s in shapes))


def test_a_constraint_on_each_place_is_told(tmp_path: Path) -> None:
    """Ours are over all that leads to a filter, of all places."""
    constraint = {"class_name": "MaxNorm", "config": {"max_value": 1.0, "axis": 0}}
    config = model("LocallyConnected1D", [3], [1], (7, 2), kernel_constraint=constraint)
    made = imported(tmp_path, config, drawn(5, 6, 5), drawn(5, 5))
    assert any("its norm is over other axes than here" in note for note in made.notes)


def test_weights_alone_of_a_network_with_its_channels_first(tmp_path: Path) -> None:
    """The kernel of the convolution before it tells the order."""
    network = described(
        [6, 6, 3],
        {"conv2d": {"filters": 4, "kernel": 3, "id": "shared"}},
        {"locally_connected2d": {"filters": 2, "kernel": [3, 2], "id": "local"}},
    )
    kernel, bias = drawn(6, 24, 2), drawn(2, 3, 2)
    layers = {
        "shared": {"shared_W": drawn(4, 3, 3, 3), "shared_b": drawn(4)},
        "local": {"local_W": kernel, "local_b": bias},
    }
    made = assign(network, stored(tmp_path, layers, "1.2.2", "tensorflow"))
    x = RNG.normal(size=(2, 4, 4, 4))
    found = np.stack(
        [
            x[:, i : i + 3, j : j + 2].reshape(2, -1) @ made.parameters["local/kernel"][3 * i + j]
            + made.parameters["local/bias"][i, j]
            for i, j in np.ndindex(2, 3)
        ]
    )
    right = formula(x.transpose(0, 3, 1, 2), kernel, bias, (3, 2), (1, 1), FIRST)
    close(found, right.transpose(2, 3, 0, 1).reshape(6, 2, 2))
