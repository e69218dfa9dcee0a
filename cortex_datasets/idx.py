"""The idx format of MNIST: a big-endian header (type, number of axes, their sizes), then plain bytes.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section on file formats.
Only unsigned bytes are read, because the sets that use the format hold nothing else.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from cortex_compute.errors import DataError

UNSIGNED_BYTE = 0x08
CHUNK = 1 << 20


@dataclass(frozen=True)
class IdxFile:
    """What must be in one published file.

    ``name`` is without ``.gz``, ``shape`` is (examples, ...), ``sha256`` is that of the decompressed bytes,
    header included: mirrors compress the same content in different ways.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str

    @property
    def header(self) -> bytes:
        return struct.pack(f">HBB{len(self.shape)}I", 0, UNSIGNED_BYTE, len(self.shape), *self.shape)


def read(path: Path, expected: IdxFile) -> np.ndarray[Any, Any]:
    """The uint8 array in the file at ``path``, compressed or not.  Raises DataError as ``decode`` does."""
    try:
        with open(path, "rb") as file:
            return decode(file, expected, str(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def decode(file: io.BufferedReader, expected: IdxFile, origin: str) -> np.ndarray[Any, Any]:
    """The uint8 array, of ``expected.shape``, in ``file``; ``origin`` names it in errors.

    Memory is taken only after the header was found good, and never more than ``expected.shape`` needs,
    whatever the file decompresses to.  Raises DataError where it is cut short, goes on after its end, has
    another header, or another SHA-256.
    """
    stream = file
    if file.peek(2)[:2] == b"\x1f\x8b":
        stream = cast(io.BufferedReader, gzip.GzipFile(fileobj=file))
    size = len(expected.header) + int(np.prod(expected.shape))
    done = 0
    try:
        header = stream.read(len(expected.header))
        _check_header(header, expected, origin)
        done = len(header)
        digest = hashlib.sha256(header)
        array = np.empty(expected.shape, np.uint8)
        content = array.data.cast("B")
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
    if digest.hexdigest() != expected.sha256:
        raise DataError(
            f"{origin}: the content was altered: its SHA-256 is {digest.hexdigest()},"
            f" expected {expected.sha256}"
        )
    return array


def _check_header(header: bytes, expected: IdxFile, origin: str) -> None:
    if header == expected.header:
        return
    if header[:4] != expected.header[:4]:
        raise DataError(
            f"{origin}: starts with the bytes {header[:4].hex(' ') or '(none)'}, expected the magic number"
            f" {expected.header[:4].hex(' ')} (idx, unsigned bytes, {len(expected.shape)} axes)"
        )
    if len(header) < len(expected.header):
        raise EOFError
    found = struct.unpack(f">{len(expected.shape)}I", header[4:])
    raise DataError(f"{origin}: holds {_product(found)} values, expected {_product(expected.shape)}")


def _product(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)
