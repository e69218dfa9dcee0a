"""A description of arrays: shapes, dtypes, and what their numbers are like."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cortex_datasets.describe.numbers import finite_or_none, statistics
from cortex_datasets.describe.report import ArrayPart, ArraysReport, Count, Statistics
from cortex_datasets.npz import Stored, damage_told, each_stored

Array = np.ndarray[Any, Any]
BLOCK = 2**20  # numbers that are looked at together
BYTES = 2**23  # of texts, which may be long
DRAWN = 2**20  # numbers of a larger array from which quartiles and histogram are taken
DIFFERENT = 20


def describe_arrays(path: Path) -> ArraysReport:
    """The report of an .npy or .npz file, which is read piece by piece, a compressed one too.

    Range, mean and standard deviation are those of all numbers; of more than 2^20, quartiles and histogram
    are those of 2^20 drawn at random.  Raises `DataError` for a file that is damaged or holds Python objects.
    """
    notes: list[str] = []
    parts: list[ArrayPart] = []
    with damage_told(path, f"{path.suffix.lower()} file of plain arrays"):
        for array in each_stored(path):
            parts.append(_described(array))
            if "number" in parts[-1] and math.prod(array.shape) > DRAWN:
                notes.append(
                    f"{array.name}: quartiles and histogram are those of {DRAWN:,} numbers, drawn at random "
                    "(seed 0)"
                )
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "notes": notes,
        "kind": "arrays",
        "arrays": parts,
    }


def _described(array: Stored) -> ArrayPart:
    made: ArrayPart = {"name": array.name, "shape": list(array.shape), "dtype": array.dtype.name}
    moments, values = _Moments(math.prod(array.shape)), _Values()
    real = array.dtype.kind in "fiub"
    for block in _blocks(array):
        if real:
            moments.add(block)
        if array.dtype.kind in "iubUS":
            values.add(block)
    if real:
        made["nan"], made["number"] = moments.nan, moments.statistics()
    if counts := values.counts():
        made["category"] = counts
    return made


def _blocks(array: Stored) -> Iterator[Array]:
    """The numbers in the order of the file.  The file is read to its end, where its checksum is compared."""
    left, width = math.prod(array.shape), array.dtype.itemsize
    many = max(1, min(BLOCK, BYTES // max(1, width)))
    while left and width:
        content = array.file.read(min(many, left) * width)
        block = np.frombuffer(content, array.dtype)
        if not len(block):
            raise EOFError("the numbers end before their time")
        yield block
        left -= len(block)
    array.file.read(1)


class _Moments:
    """Statistics of numbers that come in blocks; of many, quartiles and histogram are those of a draw."""

    def __init__(self, size: int) -> None:
        self.nan = self.infinite = self.count = self.seen = 0
        self.low, self.high, self.mean, self.squares = np.inf, -np.inf, 0.0, 0.0
        self.places = None if size <= DRAWN else np.sort(np.random.default_rng(0).integers(0, size, DRAWN))
        self.drawn: list[Array] = []

    def add(self, block: Array) -> None:
        """Range, mean and sum of squares so far (Chan, Golub and LeVeque 1979), and what is drawn."""
        values = block.astype(np.float64)
        if self.places is None:
            self.drawn.append(values)
        else:
            begin, end = np.searchsorted(self.places, (self.seen, self.seen + len(values)))
            self.drawn.append(values[self.places[begin:end] - self.seen])
        self.seen += len(values)
        finite = values[np.isfinite(values)]
        self.nan += int(np.isnan(values).sum())
        self.infinite += int(np.isinf(values).sum())
        if not len(finite):
            return
        self.low, self.high = min(self.low, float(finite.min())), max(self.high, float(finite.max()))
        total = self.count + len(finite)
        with np.errstate(over="ignore", invalid="ignore"):  # of the largest doubles, mean and spread are null
            centre = float(finite.mean())
            apart = centre - self.mean
            self.squares += (
                float(((finite - centre) ** 2).sum()) + apart * apart * self.count * len(finite) / total
            )
            self.mean, self.count = self.mean + apart * len(finite) / total, total

    def statistics(self) -> Statistics:
        drawn = np.concatenate([np.empty(0), *self.drawn])
        if self.places is None:
            return statistics(drawn[~np.isnan(drawn)])
        made = statistics(drawn[np.isfinite(drawn)])
        made["infinite"] = self.infinite
        if self.count:
            std = (self.squares / max(1, self.count - 1)) ** 0.5
            made.update({"min": self.low, "max": self.high})
            made.update({"mean": finite_or_none(self.mean), "std": finite_or_none(std)})
        return made


class _Values:
    """How often each value occurs, as long as there are at most 20."""

    def __init__(self) -> None:
        self.known: dict[Any, int] | None = {}

    def add(self, block: Array) -> None:
        if self.known is None:
            return
        for value, count in zip(*map(np.ndarray.tolist, np.unique(block, return_counts=True))):
            self.known[value] = self.known.get(value, 0) + count
        if len(self.known) > DIFFERENT:
            self.known = None

    def counts(self) -> list[Count]:
        """By value; nothing where there are more."""
        known = self.known or {}
        return [{"value": str(value), "count": known[value]} for value in sorted(known)]
