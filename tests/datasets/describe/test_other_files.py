"""Descriptions of arrays, texts and folders of pictures."""

from __future__ import annotations

import contextlib
import io
import json
import tracemalloc
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cortex_compute.errors import DataError
from cortex_datasets.describe import arrays, describe, pictures, text

Array = np.ndarray


def described(path: Path, array: Array) -> Any:
    np.save(path, array)
    return describe(path)["arrays"][0]  # type: ignore[typeddict-item]


def test_an_npz(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(3, 2, (50, 4)).astype(np.float32)
    x[0, :2] = np.nan, np.inf
    y = np.arange(50) % 3
    np.savez(tmp_path / "a.npz", x=x, y=y, names=np.array(["b", "a", "b"]))
    found: Any = describe(tmp_path / "a.npz")
    json.dumps(found, allow_nan=False)
    parts = {part["name"]: part for part in found["arrays"]}
    assert list(parts) == ["x", "y", "names"]
    known = x[np.isfinite(x)].astype(np.float64)
    told = parts["x"]["number"]
    assert (parts["x"]["shape"], parts["x"]["dtype"]) == ([50, 4], "float32")
    assert (parts["x"]["nan"], told["infinite"]) == (1, 1)
    assert told["mean"] == pytest.approx(known.mean(), rel=1e-12)
    assert told["std"] == pytest.approx(known.std(ddof=1), rel=1e-12)
    assert told["quartiles"] == pytest.approx(np.quantile(known, (0.25, 0.5, 0.75)).tolist(), rel=1e-12)
    assert "category" not in parts["x"]
    assert parts["y"]["category"] == [
        {"value": "0", "count": 17},
        {"value": "1", "count": 17},
        {"value": "2", "count": 16},
    ]
    assert parts["names"]["category"] == [{"value": "a", "count": 1}, {"value": "b", "count": 2}]
    assert "number" not in parts["names"]


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_large_array_goes_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: Any
) -> None:
    monkeypatch.setattr(arrays, "BLOCK", 1000)
    monkeypatch.setattr(arrays, "DRAWN", 5000)
    x = np.asarray(np.random.default_rng(0).gamma(2, 3, (400, 50)) + 1e4, order=order)
    x[7, 7], x[8, 8] = np.nan, -np.inf
    found = described(tmp_path / "x.npy", x)
    known = x[np.isfinite(x)]
    told = found["number"]
    assert (found["nan"], told["infinite"]) == (1, 1)
    assert (told["min"], told["max"]) == (known.min(), known.max())
    assert told["mean"] == pytest.approx(known.mean(), rel=1e-12)
    assert told["std"] == pytest.approx(known.std(ddof=1), rel=1e-9)
    # Of 5,000 drawn numbers each quartile lies within 5 standard errors, about 0.036 of the ranks.
    ranks = [(known < q).mean() for q in told["quartiles"]]
    assert ranks == pytest.approx([0.25, 0.5, 0.75], abs=0.036)
    assert "drawn at random" in describe(tmp_path / "x.npy")["notes"][0]


@pytest.mark.parametrize("array", [np.zeros((0, 3)), np.float32(2.5), np.array([True, False, True])])
def test_odd_arrays(tmp_path: Path, array: Any) -> None:
    found = described(tmp_path / "x.npy", array)
    assert found["shape"] == list(np.shape(array))
    assert found["number"]["mean"] == (pytest.approx(np.mean(array)) if np.size(array) else None)


