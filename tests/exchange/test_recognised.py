"""A model of Keras where one of ours is expected: the error says how it is brought in."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import h5py
import pytest

import cortex
from cortex_compute.errors import CheckpointError
from cortex_core.exchange.recognised import advice
from tests.conftest import Cli
from tests.exchange.keras.handmade import save_numbered
from tests.keras_file import write_model


@pytest.fixture(params=["model.h5", "model.keras"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    if path.suffix == ".h5":
        write_model(path)
    else:
        save_numbered(path, {"class_name": "Sequential", "config": {"layers": []}}, {})
    return path


def test_errors_say_how_it_is_brought_in(cli: Cli, model: Path) -> None:
    told = f"this is a model of Keras: cortex import keras {model} -o NAME.cortex brings it in"
    for arguments in (["check", model], ["train", model], ["predict", model, model]):
        said = cli(*arguments)
        assert said.code == 2
        assert " ".join(said.err.split()).endswith(told)
    with pytest.raises(CheckpointError, match=f"{re.escape(told)}$"):
        cortex.load(model)


def test_each_import_names_the_other(cli: Cli, model: Path, tmp_path: Path) -> None:
    said = cli("import", "onnx", model, "-o", "a.cortex")
    assert said.code == 2
    assert f"cortex import keras {model} -o NAME.cortex" in " ".join(said.err.split())


@pytest.mark.parametrize("kind", ["onnx", "safetensors"])
def test_files_that_are_known_by_their_names(cli: Cli, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(b"\x08\xff\xff")
    for arguments in (["check", path], ["export", "keras", path, "-o", "b.keras"]):
        said = cli(*arguments)
        assert said.code == 2
        assert f"cortex import {kind} {path} -o NAME.cortex" in " ".join(said.err.split())
    assert advice(path, but=kind) == ""


def test_other_files_are_none(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = 1
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("config.json", "{}")
    (tmp_path / "cut.keras").write_bytes(b"PK\x03\x04")
    (tmp_path / "a.txt").write_text("cortex: 1")
    for name in ("a.h5", "a.zip", "cut.keras", "a.txt", "none", "."):
        assert advice(tmp_path / name) == ""
