"""What prepares and varies pictures inside a model gives in predictions what it gives in Keras."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import SpecError
from cortex_core.exchange.keras.images import VARIED
from tests.exchange.keras.configs import entry, given, graph
from tests.exchange.keras.support import check_layers

SETTINGS: dict[str, dict[str, Any]] = {
    "AugMix": {},
    "RandAugment": {},
    "RandomColorJitter": {"brightness_factor": 0.2},
    "RandomHue": {"factor": 0.2, "value_range": [0, 255]},
    "RandomPosterization": {"factor": 4},
    "RandomShear": {"x_factor": 0.2},
    "RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1},
    "RandomZoom": {"height_factor": 0.2},
    **{key: {} for key in ("CutMix", "MixUp", "RandomElasticTransform", "RandomErasing", "RandomFlip")},
    **{key: {} for key in ("RandomGrayscale", "RandomPerspective", "Solarization")},
}
LEFT_OUT = ("RandomHeight", "RandomWidth")
"""tf.keras alone has these."""


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore:.*requested dtype int64")
def test_pictures_are_varied_in_training_alone() -> None:
    """In a functional model, which writes ``training=True`` for each, and before others."""
    import keras

    x = inputs = keras.Input((8, 7, 3))
    for name in VARIED:
        if name not in LEFT_OUT:
            x = getattr(keras.layers, name)(**SETTINGS.get(name, {"factor": 0.3}))(x)
    check_saved(keras.Model(inputs, keras.layers.Conv2D(2, 3)(x)), formats=("keras",))


def check_saved(model: Any, formats: Sequence[str]) -> None:
    """As a whole: one by one the layers would be called as in training."""
    import cortex

    x = np.random.default_rng(0).uniform(0, 255, (3, *model.input_shape[1:])).astype(np.float32)
    right = model.predict(x, verbose=0)
    assert np.abs(right[0] - right[1]).max() > 0.01 * np.abs(right).max()
    for name in formats:
        with tempfile.TemporaryDirectory() as folder:
            model.save(f"{folder}/m.{name}")
            found = cortex.from_keras(f"{folder}/m.{name}").predict(x)
        assert np.abs(found - right).max() <= 1e-4 * np.abs(right).max()


@pytest.mark.peers
def test_pictures_in_a_file_of_layers_one_behind_the_other() -> None:
    import keras

    layers = keras.layers
    varied = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)], name="varied")
    made = [layers.Rescaling(1 / 255), varied, layers.RandomZoom(0.2), layers.Conv2D(2, 3)]
    model = keras.Sequential([keras.Input((8, 7, 3)), *made])
    check_saved(model, formats=("keras", "h5"))


@pytest.mark.peers
@pytest.mark.parametrize("order", ["channels_last", "channels_first"])
def test_sizes(order: str) -> None:
    import keras

    layers = keras.layers
    how = {"data_format": order}

    def call(x: Any) -> Any:
        made: list[Any] = []
        for size in ((5, 4), (12, 3), (16, 18), (3, 20)):
            for mode in ("nearest", "bilinear"):
                made.append(layers.Resizing(*size, interpolation=mode, **how)(x))
            made.append(layers.Resizing(*size, crop_to_aspect_ratio=True, **how)(x))
            made.append(layers.Resizing(*size, pad_to_aspect_ratio=True, **how)(x))
            made.append(layers.CenterCrop(*size, **how)(x))
        return [*made, layers.CenterCrop(8, 9, **how)(x), layers.CenterCrop(5, 4, **how)(x)]

    check_layers(None, (2, 8, 9) if order == "channels_first" else (8, 9, 2), call=call)


@pytest.mark.peers
def test_a_size_of_pictures_of_any_size() -> None:
    import keras

    layers = keras.layers
    check_layers([layers.Resizing(4, 6), layers.Flatten(), layers.Dense(3)], (None, None, 2))


def refused(kind: str, *shape: Any, **config: Any) -> str:
    from cortex_core.exchange.keras.config import read_model
    from cortex_core.exchange.keras.convert import convert
    from cortex_core.exchange.keras.model import File

    layers = [given("a", *(shape or (8, 9, 2))), entry(kind, "x", ["a", 0, 0], **config)]
    with pytest.raises(SpecError) as told:
        convert(File("2.9.0", "", read_model(graph(layers, [["a", 0, 0]], [["x", 0, 0]]), "2.9.0")))
    return str(told.value)


@pytest.mark.parametrize(
    ("kind", "config", "words"),
    [
        ("Resizing", {"interpolation": "bicubic"}, "interpolation is 'bicubic'; supported: 'bilinear'"),
        ("Resizing", {"antialias": True}, "antialias is True; supported: False"),
        ("Resizing", {"pad_to_aspect_ratio": True, "fill_value": 1.0}, "fill_value is 1.0; supported: 0.0"),
        ("Resizing", {"fill_bottom": 1}, "does not know fill_bottom=1"),
        ("Resizing", {"height": 0}, "0 is too small"),
        ("Resizing", {"height": 3 * 10**9}, "3000000000 is too large"),
        ("Resizing", {"height": 300_000, "interpolation": "nearest"}, "300000 is too large"),
        ("Resizing", {"height": "x", "crop_to_aspect_ratio": True}, "its configuration is not as Keras"),
        ("Resizing", {"width": 0, "crop_to_aspect_ratio": True}, "its configuration is not as Keras"),
        ("RandomCrop", {}, "it makes [4, 4] of [8, 9], in predictions in another way"),
        ("StringLookup", {}, "looks words up, which descriptions do not; give the network what"),
        ("Discretization", {}, "it makes classes of numbers"),
        ("LSTMCell", {}, "it is only a part of another layer; map it"),
    ],
)
def test_what_is_refused(kind: str, config: Any, words: str) -> None:
    assert words in refused(kind, **{"height": 4, "width": 4, **config})


def test_a_ratio_needs_a_known_size() -> None:
    told = refused("Resizing", None, None, 2, height=4, width=4, crop_to_aspect_ratio=True)
    assert "expected pictures of a known size" in told


def before_2_3(size: Any, block: str = "") -> Any:
    """A bilinear UpSampling2D of Keras 2.2.4, with a block for it, or none."""
    from cortex_core.exchange.keras.config import read_model
    from cortex_core.exchange.keras.convert import convert
    from cortex_core.exchange.keras.custom import block_of, translator
    from cortex_core.exchange.keras.model import File

    up = entry("UpSampling2D", "up", ["a", 0, 0], size=size, interpolation="bilinear")
    model = read_model(graph([given("a", 2, 2, 1), up], [["a", 0, 0]], [["up", 0, 0]]), "2.2.4")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "block.yaml")
        path.write_text(block)
        found = convert(
            File("2.2.4", "tensorflow", model), {"up": translator(block_of("up", path))} if block else {}
        )
    return cortex.network(found.description("m"))


POINTS = """
layers:
  - upsampling2d: {size: 2, mode: nearest}
  - padding2d: {padding: [[0, 1], [0, 1]], mode: replicate}
  - avg_pool2d: {size: 2, stride: 1}
"""


def test_bilinear_up_sampling_before_keras_2_3_is_refused_and_a_block_stands_for_it() -> None:
    """TensorFlow 1's resize_bilinear makes [0, 1/2, 1, 1] of [0, 1], TensorFlow 2 [0, 1/4, 3/4, 1]."""
    words = r"up \(UpSampling2D\): .*TensorFlow 2 the block is upsampling2d with.*; map it to one of them"
    with pytest.raises(SpecError, match=words):
        before_2_3([2, 2])
    x = np.array([[0, 1], [0, 1]], np.float32).reshape(1, 2, 2, 1)
    squares = "layers: [upsampling2d: {size: 2, mode: bilinear}]"
    for block, row in ((POINTS, [0, 0.5, 1, 1]), (squares, [0, 0.25, 0.75, 1])):
        found = before_2_3([2, 2], block).predict(x)[0, ..., 0]
        np.testing.assert_allclose(found, [row] * 4, atol=1e-7)