def test_python_objects_are_not_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(DataError, match="plain arrays"):
        describe(tmp_path / "x.npy")


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
@pytest.mark.parametrize("content", [b"", b"nothing", b"\x93NUMPY\x01\x00", b"PK\x03\x04"])
def test_damaged_arrays(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        describe(tmp_path / name)


def test_flipped_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez_compressed(tmp_path / "a.npz", x=rng.normal(size=(40, 10)), y=np.arange(40) % 3)
    np.savez(tmp_path / "b.npz", x=rng.normal(size=(40, 10)))
    np.save(tmp_path / "c.npy", np.arange(9.0))
    told = 0
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        for place in rng.integers(0, len(whole), 200):
            flipped = bytes([whole[place] ^ int(rng.integers(1, 256))])
            path.write_bytes(whole[:place] + flipped + whole[place + 1 :])
            with contextlib.suppress(DataError):
                describe(path)
                told -= 1
            told += 1
    assert told > 300  # each member of a zip has a checksum


@pytest.mark.parametrize("shape", [(10**13,), (-2, -3), (7,)])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_header_that_lies(tmp_path: Path, shape: tuple[int, ...], compression: int) -> None:
    content = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(content, header)
    content.write(bytes(48))
    (tmp_path / "x.npy").write_bytes(content.getvalue())
    with zipfile.ZipFile(tmp_path / "x.npz", "w", compression) as archive:
        archive.writestr("x.npy", content.getvalue())
    for name in ("x.npy", "x.npz"):
        with pytest.raises(DataError, match=rf"{name}: damaged, or no .* (holds 48 bytes|shape is)"):
            describe(tmp_path / name)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_that_numpy_does_not_write(tmp_path: Path, compression: int) -> None:
    content = io.BytesIO()
    np.save(content, np.arange(3))
    with zipfile.ZipFile(tmp_path / "x.npz", "w", compression) as archive:
        archive.writestr("x.npy", content.getvalue())
    with pytest.raises(DataError, match=r"damaged, or no .npz file of plain arrays: x\.npy is compressed"):
        describe(tmp_path / "x.npz")


def test_a_compressed_array_is_never_held_whole(tmp_path: Path) -> None:
    x = np.zeros((20_000, 1000), np.float32)
    x[123, 4], x[19_999, 999] = 5, -3
    np.savez_compressed(tmp_path / "x.npz", x=x)
    tracemalloc.start()
    found: Any = describe(tmp_path / "x.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.nbytes
    told = found["arrays"][0]["number"]
    assert (told["min"], told["max"]) == (-3, 5)
    assert told["mean"] == pytest.approx(2 / x.size, rel=1e-12)
    assert told["std"] == pytest.approx(x.std(ddof=1, dtype=np.float64), rel=1e-9)


@pytest.mark.parametrize("piece", [1, 3, 7, text.PIECE])
def test_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(text, "PIECE", piece)
    content = "one two\n\ntwo  zwölf 🐭\nlast"
    (tmp_path / "t.txt").write_text(content, encoding="utf-8")
    found: Any = describe(tmp_path / "t.txt")
    json.dumps(found)
    assert (found["lines"], found["empty_lines"]) == (4, 1)
    assert (found["characters"], found["different_characters"]) == (len(content), len(set(content)))
    assert (found["words"], found["different_words"]) == (6, 5)
    assert found["common_words"][0] == {"value": "two", "count": 2}
    counts = {v["value"]: v["count"] for v in found["common_characters"]}
    assert counts == dict(Counter(content).most_common(len(counts)))
    assert (found["lengths"]["min"], found["lengths"]["max"]) == (0, 12)
    assert found["lengths"]["mean"] == pytest.approx(np.mean([len(s) for s in content.split("\n")]))


@pytest.mark.parametrize("content", ["a\n", "a\n\n", "\n\na", "a b"])
def test_lines_end(tmp_path: Path, content: str) -> None:
    (tmp_path / "t.txt").write_text(content)
    found: Any = describe(tmp_path / "t.txt")
    with (tmp_path / "t.txt").open() as lines:
        lengths = [len(line.rstrip("\n")) for line in lines]
    assert (found["lines"], found["empty_lines"]) == (len(lengths), lengths.count(0))
    assert found["lengths"]["max"] == max(lengths)


@pytest.mark.slow
def test_a_long_text_is_counted_by_pieces(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a bc " * 2_000_000)
    tracemalloc.start()
    found: Any = describe(tmp_path / "t.txt")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 10_000_000  # the bytes, the text, and pieces of it
    assert found["common_words"] == [{"value": w, "count": 2_000_000} for w in ("a", "bc")]


def test_a_text_of_another_suffix_and_encoding(tmp_path: Path) -> None:
    (tmp_path / "t.pos").write_bytes("grün\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"\.pos.*--as"):
        describe(tmp_path / "t.pos")
    with pytest.raises(DataError, match="latin-1"):
        describe(tmp_path / "t.pos", "text")
    found: Any = describe(tmp_path / "t.pos", "text", encoding="latin-1")
    assert (found["lines"], found["characters"]) == (1, 5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for part, label, count in (("train", "cat", 3), ("train", "dog", 2), ("test", "cat", 1)):
        inside = tmp_path / "photos" / part / label
        inside.mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (10, 20 + i, 3), np.uint8)
            Image.fromarray(pixels).save(inside / f"{i}.png")
    (tmp_path / "photos/train/dog/notes.md").write_text("no picture")
    return tmp_path / "photos"


def test_a_folder_of_pictures(folder: Path) -> None:
    whole = (folder / "train/dog/0.png").read_bytes()
    (folder / "train/dog/0.png").write_bytes(whole[: len(whole) // 2])
    Image.new("L", (5, 5)).save(folder / "test/cat/grey.jpg")
    found: Any = describe(folder)
    json.dumps(found)
    assert found["pictures"] == 7
    assert [(c["part"], c["name"], c["count"]) for c in found["classes"]] == [
        ("train", "cat", 3),
        ("train", "dog", 2),
        ("test", "cat", 2),
    ]
    sizes = {v["value"]: v["count"] for v in found["sizes"]}
    assert sizes == {"10 x 20": 2, "10 x 21": 2, "10 x 22": 1, "5 x 5": 1}
    assert found["different_sizes"] == 4
    assert {v["value"]: v["count"] for v in found["modes"]} == {"RGB": 5, "L": 1}
    assert {v["value"]: v["count"] for v in found["formats"]} == {"PNG": 5, "JPEG": 1}
    assert [d["file"] for d in found["damaged"]] == ["train/dog/0.png"]
    assert found["damaged"][0]["problem"]
    assert any("1 (train/dog/notes.md)" in note for note in found["notes"])


def test_of_many_pictures_some_are_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "DECODED", 4)
    found: Any = describe(folder)
    assert found["pictures"] == sum(c["count"] for c in found["classes"]) == 6
    assert sum(v["count"] for v in found["sizes"]) == 4
    assert any("4 pictures, drawn at random" in note for note in found["notes"])


def test_a_folder_without_classes(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3)).save(tmp_path / "a.png")
    found: Any = describe(tmp_path)
    assert found["classes"] == [{"part": "", "name": "", "count": 1}]
    assert found["sizes"] == [{"value": "3 x 4", "count": 1}]


def test_folders_that_hold_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures"):
        describe(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match="no folder"):
        describe(tmp_path / "a.txt", "pictures")


def test_large_arrays_of_the_largest_doubles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "BLOCK", 10)
    monkeypatch.setattr(arrays, "DRAWN", 20)
    for numbers in ([-1.7e308, 1.7e308] * 50, [-1e300] * 30 + [1e300] * 30):
        told = described(tmp_path / "x.npy", np.array(numbers))["number"]
        assert (told["min"], told["max"], told["std"]) == (min(numbers), max(numbers), None)
