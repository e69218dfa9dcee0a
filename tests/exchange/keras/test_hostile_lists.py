"""Lists of texts, long names and many members take no more memory than Keras's, whatever the file says."""

from __future__ import annotations

import json
import resource
import struct
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cortex_compute.errors import SpecError
from cortex_core.exchange.keras import hdf5
from cortex_core.exchange.keras.hdf5 import Hdf5
from cortex_core.exchange.keras.reader import read
from tests.exchange.keras.handmade import (
    dense,
    numbered_bytes,
    numbers,
    save_archive,
    save_named,
    sequential,
    weights_of,
)

CONFIG = sequential(dense("a", 2))
LONG = 1 << 20


def refused(path: Path, told: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SpecError, match=told) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 120_000  # kilobytes


def reference(content: bytes, text: bytes) -> bytes:
    """What refers to a text: its length, the address of its heap, its number there."""
    at = content.index(text)
    number, _, _, size = struct.unpack("<HHIQ", content[at - 16 : at])
    return struct.pack("<IQI", size, content.rindex(b"GCOL", 0, at), number)


@pytest.mark.parametrize("inside", [False, True])
def test_many_references_to_one_text(tmp_path: Path, inside: bool) -> None:
    """Three hundred names, each the same megabyte; in an archive, too."""
    path = tmp_path / "m.h5"
    names = [f"name{number:04}" for number in range(300)]
    with h5py.File(path, "w") as file:
        file.attrs["long"] = "x" * LONG
        file.attrs["layer_names"] = names
    content = path.read_bytes()
    long_ = reference(content, b"x" * LONG)
    for name in names:
        content = content.replace(reference(content, name.encode()), long_)
    path.write_bytes(content)
    if inside:
        path = save_archive(tmp_path / "m.keras", CONFIG, content)
    refused(path, "its 'layer_names' is larger than any of Keras's")


@pytest.mark.parametrize("size", [0, 8, 1 << 40, 2**64 - 16])
def test_a_heap_that_never_ends(tmp_path: Path, size: int) -> None:
    """Each length tells where the next text is: HDF5 would go in a circle, or far away."""
    path = save_named(tmp_path / "m.h5", {"a": [("x", numbers(1))]}, CONFIG)
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 16 : heap + 32] = struct.pack("<HHIQ", 0, 0, 0, size)
    path.write_bytes(content)
    refused(path, f"a text of {size} bytes in the heap at {heap}")


@pytest.mark.parametrize("odd", [(1 << 32) - 1, 7])
def test_references_that_lie(tmp_path: Path, odd: int) -> None:
    """Of a name's length: HDF5 takes four gigabytes for it.  It may be shorter, which reads less."""
    path = save_named(tmp_path / "m.h5", {"layer": weights_of("layer", 3, 2)}, sequential(dense("layer", 2)))
    content = path.read_bytes()
    right = reference(content, b"layer/bias:0")
    path.write_bytes(content.replace(right, struct.pack("<I", odd) + right[4:]))
    refused(path, f"{odd} bytes of the text" if odd > 12 else "does not have it|damaged")


@pytest.mark.parametrize("version", ["earliest", "v110", "latest"])
@pytest.mark.parametrize("count", [3, 30])
def test_texts_are_found_wherever_hdf5_keeps_attributes(tmp_path: Path, version: str, count: int) -> None:
    """In the header of a group, also behind others, or in a heap: a few, or many."""
    with h5py.File(tmp_path / "m.h5", "w", libver=version) as file:
        file.attrs["layer_names"] = ["to", "replace"]
    with h5py.File(tmp_path / "m.h5", "r+", libver=version) as file:
        for number in range(count):
            file.attrs[f"more{number}"] = "text"
        file.attrs["keras_version"] = b"2.1.6"
        file.attrs["layer_names"] = [f"name{number}" for number in range(count * 30)]
    found = Hdf5(tmp_path / "m.h5")
    assert found.text("", "keras_version") == "2.1.6"
    assert found.texts("", "layer_names") == [f"name{number}" for number in range(count * 30)]


@pytest.mark.parametrize("count", [3, 4000])
def test_a_long_configuration_beside_many_names(tmp_path: Path, count: int) -> None:
    """As Keras writes them: all are of variable length, each is referred to once."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = "x" * LONG
        file.attrs["layer_names"] = [f"a_layer_of_this_name_{number}" for number in range(count)]
        file.attrs["training_config"] = b"y" * LONG
    found = Hdf5(tmp_path / "m.h5")
    names = found.texts("", "layer_names")
    assert names is not None
    assert (len(names), names[2]) == (count, "a_layer_of_this_name_2")
    assert len(found.text("", "model_config")) == LONG


def test_a_text_that_is_too_long(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = "x" * (hdf5.LONGEST_TEXT + 1)
    refused(tmp_path / "m.h5", "'model_config' is larger than any of Keras's")


def test_lists_of_very_many_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where one group, with the list of its weights, is there under many names."""
    monkeypatch.setattr(hdf5, "MOST_NAMES", 1000)
    path = save_named(tmp_path / "m.h5", {"a": [("x", numbers(1))]}, CONFIG)
    with h5py.File(path, "r+") as file:
        weights = file["model_weights"]
        weights["a"].attrs["weight_names"] = [b"x"] * 100
        for number in range(20):
            weights[f"b{number}"] = weights["a"]
        weights.attrs["layer_names"] = [b"a", *(b"b%d" % number for number in range(20))]
    refused(path, "'weight_names': the file lists more than 1000 names")


