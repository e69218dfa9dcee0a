"""Decoded pictures: kept for the same files, made anew for others, whole or not there."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cortex_compute.errors import DataError
from cortex_datasets.pictures import Images
from cortex_datasets.pictures import cache as caching
from tests.datasets.pictures.made import beside, folder_of, noise, rows_of, save


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    folder_of(tmp_path / "pets", {"cat": 5, "dog": 5})
    return tmp_path / "pets"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pictures that Pillow opened."""
    names: list[str] = []
    real = Image.open

    def counting(path: Any, *args: Any, **options: Any) -> Image.Image:
        names.append(Path(path).name)
        return real(path, *args, **options)

    monkeypatch.setattr(Image, "open", counting)
    return names


def pixels(pets: Path, **fields: Any) -> np.ndarray:
    examples = Images(folder="pets", **fields).open(beside(pets.parent))
    encoding = examples.learn(np.arange(len(examples)), ["image"], [])
    return rows_of(encoding.encode(examples, np.arange(len(examples)), ["image"]))["image"]


def stored(cache: Path) -> list[str]:
    return sorted(os.listdir(cache / "pictures"))


def test_the_decoding_of_many_is_announced(
    pets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels(pets, channels=1)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(caching, "MANY", 10)
    pixels(pets)
    assert capsys.readouterr().err.startswith(f"decoding 10 pictures of {pets}\n")
    pixels(pets)
    assert capsys.readouterr().err == ""


def test_the_second_run_opens_no_picture(pets: Path, opened: list[str]) -> None:
    first = pixels(pets)
    assert len(opened) == 10
    np.testing.assert_array_equal(pixels(pets), first)
    assert len(opened) == 10


def test_the_second_epoch_reads_no_file(pets: Path) -> None:
    examples = Images(folder="pets").open(beside(pets.parent))
    source = examples.learn(np.arange(10), ["image"], []).encode(examples, np.arange(10), ["image"])
    before = rows_of(source)["image"]
    shutil.rmtree(pets)
    np.testing.assert_array_equal(rows_of(source)["image"], before)


def test_pixels_are_mapped_not_held(pets: Path) -> None:
    for cache in (True, False):
        made = Images(folder="pets", cache=cache).open(beside(pets.parent)).pixels
        assert isinstance(made, np.memmap)
        assert made.dtype == np.uint8
        assert not made.flags.writeable


def change(pets: Path) -> None:
    save(pets / "cat/3.png", noise())
    os.utime(pets / "cat/3.png", ns=(1, 1))


@pytest.mark.parametrize(
    "different",
    [
        change,
        lambda pets: (pets / "cat/3.png").unlink(),
        lambda pets: (pets / "cat/3.png").rename(pets / "dog/x.png"),
        lambda pets: save(pets / "cat/new.png", noise()),
    ],
)
def test_other_files_are_decoded_anew(
    pets: Path, opened: list[str], different: Callable[[Path], Any]
) -> None:
    pixels(pets)
    different(pets)
    del opened[:]
    files = sorted(p for p in pets.glob("*/*.png"))
    np.testing.assert_array_equal(
        pixels(pets), (np.stack([np.asarray(Image.open(p)) for p in files]) / 255).astype(np.float32)
    )
    assert set(opened) == {p.name for p in files}


def test_other_options_are_decoded_anew(pets: Path, cache: Path) -> None:
    for options in ({}, {"channels": 1}, {"size": [4, 4]}, {"size": [4, 4], "fit": "crop"}):
        pixels(pets, **options)
    assert len(stored(cache)) == 4
    pixels(pets, damaged="skip")
    assert len(stored(cache)) == 4


def test_folders_with_the_same_names_are_told_apart(tmp_path: Path) -> None:
    for folder in ("one/pets", "two/pets"):
        save(tmp_path / folder / "a.bmp", noise())
        os.utime(tmp_path / folder / "a.bmp", ns=(1, 1))
    assert (pixels(tmp_path / "one/pets") != pixels(tmp_path / "two/pets")).any()


def test_without_a_cache_nothing_is_left(pets: Path, cache: Path, opened: list[str]) -> None:
    first = pixels(pets, cache=False)
    assert not cache.exists()
    np.testing.assert_array_equal(pixels(pets), first)
    assert len(opened) == 20


def test_damage_is_remembered(pets: Path, opened: list[str]) -> None:
    (pets / "dog/2.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"dog.2.png: is no picture.* damaged\. Replace the picture"):
        pixels(pets)
    count = len(opened)
    with pytest.raises(DataError, match=r"2.png: is no picture"):
        pixels(pets)
    assert len(pixels(pets, damaged="skip")) == 9
    assert len(opened) == count


def test_a_link_to_nowhere_is_damaged(pets: Path) -> None:
    (pets / "dog/lost.png").symlink_to(pets / "dog/gone.png")
    with pytest.raises(DataError, match=r"lost.png: cannot be read: No such file or directory. Replace"):
        pixels(pets)
    assert len(pixels(pets, damaged="skip")) == 10


@pytest.mark.parametrize("file", ["pixels.npy", "damaged.json"])
def test_a_damaged_cache_is_made_again(pets: Path, cache: Path, file: str, opened: list[str]) -> None:
    first = pixels(pets)
    (path,) = (cache / "pictures").glob(f"*/{file}")
    path.write_bytes(path.read_bytes()[:-1])
    np.testing.assert_array_equal(pixels(pets), first)
    assert len(opened) == 20
    assert len(stored(cache)) == 1


def test_two_processes_make_the_same(pets: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = caching._make

    def beaten(folder: Path, *args: Any) -> None:
        real(folder, *args)
        monkeypatch.setattr(caching, "_make", real)
        pixels(pets)  # meanwhile, another process

    monkeypatch.setattr(caching, "_make", beaten)
    first = pixels(pets)
    np.testing.assert_array_equal(pixels(pets), first)
    assert len(stored(cache)) == 1
    code = (
        "import sys; from pathlib import Path; from cortex_datasets.pictures import Images;"
        "print(len(Images(folder='pets', size=[9, 9]).open(lambda name: Path(sys.argv[1]) / name)))"
    )
    command = [sys.executable, "-c", code, str(pets.parent)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0].strip() for process in both] == ["10", "10"]
    assert len(stored(cache)) == 2


def test_what_stops_half_way_leaves_nothing(pets: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(caching, "_tried", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pixels(pets)
    assert stored(cache) == []


def test_a_full_disk(pets: Path, cache: Path) -> None:
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(
            DataError, match=r"cannot be written: .*Make room there, set CORTEX_CACHE to .* or say"
        ):
            pixels(pets)
        with pytest.raises(DataError, match=r"cannot be written: .*Make room there, or set TMPDIR"):
            pixels(pets, cache=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert stored(cache) == []


def test_a_cache_that_cannot_be(pets: Path, cache: Path) -> None:
    cache.write_text("a file where the folder would be")
    with pytest.raises(DataError, match="cannot be written: Not a directory"):
        pixels(pets)


def test_order_is_kept_by_the_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "WORKERS", 4)
    monkeypatch.setattr(caching, "AHEAD", 3)
    made = folder_of(tmp_path / "many", {"a": 60})
    examples = Images(folder="many").open(beside(tmp_path))
    names = examples.column("file").tolist()
    np.testing.assert_array_equal(examples.pixels, np.stack([made[name] for name in names]))
