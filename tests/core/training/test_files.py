"""A data file that a description names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cortex_compute.errors import DataError, SpecError
from cortex_core.training.evaluate import evaluate
from cortex_core.training.train import train

TEXT = """
inputs: {x: [2]}
layers:
  - dense: {units: 1, id: y}
loss: {mse: {of: y, target: t}}
train: {data: line.npz, optimizer: {sgd: {learning_rate: 0.1}}, epochs: 60, batch_size: 10}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A description in a folder of its own, without its data."""
    (tmp_path / "spec").mkdir()
    (tmp_path / "spec" / "line.yaml").write_text(TEXT)
    return tmp_path / "spec" / "line.yaml"


def save(path: Path) -> None:
    """Points of the plane t = 2 a - b + 1."""
    x = np.random.default_rng(0).normal(size=(40, 2))
    np.savez(path, x=x, t=x @ [[2.0], [-1.0]] + 1.0)


@pytest.mark.parametrize("place", ["beside", "CORTEX_DATA", "CORTEX_CACHE"])
def test_the_file_is_found(spec: Path, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = spec.parent if place == "beside" else tmp_path / "elsewhere"
    folder.mkdir(exist_ok=True)
    if place != "beside":
        monkeypatch.setenv(place, str(folder))
    save(folder / "line.npz")
    run = train(spec, out=tmp_path / "run", progress=False)
    np.testing.assert_allclose(run.network.parameters["y/kernel"].ravel(), [2, -1], atol=1e-3)
    assert evaluate(run.network, str(folder / "line.npz"))["loss"] < 1e-5


def test_a_file_that_is_nowhere_damaged_or_of_another_kind(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"there is no data file 'line.npz'; looked for .*spec.line.npz"):
        train(spec, out=tmp_path / "run", progress=False)
    (spec.parent / "line.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(DataError, match="damaged"):
        train(spec, out=tmp_path / "run", progress=False)
    with pytest.raises(SpecError, match=r"'line.mat' is no file that is known: expected one of .*\.npz"):
        train(spec, data="line.mat", out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
