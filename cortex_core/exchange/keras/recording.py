"""Recorded outputs of a Keras model: an .npz with ``input/NAME`` and ``layer/PATH/CALL/INDEX``."""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_compute.frozen import frozen

ADVICE = "record the model anew with the script of `cortex keras-recorder`"
OTHER_INPUTS = "give the script of `cortex keras-recorder` other --inputs"
LARGEST = 1 << 31  # bytes of an array
SUFFIX = ".npy"
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, NotImplementedError)
"""What Python raises for an archive that is damaged, encrypted or packed in a way that it does not know."""

Key = tuple[str, int, int]
"""Of a value of a layer: its path, which call of it, and which of the results."""


@frozen
class Kept:
    """An array of the file, not read yet."""

    key: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Recording:
    """What a file holds.  Arrays are read one by one, when they are asked for.

    ``about`` tells what recorded it: ``keras`` (the version), ``backend``, the names of the ``inputs`` in
    their order, and under ``left_out`` the nested models whose inside it could not see.  Raises `DataError`
    for a file that is no recording.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self._opened() as archive:
            members = [info.filename for info in archive.infolist()]
            if len(set(members)) < len(members):
                raise self._wrong("an array stands in it twice")
            kept = [self._kept(archive, name) for name in members]
        found = {x.key: x for x in kept}
        self.about = self._about(found.pop("about", None))
        self.inputs = self._in_order({x.key[6:]: x for x in kept if x.key.startswith("input/")})
        self.layers = {self._key(x.key): x for x in kept if x.key.startswith("layer/")}
        others = [key for key in found if not key.startswith(("input/", "layer/"))]
        if others or not self.inputs or not self.layers:
            told = f"'{others[0]:.60}' is no key of one" if others else "it lacks inputs or layers"
            raise self._wrong(told)

    def _in_order(self, inputs: dict[str, Kept]) -> dict[str, Kept]:
        """The inputs in the order of the model, which is not that of the file where Python 2 wrote it."""
        told = self.about.get("inputs")
        if isinstance(told, list) and sorted(map(str, told)) == sorted(inputs):
            return {name: inputs[name] for name in map(str, told)}
        return inputs

    @property
    def examples(self) -> int:
        """How many examples were recorded."""
        first = next(iter(self.inputs.values()))
        return first.shape[0] if first.shape else 0

    @property
    def left_out(self) -> tuple[str, ...]:
        """The nested models whose layers are not in it."""
        found = self.about.get("left_out")
        return tuple(map(str, found)) if isinstance(found, list) else ()

    @property
    def masks(self) -> frozenset[str]:
        """What gave truths: Keras 3 makes masks by operations that need not stand in the model's file."""
        return frozenset(key[0] for key, kept in self.layers.items() if kept.dtype.kind == "b")

    def read(self, kept: Kept) -> np.ndarray:
        """The numbers of an array, which may be infinite.  Raises `DataError` where some are NaN."""
        found = self._array(kept)
        if np.isnan(found).any():
            told = f"'{kept.key}' holds NaN, with which nothing can be compared"
            raise DataError(f"{self.path}: {told}; {OTHER_INPUTS}")
        return found

    def _array(self, kept: Kept) -> np.ndarray:
        with self._opened() as archive, archive.open(kept.key + SUFFIX) as file:
            found: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
        return found

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        except DataError:
            raise
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error.strerror or error}") from None
        except BROKEN as error:
            raise self._wrong(str(error)) from error

    def _kept(self, archive: zipfile.ZipFile, member: str) -> Kept:
        """What an array's header says, compared with how large it is."""
        info = archive.getinfo(member)
        with archive.open(info) as file:
            shape, dtype = _header(file)
            size = math.prod(shape) * dtype.itemsize
            if not member.endswith(SUFFIX) or dtype.hasobject or dtype.kind not in "biufU":
                raise self._wrong(f"'{member:.60}' holds {dtype}, not numbers")
            if size > LARGEST or info.file_size - file.tell() != size:
                raise self._wrong(f"'{member:.60}' has shape {list(shape)}, but {info.file_size:,} bytes")
        return Kept(member.removesuffix(SUFFIX), shape, dtype)

    def _key(self, key: str) -> Key:
        path, call, index = [*key.removeprefix("layer/").rsplit("/", 2), "", ""][:3]
        if not (call.isdecimal() and index.isdecimal()):
            raise self._wrong(f"'{key:.60}' is no layer/PATH/CALL/INDEX")
        return path, int(call), int(index)

    def _about(self, kept: Kept | None) -> Mapping[str, Any]:
        if kept is None:
            return {}
        try:
            found = json.loads(str(self._array(kept)[()]))
        except (ValueError, RecursionError):
            raise self._wrong("'about' is no JSON") from None
        return found if isinstance(found, dict) else {}

    def _wrong(self, told: str) -> DataError:
        return DataError(f"{self.path}: this is no recording of a Keras model: {told}; {ADVICE}")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type at the start of an .npy."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"an array of version {version}")
    return tuple(shape), dtype