@pytest.mark.parametrize("depth", [1, 30])
def test_long_paths(tmp_path: Path, depth: int) -> None:
    path = save_named(tmp_path / "m.h5", {"a": [("x", numbers(1))]}, CONFIG)
    with h5py.File(path, "r+") as file:
        group = file.create_group("long")
        for _ in range(depth):
            group = group.create_group("n" * (60_000 // depth))
    refused(path, "the names of what is in the file are longer than any of Keras's")


def test_many_paths_that_are_each_short_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty names of one group with forty names of another one, each path of 4000 characters."""
    monkeypatch.setattr(hdf5, "MOST_TEXT", 1 << 22)
    path = save_named(tmp_path / "m.h5", {"a": [("x", numbers(1))]}, CONFIG)
    with h5py.File(path, "r+") as file:
        inner, outer = file.create_group("i"), file.create_group("o")
        for number in range(40):
            inner[f"{number:02000}"] = file["model_weights/a/x"]
            outer[f"{number:02000}"] = inner
    refused(path, "the names of what is in the file are longer than any of Keras's")


def test_many_members_of_an_archive(tmp_path: Path) -> None:
    path = save_archive(tmp_path / "m.keras", CONFIG, numbered_bytes({"layers/dense/vars/0": numbers(3, 2)}))
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(20_000):
            archive.writestr(f"{number:020}", b"")
    refused(path, "its list of members is longer than any of Keras's")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" + "[]," * (1 << 20) + "0]", "more than 1048576 parts"),
        ('{"a": 1, "b": 2, "a": 1}', "'a' is there twice"),
        ('{"layers": {"x": 1, "x": {}}}', "'x' is there twice"),
        ('{"a": ' + "9" * 5000 + "}", "no JSON"),
        ('{"a": "\\ud800"', "no JSON"),
        ("[" * 100_000 + "]" * 100_000, "no JSON"),
        ('"text"', "is a str; expected an object"),
        ("NaN", "is a float; expected an object"),
    ],
)
def test_configurations(tmp_path: Path, text: str, told: str) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = text
    refused(tmp_path / "m.h5", told)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("model_config", h5py.Empty("S1"), "'model_config' is no text"),
        ("model_config", h5py.Empty("f4"), "'model_config' is no text"),
        ("model_config", np.array([b"{", b"}"]), "'model_config' is no text"),
        ("model_config", [*'{"class_name": "Sequential"}'], "'model_config' is no text"),
        ("model_config", b"\xff{}", "'model_config' is not in UTF-8"),
        ("model_config", np.bytes_(json.dumps(CONFIG).encode("utf-16")), "'model_config' is not in UTF-8"),
        ("training_config", 7, "'training_config' is no text"),
        ("layer_names", h5py.Empty("S1"), "'layer_names' is no text"),
        ("layer_names", [["a"]], "'layer_names' is no list of names"),
        ("layer_names", [b"\xff"], "'layer_names' is not in UTF-8"),
        ("keras_version", 2.1, "'keras_version' is no text"),
    ],
)
def test_attributes_of_other_kinds(tmp_path: Path, name: str, value: Any, told: str) -> None:
    path = save_named(tmp_path / "m.h5", {"a": [("x", numbers(1))]}, CONFIG)
    with h5py.File(path, "r+") as file:
        place = file if name.endswith("_config") else file["model_weights"]
        place.attrs[name] = value
    refused(path, told)


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (h5py.Empty("f4"), "holds nothing; expected numbers"),
        (np.zeros((3, 2), h5py.enum_dtype({"off": 0, "on": 1}, "i1")), "holds an enumeration"),
        (np.zeros((3, 2), "c16"), "holds complex128"),
        (np.zeros((3, 2), "g"), "holds float128"),
        (np.zeros((3, 2), "V5"), "holds |V5"),
        (np.array([b"a", b"b"]), "holds |S1"),
    ],
)
def test_arrays_of_other_kinds(tmp_path: Path, array: Any, told: str) -> None:
    path = save_named(tmp_path / "m.h5", {"a": [("x", numbers(1))]}, CONFIG)
    with h5py.File(path, "r+") as file:
        del file["model_weights/a/x"]
        file["model_weights/a/x"] = array
    refused(path, told)
