"""What a data set looks like, and the one source that serves all of them from memory."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cortex_compute.errors import DataError

Array = np.ndarray[Any, Any]

# Pixels converted at a time: few enough to stay in the level-2 cache between the two passes.
BLOCK_BYTES = 128 * 1024


@dataclass(frozen=True)
class Stream:
    """What one stream of a data set looks like: shape of one example (without the batch axis) and dtype.

    ``classes`` names the classes of a stream of labels, whose values are then 0 .. len(classes) - 1.
    """

    shape: tuple[int, ...]
    dtype: str
    classes: tuple[str, ...] | None = None


class ArraySource:
    """Random access to examples that lie in memory.

    ``arrays``: name -> array (examples, ...), all of one length.  float32 and int64 are served as they are;
    uint8 is pixels, served as float32 in 0..1 (divided by 255).  ``classes``: name of a stream of labels ->
    names of its classes.  Raises DataError for other dtypes, unequal lengths, a label that is no class, and
    a number that is not finite.

    The arrays are shared, not copied, where they are contiguous.  One reader at a time: ``gather`` converts
    through a scratch block that the source keeps.
    """

    fixed = True  # every epoch sees the same examples

    def __init__(
        self, arrays: Mapping[str, Array], classes: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        self._arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        self.streams: Mapping[str, Stream] = {
            name: _stream(name, array, (classes or {}).get(name)) for name, array in self._arrays.items()
        }
        lengths = {name: len(array) for name, array in self._arrays.items()}
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"{name!r} has {length}" for name, length in lengths.items())
            raise DataError(f"streams of one data set need equally many examples, but {counts}")
        for name, array in self._arrays.items():
            _check_values(name, array, self.streams[name].classes)
        self._rows: Array | None = None
        self._length = max(lengths.values(), default=0)
        self._scratch = self._make_scratch()

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
            array = self._array(name)
            if array.dtype == np.uint8:
                self._gather_pixels(name, rows, target)
            else:  # clip: indices are checked above, and the default mode makes NumPy buffer the whole output
                array.take(rows, axis=0, out=target[: len(rows)], mode="clip")

    def select(self, indices: Array) -> ArraySource:
        """The examples ``indices``, in that order, as a source of their own over the same memory."""
        self._check(indices)
        part = copy.copy(self)
        part._rows = np.array(indices, dtype=np.intp) if self._rows is None else self._rows.take(indices)
        part._length = len(indices)
        part._scratch = self._make_scratch()
        return part

    def _gather_pixels(self, name: str, rows: Array, target: Array) -> None:
        scratch = self._scratch[name]
        for start in range(0, len(rows), len(scratch)):
            part = rows[start : start + len(scratch)]
            pixels = scratch[: len(part)]
            self._arrays[name].take(part, axis=0, out=pixels, mode="clip")
            numbers = target[start : start + len(part)]
            numbers[...] = pixels  # a division that also converts would allocate a buffer for it
            np.divide(numbers, np.float32(255), out=numbers)

    def _make_scratch(self) -> dict[str, Array]:
        """One block of whole rows for each stream of pixels."""
        return {
            name: np.empty(
                (BLOCK_BYTES // max(1, math.prod(array.shape[1:])) or 1, *array.shape[1:]), np.uint8
            )
            for name, array in self._arrays.items()
            if array.dtype == np.uint8
        }

    def _array(self, name: str) -> Array:
        if name not in self._arrays:
            raise DataError(f"no stream {name!r} in this data; it has {', '.join(sorted(self._arrays))}")
        return self._arrays[name]

    def _check(self, indices: Array) -> None:
        if len(indices) and (indices.min() < 0 or indices.max() >= self._length):
            raise IndexError(
                f"rows {indices.min()} .. {indices.max()} asked for, the source has 0 .. {self._length - 1}"
            )


@dataclass(frozen=True)
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


def _stream(name: str, array: Array, classes: tuple[str, ...] | None) -> Stream:
    served = {"uint8": "float32", "float32": "float32", "int64": "int64"}.get(array.dtype.name)
    if served is None or array.ndim == 0:
        raise DataError(
            f"stream {name!r}: found {array.dtype.name} of shape {array.shape}, expected an array"
            " (examples, ...) of uint8 (pixels), float32 or int64; convert it with astype"
        )
    return Stream(array.shape[1:], served, classes)


def _check_values(name: str, array: Array, classes: tuple[str, ...] | None) -> None:
    if array.size == 0 or array.dtype == np.uint8:
        return
    low, high = array.min(), array.max()  # NaN, if there is one
    width = math.prod(array.shape[1:])
    if classes is not None and not (low >= 0 and high < len(classes)):
        first = int(np.flatnonzero((array < 0) | (array >= len(classes)))[0])
        raise DataError(
            f"stream {name!r}: label {array.flat[first]} in example {first // width} is out of range,"
            f" expected 0 .. {len(classes) - 1} (the classes are {', '.join(classes)})"
        )
    if not (np.isfinite(low) and np.isfinite(high)):
        first = int(np.flatnonzero(~np.isfinite(array))[0])
        raise DataError(
            f"stream {name!r}: example {first // width} holds a number that is not finite (NaN or infinity);"
            " fill or drop such examples before training"
        )
