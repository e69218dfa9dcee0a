"""From picture files and arrays to a trained model and back, through core."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import DataError
from cortex_core.training.data import open_data
from cortex_core.training.evaluate import evaluate
from tests.datasets.pictures.made import rows_of, save


def description(data: Any, **options: Any) -> dict[str, Any]:
    train = {"data": data, "epochs": 12, "batch_size": 8, "optimizer": {"adam": {"learning_rate": 0.05}}}
    return {
        "inputs": {"image": "auto"},
        "layers": ["global_avg_pool2d", {"dense": {"units": 2, "id": "y"}}],
        "loss": {"softmax_cross_entropy": {"of": "y", "target": "label"}},
        "train": {**train, **options},
    }


@pytest.fixture
def sky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty pictures, of bright and of dark skies."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CORTEX_DATA", str(tmp_path))
    rng = np.random.default_rng(1)
    for label, middle in (("day", 190), ("night", 60)):
        for i in range(20):
            height, width = rng.integers(9, 20, 2)
            pixels = rng.normal(middle, 30, (height, width, 3)).clip(0, 255).astype(np.uint8)
            save(tmp_path / "sky" / label / f"{i}.jpg", pixels)
    return tmp_path / "sky"


def test_pictures(sky: Path, tmp_path: Path) -> None:
    spec = description({"images": {"folder": "sky", "size": [8, 8]}}, test=0.25, split="stratified")
    run = cortex.train(spec, out=tmp_path / "run", backend="numpy", progress=False)
    assert run.history["accuracy"][-1] == 1
    network = cortex.load(tmp_path / "run" / "model.cortex")
    assert network.description.inputs[0].shape == (8, 8, 3)
    assert evaluate(network, None, "test")["accuracy"] == 1
    other = tmp_path / "other"
    shutil.copytree(sky, other)
    assert evaluate(network, str(other))["accuracy"] == 1
    shutil.rmtree(other / "day")
    (other / "night").rename(other / "day")  # each is wrong now
    assert evaluate(network, str(other))["accuracy"] == 0
    (other / "day").rename(other / "dusk")
    with pytest.raises(
        DataError, match="'label' is 'dusk', as no picture of the training part; there are day, night"
    ):
        evaluate(network, str(other))


def test_the_epochs_read_no_picture(sky: Path, tmp_path: Path) -> None:
    spec = description({"images": {"folder": "sky", "size": [8, 8], "channels": 1}})
    data = open_data(cortex.network(spec).description)
    before = rows_of(data.train)  # type: ignore[arg-type]
    shutil.rmtree(sky)
    for name, array in rows_of(data.train).items():  # type: ignore[arg-type]
        np.testing.assert_array_equal(array, before[name])


def test_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(2)
    label = rng.integers(0, 2, 60)
    image = rng.normal(60 + 130 * label[:, None, None, None], 30, (60, 4, 4, 3)).clip(0, 255).astype(np.uint8)
    np.savez("a.npz", image=image, label=label)
    run = cortex.train(description("a.npz"), out=tmp_path / "run", backend="numpy", progress=False)
    assert run.history["accuracy"][-1] == 1
    network = cortex.load(tmp_path / "run" / "model.cortex")
    assert evaluate(network, "a.npz")["accuracy"] == 1
    np.savez("floats.npz", image=image.astype(np.float32), label=label)
    with pytest.raises(DataError, match=r"'image' was learned as pixels: give uint8, or floats in 0..1"):
        evaluate(network, "floats.npz")
