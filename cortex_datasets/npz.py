"""Arrays in .npy and .npz files, mapped into memory: only what is looked at is read."""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib import format as npy

from cortex_compute.errors import DataError

Array = np.ndarray[Any, Any]
DAMAGED = (
    *(ValueError, OSError, EOFError, RuntimeError, NotImplementedError),  # the last two: encrypted, unknown
    *(zipfile.BadZipFile, zlib.error, SyntaxError, TypeError, tokenize.TokenError),  # the last: of a header
)
LOCAL_HEADER = struct.Struct("<26xHH")  # of a member of a zip: the lengths of its name and of its extra field


def read_npy(path: Path, notes: list[str]) -> Array:
    """The array of an .npy file.  Raises DataError where it is damaged or holds Python objects.

    What cannot be mapped (numbers in Fortran's order) is held in memory, which is added to ``notes``.
    """
    with damage_told(path, ".npy file of a plain array"), path.open("rb") as file:
        return _rows_together(_mapped(path, file, path.stat().st_size), str(path), notes)


def read_npz(path: Path, notes: list[str]) -> dict[str, Array]:
    """The arrays of an .npz file, by name, mapped as those of `read_npy` where they are not compressed."""
    return dict(each_npz(path, notes))


def each_npz(path: Path, notes: list[str]) -> Iterator[tuple[str, Array]]:
    """The same one by one: of the compressed arrays only what the caller keeps is held."""
    with damage_told(path), zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for member in _members(archive):
            name = member.filename.removesuffix(".npy")
            array = _member(path, archive, file, member, notes)
            yield name, _rows_together(array, f"{path}: {name}", notes)


class Stored(NamedTuple):
    """An array in a file that is open at its first number; they follow in the order of the file."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    file: IO[bytes]


def each_stored(path: Path) -> Iterator[Stored]:
    """The arrays of an .npy or .npz file, to be read piece by piece, each before the next is asked for.

    What the caller reads may be damaged, too: call it under `damage_told`.
    """
    if path.suffix.lower() == ".npy":
        with path.open("rb") as file:
            shape, _, dtype = _header(file, path.stat().st_size)
            yield Stored(path.stem, shape, dtype, file)
        return
    with zipfile.ZipFile(path) as archive:
        for member in _members(archive):
            with archive.open(member) as stream:
                shape, _, dtype = _header(stream, member.file_size)
                yield Stored(member.filename.removesuffix(".npy"), shape, dtype, stream)


@contextmanager
def damage_told(path: Path, what: str = ".npz file of plain arrays") -> Iterator[None]:
    """Makes DataErrors of what reading a damaged file raises."""
    try:
        yield
    except DataError:
        raise
    except MemoryError:
        raise DataError(f"{path}: too large for the memory; save it anew, not compressed") from None
    except DAMAGED as error:
        raise DataError(f"{path}: damaged, or no {what}: {_reason(error)}") from None


def _members(archive: zipfile.ZipFile) -> Iterator[zipfile.ZipInfo]:
    for member in archive.infolist():
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{member.filename} is compressed in a way that NumPy does not write")
        yield member


def _member(
    path: Path, archive: zipfile.ZipFile, file: BinaryIO, member: zipfile.ZipInfo, notes: list[str]
) -> Array:
    if member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1:
        file.seek(member.header_offset)
        lengths = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size).ljust(LOCAL_HEADER.size))
        start = file.seek(sum(lengths), 1)
        return _mapped(path, file, start + member.file_size)
    with archive.open(member) as stream:
        _header(stream, member.file_size)
        stream.seek(0)
        array = npy.read_array(stream, allow_pickle=False)
    name = member.filename.removesuffix(".npy")
    notes.append(_held(f"{path}: {name}", "it is compressed", array))
    return array


def _rows_together(array: Array, what: str, notes: list[str]) -> Array:
    """The array with the numbers of a row side by side."""
    if array.flags.c_contiguous:
        return array
    notes.append(_held(what, "it is in Fortran's order", array))
    return np.ascontiguousarray(array)


def _held(what: str, why: str, array: Array) -> str:
    return f"{what} is held in memory, {array.nbytes / 1e6:.1f} MB, as {why}"


def _mapped(path: Path, file: BinaryIO, end: int) -> Array:
    """The array that begins where ``file`` stands and fills it up to ``end``."""
    shape, fortran, dtype = _header(file, end)
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", file.tell(), shape, "F" if fortran else "C")


def _header(file: BinaryIO | IO[bytes], end: int) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran's order, and dtype.  Raises ValueError where the bytes up to ``end`` are no
    more or fewer than these say: a header may ask for any amount of memory."""
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the format is none of plain numbers")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read")
    if any(n < 0 for n in shape):
        raise ValueError(f"its shape is {shape}")
    found, expected = end - file.tell(), math.prod(shape) * dtype.itemsize
    if found != expected:
        raise ValueError(f"it holds {found:,} bytes of numbers, and {expected:,} by its header")
    return shape, fortran, dtype


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split())[:160]
