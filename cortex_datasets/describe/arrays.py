"""A description of arrays: shapes, dtypes, and what their numbers are like."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_datasets.describe.numbers import finite_or_none, statistics
from cortex_datasets.describe.report import ArrayPart, ArraysReport, Count, Statistics

Array = np.ndarray[Any, Any]
BLOCK = 2**20  # numbers that are looked at together
DRAWN = 2**20  # numbers of a larger array from which quartiles and histogram are taken
DIFFERENT = 20


def describe_arrays(path: Path) -> ArraysReport:
    """The report of an .npy or .npz file.

    An .npy is read piece by piece, an .npz array by array.  Range, mean and standard deviation are those of
    all numbers; of more than 2^20, quartiles and histogram are those of 2^20 drawn at random.  Raises
    `DataError` for a file that is damaged or holds Python objects.
    """
    notes: list[str] = []
    parts: list[ArrayPart] = []
    for name, array in _arrays(path):
        parts.append(_described(name, array))
        if "number" in parts[-1] and array.size > DRAWN:
            notes.append(
                f"{name}: quartiles and histogram are those of {DRAWN:,} numbers, drawn at random (seed 0)"
            )
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "notes": notes,
        "kind": "arrays",
        "arrays": parts,
    }


def _arrays(path: Path) -> Iterator[tuple[str, Array]]:
    try:
        if path.suffix.lower() == ".npy":
            yield path.stem, np.lib.format.open_memmap(path, mode="r")
            return
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            for name in content.files:
                yield name, content[name]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        kind = path.suffix.lower()
        raise DataError(f"{path}: damaged, or no {kind} file of plain arrays: {error}") from None


def _described(name: str, array: Array) -> ArrayPart:
    made: ArrayPart = {"name": name, "shape": list(array.shape), "dtype": array.dtype.name}
    if array.dtype.kind in "fiub":
        made["nan"], made["number"] = _statistics(array)
    if array.dtype.kind in "iubUS" and (counts := _values(array)):
        made["category"] = counts
    return made


def _blocks(array: Array) -> Iterator[Array]:
    flat = array.ravel(order="K")  # a view, as files hold arrays without gaps
    for begin in range(0, flat.size, BLOCK):
        yield flat[begin : begin + BLOCK]


def _statistics(array: Array) -> tuple[int, Statistics]:
    """How many NaN, and the statistics of the rest."""
    if array.size <= DRAWN:
        values = array.reshape(-1).astype(np.float64)
        known = values[~np.isnan(values)]
        return len(values) - len(known), statistics(known)
    places = np.sort(np.random.default_rng(0).integers(0, array.size, DRAWN))
    drawn = array.ravel(order="K")[places].astype(np.float64)
    made = statistics(drawn[np.isfinite(drawn)])
    return _all_moments(array, made), made


def _all_moments(array: Array, made: Statistics) -> int:
    """Puts range, mean and standard deviation of all numbers in place of those of the drawn ones, block by
    block (Chan, Golub and LeVeque 1979).  Returns how many are NaN.
    """
    nan = infinite = count = 0
    low, high, mean, squares = np.inf, -np.inf, 0.0, 0.0
    for block in _blocks(array):
        values = block.astype(np.float64)
        finite = values[np.isfinite(values)]
        nan += int(np.isnan(values).sum())
        infinite += int(np.isinf(values).sum())
        if len(finite):
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
            with np.errstate(
                over="ignore", invalid="ignore"
            ):  # of the largest doubles, mean and spread are null
                centre = float(finite.mean())
                difference, total = centre - mean, count + len(finite)
                squares += float(((finite - centre) ** 2).sum()) + difference**2 * count * len(finite) / total
                mean, count = mean + difference * len(finite) / total, total
    made["infinite"] = infinite
    if count:
        std = (squares / max(1, count - 1)) ** 0.5
        made.update({"min": low, "max": high, "mean": finite_or_none(mean), "std": finite_or_none(std)})
    return nan


def _values(array: Array) -> list[Count]:
    """How often each value occurs, by value; nothing where there are more than 20."""
    counts: dict[Any, int] = {}
    for block in _blocks(array):
        for value, count in zip(*map(np.ndarray.tolist, np.unique(block, return_counts=True))):
            counts[value] = counts.get(value, 0) + count
        if len(counts) > DIFFERENT:
            return []
    return [{"value": str(value), "count": counts[value]} for value in sorted(counts)]
