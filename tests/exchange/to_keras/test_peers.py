"""Keras 3 loads what was exported, as it loads its own files, and predicts the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_core.network import Network
from tests.exchange.keras.peer import draw_weights
from tests.exchange.keras.test_applications import FAMILIES, SMALLEST, Family
from tests.exchange.to_keras.support import CASES, apart, drawn, inputs, of_keras
from tests.exchange.to_keras.test_every_layer import EXPORTED, OWN, of_layer
from tests.exchange.to_keras.test_export import UNDERSCORES
from tests.exchange.to_keras.test_order import crossed

pytestmark = pytest.mark.peers

TOLERANCE = 1e-5


def check(network: Network, folder: Path) -> None:
    """The model, and one that is built of its configuration and takes the weights alone."""
    import keras

    x = inputs(network)
    ours = network.predict(x)
    cortex.to_keras(network, folder / "model.keras")
    model = keras.models.load_model(folder / "model.keras")
    assert apart(ours, of_keras(model, x)) <= TOLERANCE
    cortex.to_keras(network, folder / "model.weights.h5")
    again = type(model).from_config(model.get_config())
    again.load_weights(folder / "model.weights.h5")
    for a, b in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", EXPORTED)
def test_the_example_of_each_layer(kind: str, tmp_path: Path) -> None:
    check(of_layer(OWN[kind]), tmp_path)


NOT_ON_JAX = "attention of wider values"
"""Keras's own layer raises there, as a note says: PyTorch computes it."""

ON_TORCH = """
import sys, keras, numpy as np
model, x, found = sys.argv[1:]
arrays = np.load(x)
np.save(found, keras.models.load_model(model).predict([arrays["q"], arrays["k"]], verbose=0))
"""


@pytest.mark.parametrize("name", [name for name in CASES if name != NOT_ON_JAX])
def test_cases(name: str, tmp_path: Path) -> None:
    check(drawn(CASES[name]), tmp_path)


def test_the_case_that_jax_lacks(tmp_path: Path) -> None:
    network, files = drawn(CASES[NOT_ON_JAX]), [tmp_path / name for name in ("m.keras", "x.npz", "y.npy")]
    cortex.to_keras(network, files[0])
    np.savez(files[1], **inputs(network))
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    subprocess.run([sys.executable, "-c", ON_TORCH, *map(str, files)], env=environment, check=True)
    assert apart(network.predict(inputs(network)), np.load(files[2])) <= TOLERANCE


def test_inputs_keep_their_names(tmp_path: Path) -> None:
    check(drawn(UNDERSCORES), tmp_path)


@pytest.mark.parametrize("seed", range(8))
def test_weights_find_their_layers(seed: int, tmp_path: Path) -> None:
    check(drawn(crossed(seed)), tmp_path)


@pytest.mark.parametrize("seed", range(4))
def test_layers_are_listed_as_keras_lists_them(seed: int, tmp_path: Path) -> None:
    """Of the same model saved by Keras: older versions look for names, newer ones for numbers."""
    import json
    import zipfile

    import keras

    cortex.to_keras(drawn(crossed(seed)), tmp_path / "ours.keras")
    keras.models.load_model(tmp_path / "ours.keras").save(tmp_path / "theirs.keras")
    ours, theirs = (
        json.loads(zipfile.ZipFile(tmp_path / f"{name}.keras").read("config.json"))["config"]["layers"]
        for name in ("ours", "theirs")
    )
    assert [layer["name"] for layer in ours] == [layer["name"] for layer in theirs]


CHOSEN = ("mobilenet_v2", "convnext", "densenet", "efficientnet_v2", "nasnet")


@pytest.mark.parametrize("name", CHOSEN)
def test_there_and_back(name: str, tmp_path: Path) -> None:
    """From Keras, and to Keras again."""
    import keras

    family: Family = FAMILIES[name]
    shape = (family.size, family.size, 3)
    made: Any = getattr(keras.applications, family.models[0])
    model = made(weights=None, input_shape=shape, classes=10)
    assert (family.models[0], family) in SMALLEST
    draw_weights(model, np.random.default_rng(0))
    model.save(tmp_path / "first.keras")
    network = cortex.from_keras(tmp_path / "first.keras")
    cortex.to_keras(network, tmp_path / "second.keras")
    again = keras.models.load_model(tmp_path / "second.keras")
    x = (family.scale * np.random.default_rng(1).normal(size=(2, *shape))).astype(np.float32)
    ours, theirs = again.predict(x, verbose=0), model.predict(x, verbose=0)
    assert apart(network.predict(x), ours) <= TOLERANCE
    assert apart(theirs, ours) <= 1e-4  # as the import is compared with
