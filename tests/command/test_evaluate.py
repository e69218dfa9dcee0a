"""``cortex evaluate``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import cortex
from cortex_core.training.source import find
from tests.conftest import Cli


def iris_test() -> dict[str, np.ndarray]:
    source = find("iris").load("test")
    arrays = {n: np.empty((len(source), *s.shape), s.dtype) for n, s in source.streams.items()}
    source.gather(np.arange(len(source)), arrays)
    return arrays


@pytest.mark.parametrize("model", [".", "model.cortex"])
def test_by_name_by_file_and_by_hand(cli: Cli, iris_run: Path, tmp_path: Path, model: str) -> None:
    arrays = iris_test()
    np.savez(tmp_path / "iris.npz", **arrays)
    right = (
        cortex.load(iris_run / "model.cortex").predict(arrays["features"]).argmax(axis=1) == arrays["label"]
    )
    for data in ("iris", str(tmp_path / "iris.npz")):
        said = cli("evaluate", iris_run / model, "--data", data, "--json", "-")
        assert said.code == 0
        found = json.loads(said.out)
        assert found["accuracy"] == pytest.approx(right.mean())
        assert np.trace(found["confusion_matrix"]) == right.sum()


def test_the_confusion_matrix_says_which_classes_it_counts(cli: Cli, iris_run: Path) -> None:
    said = cli("evaluate", iris_run).out
    assert "(rows: the true class; the classes are 'setosa', 'versicolor', 'virginica')\n" in said


def test_the_models_own_data_is_the_default(cli: Cli, iris_run: Path) -> None:
    assert cli("evaluate", iris_run).out == cli("evaluate", iris_run, "--data", "iris").out


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("irys", "unknown data set 'irys'"),
        ("digits", "'features'"),
        ("missing.npz", "there is no data file 'missing.npz'"),
        ("damaged.npz", "damaged.npz: damaged"),
        ("labels.npz", "label"),
        ("nan.npz", "not finite"),
    ],
)
def test_wrong_data(
    cli: Cli, iris_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    arrays = iris_test()
    Path("damaged.npz").write_bytes(b"PK\x03\x04 no more")
    np.savez("labels.npz", features=arrays["features"], label=arrays["label"] + 1)
    np.savez("nan.npz", features=arrays["features"] * np.float32("nan"), label=arrays["label"])
    said = cli("evaluate", iris_run, "--data", data)
    assert said.code == 2
    assert expected in said.err


@pytest.mark.parametrize("name", ["nowhere.cortex", "."])
def test_no_model(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    said = cli("evaluate", name, "--data", "iris")
    assert said.code == 2
    assert "there is no such model" in said.err


def test_a_run_without_an_epoch_has_no_model(cli: Cli, iris_run: Path, tmp_path: Path) -> None:
    shutil.copy(iris_run / "last.cortex", tmp_path)
    said = cli("evaluate", tmp_path, "--data", "iris")
    assert said.code == 2
    assert "no epoch of this run has ended" in said.err
    assert "no such model" not in said.err
    assert cli("evaluate", tmp_path / "last.cortex", "--data", "iris").code == 0  # as the message says


def test_the_folds_of_a_cross_validation_are_named(cli: Cli, iris_run: Path, tmp_path: Path) -> None:
    shutil.copytree(iris_run, tmp_path / "fold-1")
    said = cli("evaluate", tmp_path, "--data", "iris")
    assert said.code == 2
    assert f"name one, as {tmp_path / 'fold-1'}" in said.err


def test_a_model_cut_short(cli: Cli, iris_run: Path, tmp_path: Path) -> None:
    content = (iris_run / "model.cortex").read_bytes()
    path = tmp_path / "short.cortex"
    for size in (0, 100, len(content) // 2):
        path.write_bytes(content[:size])
        said = cli("evaluate", path, "--data", "iris")
        assert said.code == 2
        assert "short.cortex" in said.err
