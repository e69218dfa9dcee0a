"""Files of the idx format: good ones, and each way in which one can be damaged."""

from __future__ import annotations

import gzip
import hashlib
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cortex_compute.errors import DataError
from cortex_datasets import idx
from cortex_datasets.idx import IdxFile

from .idx_files import expected, idx_bytes

IMAGES = np.random.default_rng(3).integers(0, 256, (40, 28, 28), dtype=np.uint8)
FILE = expected("images", IMAGES)
GOOD = idx_bytes(IMAGES)


def plain(content: bytes) -> bytes:
    return content


def refused(tmp_path: Path, content: bytes, message: str, file: IdxFile = FILE) -> None:
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        idx.read(path, file)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("pack", [plain, gzip.compress])
@pytest.mark.parametrize("name", ["images", "images.gz"])
def test_the_content_decides_whether_it_is_compressed(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / name
    path.write_bytes(pack(GOOD))
    np.testing.assert_array_equal(idx.read(path, FILE), IMAGES)


def test_other_gzip_headers_are_the_same_content(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(GOOD, compresslevel=1, mtime=12345))
    np.testing.assert_array_equal(idx.read(path, FILE), IMAGES)


@pytest.mark.parametrize("kept", [0, 3, 4, 9, 16, 17, len(GOOD) - 1])
def test_raw_file_cut_short(tmp_path: Path, kept: int) -> None:
    found = r"starts with the bytes" if kept < 4 else f"cut short: ends after .* of {len(GOOD):,} bytes"
    refused(tmp_path, GOOD[:kept], found)


@pytest.mark.parametrize("part", [0.0005, 0.1, 0.5, 0.999])
def test_compressed_file_cut_short(tmp_path: Path, part: float) -> None:
    packed = gzip.compress(GOOD)
    refused(tmp_path, packed[: max(3, int(part * len(packed)))], "cut short|damaged")


def test_compressed_file_without_its_checksum(tmp_path: Path) -> None:
    refused(tmp_path, gzip.compress(GOOD)[:-8], "cut short")


@pytest.mark.parametrize("position", [0, 8000, len(GOOD) - 17])
def test_one_bit_altered(tmp_path: Path, position: int) -> None:
    altered = bytearray(GOOD)
    altered[16 + position] ^= 1
    refused(tmp_path, bytes(altered), "the content was altered: its SHA-256 is .*, expected " + FILE.checksum)


def test_compressed_bytes_altered(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(GOOD))
    packed[len(packed) // 2] ^= 0xFF
    refused(tmp_path, bytes(packed), "damaged|altered|cut short")


def test_wrong_magic_number(tmp_path: Path) -> None:
    labels = idx_bytes(IMAGES[:, 0, 0])
    refused(tmp_path, labels, "starts with the bytes 00 00 08 01, expected the magic number 00 00 08 03")
    refused(tmp_path, gzip.compress(labels), "00 00 08 01")


def test_a_web_page_in_its_place(tmp_path: Path) -> None:
    refused(tmp_path, b"<!DOCTYPE html><html>", "starts with the bytes 3c 21 44 4f")


@pytest.mark.parametrize("count", [39, 41, 0xFFFFFFFF])
def test_another_count(tmp_path: Path, count: int) -> None:
    header = struct.pack(">IIII", 0x0803, count, 28, 28)
    refused(tmp_path, header + GOOD[16:], f"holds {count} x 28 x 28 values, expected 40 x 28 x 28")


@pytest.mark.parametrize("pack", [plain, gzip.compress])
def test_goes_on_after_its_end(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    refused(tmp_path, pack(GOOD + b"\0"), f"goes on after the {len(GOOD):,} bytes")


@pytest.mark.parametrize("header", [GOOD[:16], struct.pack(">IIII", 0x0803, 0xFFFFFFFF, 28, 28)])
def test_a_bomb_takes_no_memory(tmp_path: Path, header: bytes) -> None:
    bomb = gzip.compress(header + bytes(100_000_000), compresslevel=1)
    tracemalloc.start()
    refused(tmp_path, bomb, "goes on after|holds 4294967295")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000, peak


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        idx.read(tmp_path, FILE)


def test_header_of_an_expected_file() -> None:
    assert IdxFile("x", (60000,), "").header == bytes([0, 0, 8, 1, 0, 0, 0xEA, 0x60])
    assert hashlib.sha256(FILE.header + IMAGES.tobytes()).hexdigest() == FILE.checksum
