"""safetensors files, written here byte by byte from the format's description."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import CheckpointError, DTypeError
from cortex_core import nn
from cortex_core.exchange.safetensors import load_safetensors, opened, save_safetensors
from cortex_core.tensor import Tensor


def written(path: Path, header: Any, data: bytes, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(dtype: str, shape: Any, begin: Any, end: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_every_data_type(tmp_path: Path) -> None:
    data = struct.pack("<2f", 1.5, -2.0) + struct.pack("<d", 0.1) + struct.pack("<q", -(2**40))
    data += struct.pack("<i", -7) + struct.pack("<e", 0.5) + struct.pack("<2H", 0x3FC0, 0xC000) + b"\x01\xff"
    header = {
        "__metadata__": {"format": "pt"},
        "f32": entry("F32", [2, 1], 0, 8),
        "f64": entry("F64", [], 8, 16),
        "i64": entry("I64", [1], 16, 24),
        "i32": entry("I32", [1], 24, 28),
        "f16": entry("F16", [1, 1, 1], 28, 30),
        "bf16": entry("BF16", [2], 30, 34),
        "bool": entry("BOOL", [1], 34, 35),
        "i8": entry("I8", [1], 35, 36),
        "none": entry("F32", [0, 3], 36, 36),
    }
    found = load_safetensors(written(tmp_path / "x.safetensors", header, data))
    assert {k: v.numpy().tolist() for k, v in found.items()} == {
        "f32": [[1.5], [-2.0]], "f64": 0.1, "i64": [-(2**40)], "i32": [-7], "f16": [[[0.5]]],
        "bf16": [1.5, -2.0], "bool": [True], "i8": [-1], "none": [],
    }  # fmt: skip
    assert found["bf16"].dtype.name == "float32"
    assert found["none"].shape == (0, 3)
    found["f32"].zero_()  # the memory is the Tensor's own


def test_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    a = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    b = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    a[1].num_batches_tracked = Tensor(np.array(12))
    save_safetensors(path, a.state_dict())
    b.load_state_dict(load_safetensors(path))
    for key, value in a.state_dict().items():
        np.testing.assert_array_equal(b.state_dict()[key].numpy(), value.numpy())
    length = struct.unpack("<Q", path.read_bytes()[:8])[0]
    header = json.loads(path.read_bytes()[8 : 8 + length])
    assert length % 8 == 0
    assert header["1.num_batches_tracked"] == entry("I64", [], 0, 8)
    assert header["3.weight"]["shape"] == [2, 8]


PUBLISHED = b'@\0\0\0\0\0\0\0{"test":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}    ' + bytes(16)
"""What the tests of the reference implementation expect (bindings/python/tests/test_pt_comparison.py)."""


def test_the_bytes_are_those_of_the_reference(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_safetensors(path, {"test": Tensor(np.zeros((2, 2), np.float32))})
    assert path.read_bytes() == PUBLISHED


def test_metadata_are_texts(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_safetensors(path, {"x": np.float64(3.0)}, {"epochs": "3", "täglich": "\n"})
    length = struct.unpack("<Q", path.read_bytes()[:8])[0]
    header = json.loads(path.read_bytes()[8 : 8 + length])
    assert header == {"__metadata__": {"epochs": "3", "täglich": "\n"}, "x": entry("F64", [], 0, 8)}
    with opened(path) as stored:
        assert stored.metadata == {"epochs": "3", "täglich": "\n"}
        assert stored.read("x") == 3.0
    with pytest.raises(DTypeError, match=r"metadata are texts by name.* got \{'epochs': 3\}"):
        save_safetensors(path, {}, {"epochs": 3})  # type: ignore[dict-item]


def test_turned_arrays_are_written_row_major(tmp_path: Path) -> None:
    path, x = tmp_path / "x.safetensors", np.arange(6.0).reshape(2, 3)
    save_safetensors(path, {"x": x.T, "big-endian": x.astype(">f8")})
    found = load_safetensors(path)
    assert found["x"].tolist() == x.T.tolist()
    assert found["big-endian"].tolist() == x.tolist()


ONE = {"x": entry("F32", [2], 0, 8)}
DAMAGED: dict[str, tuple[Any, bytes, int | None, str]] = {
    "header longer than the file": (ONE, bytes(8), 2**40, "byte 0: a header of 1099511627776 bytes"),
    "header cut": (b'{"x": {', b"", None, "byte 8: the header is no JSON"),
    "header of bytes": (b"\xff\xfe{}", b"", None, "byte 8: the header is no JSON"),
    "header nested": (b"[" * 100_000, b"", None, "byte 8: the header is no JSON"),
    "header a list": ([1], b"", None, "byte 8: the header is a list"),
    "name twice": (b'{"x": 1, "x": 2}', b"", None, "a name stands twice"),
    "data cut": (ONE, bytes(7), None, "'end': the arrays take 8 bytes, the file has 7"),
    "data too long": (ONE, bytes(9), None, "'end': the arrays take 8 bytes, the file has 9"),
    "unknown dtype": ({"x": entry("F8_E4M3", [8], 0, 8)}, bytes(8), None, "'x': unknown dtype 'F8_E4M3'"),
    "dtype a list": ({"x": entry([], [8], 0, 8)}, bytes(8), None, "'x': unknown dtype"),  # type: ignore[arg-type]
    "shape negative": ({"x": entry("F32", [-1, -2], 0, 8)}, bytes(8), None, r"'x': shape \[-1, -2\]"),
    "shape of fractions": ({"x": entry("F32", [2.0], 0, 8)}, bytes(8), None, r"'x': shape \[2.0\]"),
    "shape of truths": ({"x": entry("F32", [True, 2], 0, 8)}, bytes(8), None, r"'x': shape"),
    "shape vast": ({"x": entry("F32", [2**40, 2**40], 0, 8)}, bytes(8), None, "'x': F32 of shape"),
    "shape vast and empty": (
        {"x": entry("F32", [0, 2**40, 2**40], 0, 0)}, b"", None, "'x': shape .* is larger than any array"
    ),
    "offsets turned": ({"x": entry("F32", [2], 8, 0)}, bytes(8), None, "'x': F32 of shape"),
    "offsets of text": ({"x": entry("F32", [2], "0", 8)}, bytes(8), None, "'x': data_offsets"),
    "field missing": ({"x": {"dtype": "F32", "shape": [2]}}, bytes(8), None, "'x': needs the fields"),
    "metadata of numbers": ({"__metadata__": {"a": 1}}, b"", None, "'__metadata__': must be an object of"),
    "metadata a list": ({"__metadata__": []}, b"", None, "'__metadata__': must be an object of texts"),
    "header in UTF-16": ('{"x": 3}'.encode("utf-16"), b"", None, "byte 8: the header is no JSON"),
    "entry no object": ({"x": 3}, b"", None, "'x': needs the fields"),
    "overlap": (
        {"x": entry("F32", [2], 0, 8), "y": entry("F32", [2], 4, 12)}, bytes(12), None,
        "'y': begins at 4, not at 8: it overlaps",
    ),
    "gap": (
        {"x": entry("F32", [1], 0, 4), "y": entry("F32", [1], 8, 12)}, bytes(12), None,
        "'y': begins at 8, not at 4: it leaves a gap",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named_with_its_place(tmp_path: Path, name: str) -> None:
    header, data, length, message = DAMAGED[name]
    path = written(tmp_path / "bad.safetensors", header, data, length)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_safetensors(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (
            b"PK\x03\x04\x14\0\0\0",
            r"an archive, .* write safetensors\.torch\.save_file\(model\.state_dict\(\), path\)",
        ),
        (
            b"\x80\x02\x8a\nl\xfc\x9cF",
            r"a pickle, .* write safetensors\.torch\.save_file\(model\.state_dict\(\), path\)",
        ),
        (pickle.dumps({"weight": [1.0]}), "a pickle, which is not read, as it could run code"),
        (b"\x89HDF\r\n\x1a\n", r"an HDF5 file: `cortex import keras` reads those of Keras"),
    ],
)
def test_other_files_are_told_by_their_beginning(tmp_path: Path, first: bytes, told: str) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(first + bytes(100))
    with pytest.raises(CheckpointError, match=rf"model\.pt: no safetensors file but {told}"):
        load_safetensors(path)


@pytest.mark.parametrize("size", [0, 7])
def test_a_file_without_a_header(tmp_path: Path, size: int) -> None:
    path = tmp_path / "short.safetensors"
    path.write_bytes(bytes(size))
    with pytest.raises(CheckpointError, match=f"the file has {size} bytes"):
        load_safetensors(path)


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_safetensors(path, {"x": np.zeros(1)})
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match="'z' of complex128"):
        save_safetensors(path, {"z": np.zeros(1, complex)})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_arguments_the_other_way_round_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DTypeError, match="a dict where the path stands, expected the path and then"):
        save_safetensors({"x": np.zeros(1)}, "weights.safetensors")  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match=r"model\.state_dict\(\)"):
        save_safetensors(tmp_path / "x", nn.Linear(2, 3))  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match="load_safetensors: got a NoneType where the path stands"):
        load_safetensors(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [1, "\ud800", "__metadata__"])
def test_names_that_no_file_holds(tmp_path: Path, name: Any) -> None:
    with pytest.raises(CheckpointError, match=ascii(name).replace("\\", r"\\")):
        save_safetensors(tmp_path / "x", {name: np.zeros(1), "1": np.ones(1)})
    assert not list(tmp_path.iterdir())


def test_what_is_no_array_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nothing was written:\n  x is a list that is no array: "):
        save_safetensors(tmp_path / "x", {"x": [[1], [1, 2]], "y": np.zeros(1)})
    with pytest.raises(CheckpointError, match="'x' of object"):
        save_safetensors(tmp_path / "x", {"x": None})
    assert not list(tmp_path.iterdir())
