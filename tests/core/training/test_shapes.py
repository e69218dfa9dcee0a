"""Networks of other shapes train too: several inputs, losses and metrics, an autoencoder, a thread."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_core.training import source
from cortex_core.training.source import Arrays, register
from cortex_core.training.train import train
from tests.core.training.networks import blobs, description, line, plain

AUTOENCODER = {
    "inputs": {"x": [4]},
    "layers": [{"dense": 2}, {"dense": {"units": 4, "id": "y"}}],
    "loss": {"mse": {"of": "y", "target": "x"}},
    "train": {"batch_size": 8, "epochs": 30, "optimizer": {"adam": {"learning_rate": 0.02}}},
}


def quiet(spec: Any, data: Any, out: Path, **options: Any) -> Any:
    return train(spec, data, out=out, progress=False, **options)


def test_an_input_may_be_the_target(tmp_path: Path) -> None:
    losses = quiet(AUTOENCODER, blobs(), tmp_path).history["loss"]
    assert losses[-1] < 0.5 * losses[0]


def test_two_inputs_and_two_losses(tmp_path: Path) -> None:
    spec = {
        "inputs": {"x": [4], "ids": {"shape": [3], "dtype": "int64"}},
        "layers": [
            {"embedding": {"tokens": 7, "units": 4, "from": "ids"}},
            "flatten",
            {"dense": {"units": 4, "id": "e"}},
            {"add": {"from": ["e", "x"]}},
            {"dense": {"units": 3, "id": "a"}},
            {"dense": {"units": 1, "id": "b", "from": "e"}},
        ],
        "loss": [
            {"softmax_cross_entropy": {"of": "a", "target": "label"}},
            {"binary_cross_entropy": {"of": "b", "target": "flag", "from_logits": True, "weight": 0.5}},
        ],
        "train": {"batch_size": 8},
    }
    data = blobs()
    data["ids"] = np.random.default_rng(0).integers(0, 7, (50, 3))
    data["flag"] = (data["label"] > 0).astype(np.float32)[:, None]
    run = quiet(spec, data, tmp_path, validation=0.2)
    row = run.history.rows[-1]
    parts = row["softmax_cross_entropy"] + 0.5 * row["binary_cross_entropy"]
    assert row["loss"] == pytest.approx(parts, rel=1e-5)
    assert run.confusion is not None
    assert run.confusion.sum() == 10


def test_every_metric_is_a_column_but_the_matrix(tmp_path: Path) -> None:
    names = ["accuracy", {"top_k": 2}, "precision", "recall", "f1", {"confusion_matrix": {"name": "who"}}]
    run = quiet(description(metrics=names), blobs(), tmp_path / "a", validation=0.3)
    assert {"accuracy", "top_k", "precision", "recall", "f1", "validation_f1"} < set(run.history.columns)
    assert "who" not in run.history.columns
    assert run.confusion is not None
    assert np.trace(run.confusion) / 15 == pytest.approx(run.metrics["validation"]["accuracy"])
    run = quiet(plain(metrics=["mse", "mae", "r2"]), line(), tmp_path / "b")
    assert run.history["mse"] == pytest.approx(run.history["loss"], rel=1e-5)
    assert run.confusion is None


def test_training_in_a_thread(tmp_path: Path) -> None:
    runs: list[Any] = []
    thread = threading.Thread(target=lambda: runs.append(quiet(AUTOENCODER, blobs(), tmp_path)))
    thread.start()
    thread.join()
    assert len(runs[0].history) == 30


@dataclass(frozen=True)
class Mine:
    """A data set of the user's own."""

    name = "mine"
    streams = Arrays(blobs()).streams
    lengths = {"train": 50, "test": 20, "hard": 10}

    def load(self, split: str) -> Arrays:
        return Arrays(blobs(self.lengths[split], seed=self.lengths[split]))


def test_a_registered_set_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_registered", {})
    register(Mine())
    run = quiet(description(data="mine", validation="hard"), None, tmp_path)
    assert set(run.metrics) == {"train", "validation", "test"}
    assert run.confusion is not None
    assert run.confusion.sum() == 20
