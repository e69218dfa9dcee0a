"""What a data set looks like, and the one source that serves all of them from memory."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cortex_compute.errors import DataError

Array = np.ndarray[Any, Any]

# Rows converted at a time: few enough to stay in the level-2 cache between the two passes.
BLOCK_BYTES = 128 * 1024
# Values looked at together, so that what is checked may be larger than memory.
CHECK_BYTES = 1 << 22
LARGEST = np.iinfo(np.int64).max
SERVED = {"uint8": "float32", "float32": "float32", "int64": "int64"}


@dataclass(frozen=True)
class Stream:
    """What one stream of a data set looks like: shape of one example (without the batch axis) and dtype.

    None in a shape is any length.  ``classes`` names the classes of a stream of labels, whose values are then
    0 .. len(classes) - 1.
    """

    shape: tuple[int | None, ...]
    dtype: str
    classes: tuple[str, ...] | None = None


class ArraySource:
    """Random access to examples that lie in memory, or in files that are mapped into it.

    ``arrays``: name -> array (examples, ...), all of one length.  float32 and int64 are served as they are;
    uint8 is pixels, served as float32 in 0..1 (divided by 255).  ``classes``: name of a stream of labels ->
    names of its classes.  ``served``: name -> "float32" or "int64", for numbers of other dtypes, which are
    converted as they are gathered.  ``gaps``: names of streams in which NaN says that a number is missing.
    ``notes``: what was counted and done on the way here.  Raises DataError for other dtypes, unequal lengths,
    a label that is no class, and a number that is not finite.

    The arrays are shared, not copied, where they are contiguous; of a mapped file only the rows that are
    asked for are read, after one look at its numbers piece by piece.  One reader at a time: ``gather``
    converts through a scratch block that the source keeps.
    """

    fixed = True  # every epoch sees the same examples

    def __init__(
        self,
        arrays: Mapping[str, Array],
        classes: Mapping[str, tuple[str, ...]] | None = None,
        *,
        served: Mapping[str, str] | None = None,
        gaps: Collection[str] = (),
        notes: Sequence[str] = (),
    ) -> None:
        self._arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        self._pixels = {n for n, a in self._arrays.items() if a.dtype == np.uint8 and n not in (served or {})}
        self.streams: Mapping[str, Stream] = {
            name: Stream(
                array.shape[1:], _served(name, array, (served or {}).get(name)), (classes or {}).get(name)
            )
            for name, array in self._arrays.items()
        }
        self.notes = tuple(notes)
        lengths = {name: len(array) for name, array in self._arrays.items()}
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"{name!r} has {length}" for name, length in lengths.items())
            raise DataError(f"streams of one data set need equally many examples, but {counts}")
        for name, array in self._arrays.items():
            if name not in self._pixels:
                _check_values(name, array, self.streams[name], name in gaps)
        self._rows: Array | None = None
        self._length = max(lengths.values(), default=0)
        self._scratch: dict[str, Array] = {}

    def __len__(self) -> int:
        return self._length

    def gather(self, indices: Array, out: Mapping[str, Array], *, epoch: int = 0) -> None:
        """Write rows ``indices`` of each stream named in ``out`` into ``out[name][:len(indices)]``.

        The arrays in ``out`` have the dtype of their stream.  ``epoch`` is for sources that augment: here
        every epoch sees the same examples.  Raises IndexError for a row that does not exist.
        """
        self._check(indices)
        rows = indices if self._rows is None else self._rows.take(indices)
        for name, target in out.items():
            array, numbers = self._array(name), target[: len(rows)]
            if array.dtype == self.streams[name].dtype and numbers.flags.c_contiguous:
                # clip: indices are checked above, and the default mode makes NumPy buffer the whole output
                _bytes(array).take(rows, axis=0, out=_bytes(numbers), mode="clip")
            else:
                self._convert(name, rows, numbers)

    def select(self, indices: Array) -> ArraySource:
        """The examples ``indices``, in that order, as a source of their own over the same memory."""
        self._check(indices)
        part = copy.copy(self)
        part._rows = np.array(indices, dtype=np.intp) if self._rows is None else self._rows.take(indices)
        part._length = len(indices)
        part._scratch = {}
        return part

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self):,} examples of {', '.join(self.streams)}>"

    def _repr_html_(self) -> str:
        from cortex_core.displays import source_html

        return source_html(self)

    def _convert(self, name: str, rows: Array, target: Array) -> None:
        array = self._arrays[name]
        stored = _bytes(array)
        if name not in self._scratch:
            count = BLOCK_BYTES // max(1, stored.shape[1]) or 1
            self._scratch[name] = np.empty((count, stored.shape[1]), np.uint8)
        scratch = self._scratch[name]
        for start in range(0, len(rows), len(scratch)):
            part = rows[start : start + len(scratch)]
            block = scratch[: len(part)]
            stored.take(part, axis=0, out=block, mode="clip")
            numbers = target[start : start + len(part)]
            numbers[...] = block.view(array.dtype).reshape(numbers.shape)
            if name in self._pixels:  # apart: a division that also converts would allocate a buffer for it
                np.divide(numbers, np.float32(255), out=numbers)

    def _array(self, name: str) -> Array:
        if name not in self._arrays:
            raise DataError(f"no stream {name!r} in this data; it has {', '.join(sorted(self._arrays))}")
        return self._arrays[name]

    def _check(self, indices: Array) -> None:
        if len(indices) and (indices.min() < 0 or indices.max() >= self._length):
            raise IndexError(
                f"rows {indices.min()} .. {indices.max()} asked for, the source has 0 .. {self._length - 1}"
            )


def _bytes(array: Array) -> Array:
    """The rows of a contiguous array as bytes, (rows, bytes of a row).

    NumPy takes rows of numbers that do not lie on the boundary of their size, as in an .npz, from a copy of
    the whole array; bytes lie well anywhere.
    """
    return array.reshape(len(array), math.prod(array.shape[1:])).view(np.uint8)


@dataclass(frozen=True, repr=False)
class DataSet(ABC):
    """What an entry point of the group ``cortex.data`` names.

    ``streams`` and ``lengths`` (split -> number of examples) are known without reading any data, so that a
    description can be checked against them.
    """

    name: str
    doc: str
    streams: Mapping[str, Stream]
    lengths: Mapping[str, int]

    @abstractmethod
    def load(self, split: str) -> ArraySource:
        """The examples of "train" or "test".  Raises DataError where the data is missing or damaged."""

    def fetch(self, progress: bool = True) -> Path | None:
        """Make the data present on this machine; returns its folder, or None where nothing needs fetching."""
        return None

    def where(self) -> Path | None:
        """The folder that the data lies in now, or None."""
        return None

    def present(self) -> bool:
        """Whether the data can be read without fetching anything."""
        return True

    def check_split(self, split: str) -> None:
        if split not in self.lengths:
            raise DataError(f"{self.name} has no split {split!r}; it has {', '.join(self.lengths)}")

    def __repr__(self) -> str:
        parts = ", ".join(f"{count:,} to {part}" for part, count in self.lengths.items())
        return f"<{type(self).__name__} {self.name}: {parts}>"

    def _repr_html_(self) -> str:
        from cortex_core.displays import dataset_html

        return dataset_html(self)


def _served(name: str, array: Array, asked: str | None) -> str:
    """The dtype in which an array is served; DataError where it is none of numbers."""
    served = asked if array.dtype.kind in ("fiub" if asked == "float32" else "iub") else None
    served = served or (SERVED.get(array.dtype.name) if asked is None else None)
    if served is None or array.ndim == 0:
        expected = "uint8 (pixels), float32 or int64" if asked is None else f"what {asked} can hold"
        raise DataError(
            f"stream {name!r}: found {array.dtype.name} of shape {array.shape}, expected an array"
            f" (examples, ...) of {expected}; convert it with astype"
        )
    return served


def _check_values(name: str, array: Array, stream: Stream, gaps: bool) -> None:
    """Raises DataError for a label that is no class, and for a number that its dtype cannot hold."""
    if array.size == 0:
        return
    count = max(1, CHECK_BYTES // (array.nbytes // len(array)))
    for start in range(0, len(array), count):
        piece = array[start : start + count]
        _check_piece(name, np.where(np.isnan(piece), 0, piece) if gaps else piece, stream, start)


def _check_piece(name: str, piece: Array, stream: Stream, start: int) -> None:
    with np.errstate(invalid="ignore", over="ignore"):
        low, high = piece.min(), piece.max()  # NaN, if there is one
        width, classes = math.prod(piece.shape[1:]), stream.classes
        if classes is not None and not (low >= 0 and high < len(classes)):
            first = int(np.flatnonzero((piece < 0) | (piece >= len(classes)))[0])
            raise DataError(
                f"stream {name!r}: label {piece.flat[first]} in example {start + first // width} is out of"
                f" range, expected 0 .. {len(classes) - 1} (the classes are {', '.join(classes)})"
            )
        if stream.dtype == "float32":
            wrong = "is not finite in float32"
            fits = bool(np.isfinite(np.array([low, high], np.float32)).all())
        else:
            wrong, fits = "is too large for int64", int(high) <= LARGEST
        if not fits:
            bad = ~np.isfinite(piece.astype(np.float32)) if stream.dtype == "float32" else piece > LARGEST
            first = int(np.flatnonzero(bad)[0])
            raise DataError(
                f"stream {name!r}: example {start + first // width} holds {piece.flat[first]}, which {wrong};"
                " fill or drop such examples before training"
            )
