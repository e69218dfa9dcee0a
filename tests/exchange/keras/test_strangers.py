"""What is said of files that are none of Keras's: what they are, and what to do."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import cortex
from cortex_compute.errors import SpecError
from cortex_core.exchange.keras.imported import load
from cortex_core.exchange.keras.reader import read, read_weights
from tests.keras_file import LAYERS, write_model


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("m.h5", b"", "it is empty"),
        ("m.h5", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "`git lfs pull`"),
        ("m.h5", b"\n<!DOCTYPE html>\n<html>", "a page of HTML"),
        ("m.h5", b"<html><head>", "a page of HTML"),
        ("checkpoint", b'model_checkpoint_path: "ck"', "TensorFlow"),
        ("saved_model.pb", b"\x08\x01\x12\x04", "TensorFlow"),
        ("ck.index", b"\0\0\0", "TensorFlow"),
        ("ck.data-00000-of-00001", b"\0\0\0", "TensorFlow"),
        ("m.onnx", b"\x08\x07", "cortex import onnx "),
        ("m.pkl", b"\x80\x04\x95", "pickles and other formats are not read"),
    ],
)
def test_other_files_are_told_apart(name: str, content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SpecError, match="is neither HDF5, nor an archive of Keras") as caught:
        read(path)
    assert told in str(caught.value)


def test_an_archive_of_pytorch(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
        archive.writestr("archive/version", b"3")
    with pytest.raises(SpecError, match=r"model\.pt: it is of PyTorch"):
        read(path)


def test_a_recording_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "recording.npz"
    arrays: dict[str, Any] = {"input/x": np.ones(3), "layer/a/0/0": np.ones(3)}
    np.savez(path, **arrays)
    with pytest.raises(SpecError, match=r"recording\.npz: it holds arrays of NumPy, .* goes to --outputs"):
        read(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{}", r"this is no architecture of Keras: it holds nothing, and no 'class_name'; expected what"),
        ('{"verdict": "proved", "layers": []}', "it holds verdict, layers, and no 'class_name'"),
        ("[]", r"a configuration is a list; expected an object, as `model.to_json\(\)` writes"),
    ],
)
def test_json_that_is_no_architecture(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "model.json"
    path.write_text(content)
    write_model(tmp_path / "model.h5")
    with pytest.raises(SpecError, match=rf"model\.json: .*{told}"):
        read(path, tmp_path / "model.h5")


def test_a_model_of_cortex_needs_no_import(tmp_path: Path) -> None:
    path = tmp_path / "model.cortex"
    cortex.network({"inputs": {"x": [3]}, "layers": [{"dense": 2}]}).save(path)
    for reads in (read, read_weights):
        with pytest.raises(SpecError, match=r"model\.cortex: .*is a model of Cortex already"):
            reads(path)


def test_data_in_hdf5_are_named(tmp_path: Path) -> None:
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["pictures/x"] = np.ones((2, 3))
    for reads in (read, read_weights):
        with pytest.raises(SpecError, match=r"does not hold weights as any version .* arrays are pictures/x"):
            reads(path)


def test_a_lambda_of_keras_3_is_said_to_be_code_once(tmp_path: Path) -> None:
    """Both its class and what it holds are."""
    held = {"class_name": "__lambda__", "config": {"code": "4wEAAAAA"}}
    layer = {"class_name": "Lambda", "module": "keras.layers", "config": {"name": "code", "function": held}}
    write_model(tmp_path / "model.h5", [*LAYERS[:2], layer, LAYERS[2]])
    with pytest.raises(SpecError) as caught:
        load(tmp_path / "model.h5")
    assert str(caught.value).count("code of Python") == 1
    assert "code (Lambda): it holds code of Python, which is never run; map it to a block" in str(
        caught.value
    )
