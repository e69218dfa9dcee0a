"""The idx format of MNIST: a big-endian header (type, number of axes, their sizes), then plain bytes.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section on file formats.
Only unsigned bytes and 32-bit integers are read, because the sets that use the format hold nothing else.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

import numpy as np

from cortex_compute.errors import DataError
from cortex_datasets.published import CHUNK, GZIP_MAGIC, check

TYPES = {"u1": 0x08, ">i4": 0x0C}


@dataclass(frozen=True)
class IdxFile:
    """What must be in one published file: a `Published` one.

    ``shape`` is (examples, ...).  ``checksum`` is that of the decompressed bytes, header included, because
    mirrors compress the same content in different ways; where only the checksum of the compressed file is
    known, ``name`` ends in ``.gz`` and it is kept compressed.
    """

    name: str
    shape: tuple[int, ...]
    checksum: str
    dtype: str = "u1"

    @property
    def compressed(self) -> bool:
        return self.name.endswith(".gz")

    @property
    def header(self) -> bytes:
        return struct.pack(f">HBB{len(self.shape)}I", 0, TYPES[self.dtype], len(self.shape), *self.shape)

    @property
    def unpacked_size(self) -> int:
        return len(self.header) + int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    @property
    def size(self) -> int | None:
        return None if self.compressed else self.unpacked_size


def read(path: Path, expected: IdxFile) -> np.ndarray[Any, Any]:
    """The array in the file at ``path``, compressed or not.  Raises DataError as ``decode`` does."""
    if expected.compressed:
        check(path, expected)
    try:
        with open(path, "rb") as file:
            return decode(file, expected, str(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def decode(file: BufferedReader, expected: IdxFile, origin: str) -> np.ndarray[Any, Any]:
    """The array, of ``expected.shape`` and ``expected.dtype``, in ``file``; ``origin`` names it in errors.

    Memory is taken only after the header was found good, and never more than ``expected.shape`` needs,
    whatever the file decompresses to.  Raises DataError where it is cut short, goes on after its end, has
    another header, or another checksum (which is not looked at here where it is of the compressed file).
    """
    import gzip
    import hashlib
    import zlib

    stream = file
    if file.peek(2)[:2] == GZIP_MAGIC:
        stream = cast(BufferedReader, gzip.GzipFile(fileobj=file))
    size, done = expected.unpacked_size, 0
    digest = hashlib.sha256()
    try:
        header = stream.read(len(expected.header))
        _check_header(header, expected, origin)
        done = len(header)
        digest.update(header)
        array = np.empty(expected.shape, expected.dtype)
        content = array.reshape(-1).view(np.uint8).data
        while done < size:
            chunk = content[done - len(header) :][:CHUNK]
            count = stream.readinto(chunk)
            if not count:
                raise EOFError
            digest.update(chunk[:count])
            done += count
        surplus = stream.read(1)  # also makes gzip check its own checksum
    except EOFError:
        raise DataError(f"{origin}: cut short: ends after {done:,} of {size:,} bytes") from None
    except (zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{origin}: damaged after {done:,} of {size:,} bytes: {error}") from None
    if surplus:
        raise DataError(f"{origin}: goes on after the {size:,} bytes that it should hold")
    if not expected.compressed and digest.hexdigest() != expected.checksum:
        raise DataError(
            f"{origin}: the content was altered: its SHA-256 is {digest.hexdigest()},"
            f" expected {expected.checksum}"
        )
    return array


def _check_header(header: bytes, expected: IdxFile, origin: str) -> None:
    if header == expected.header:
        return
    if header[:4] != expected.header[:4]:
        kind = f"{np.dtype(expected.dtype).name}, {len(expected.shape)} axes"
        raise DataError(
            f"{origin}: starts with the bytes {header[:4].hex(' ') or '(none)'}, expected the magic number"
            f" {expected.header[:4].hex(' ')} (idx, {kind})"
        )
    if len(header) < len(expected.header):
        raise EOFError
    found = struct.unpack(f">{len(expected.shape)}I", header[4:])
    raise DataError(f"{origin}: holds {_product(found)} values, expected {_product(expected.shape)}")


def _product(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)
