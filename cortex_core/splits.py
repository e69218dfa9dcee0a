"""Ways to divide examples into parts and folds; what a description names under ``train.split``.

``rows`` are the examples to divide, and so are the rows of every part, in ascending order.  ``column(name)``
gives one value for each example of the data, whether in ``rows`` or not; None asks for the class labels.

``divide(rows, fractions, column)`` takes the parts of ``fractions`` one after the other, each a fraction of
what those before it left; "train" is what remains.  ``folds(rows, k, column)`` gives the rows that each of k
folds holds out: together all of them, each once.  The same seed divides the same way on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.order import shuffled
from cortex_core.registry import base, field, split

Column = Callable[["str | None"], np.ndarray]
Parts = dict[str, np.ndarray]
STREAM = 0x73706C6974  # "split"


@base
class Division:
    """What all ways have in common: parts one after the other, folds of nearly equal size."""

    def divide(self, rows: np.ndarray, fractions: Mapping[str, float], column: Column) -> Parts:
        """The rows of each part.  Raises `DataError` where a part would be empty."""
        parts, left = {}, rows
        for part, fraction in fractions.items():
            taken = self.take(left, fraction, column, part)
            parts[part], left = taken, np.setdiff1d(left, taken, assume_unique=True)
        return {"train": left, **parts}

    def take(self, rows: np.ndarray, fraction: float, column: Column, part: str) -> np.ndarray:
        """The rows of one part."""
        count = expect_parts(len(rows), fraction, "examples", part)
        return np.sort(self.arranged(rows, column)[-count:])

    def folds(self, rows: np.ndarray, k: int, column: Column) -> list[np.ndarray]:
        """The rows that each of ``k`` folds holds out.  Raises `DataError` where a fold would be empty."""
        expect_folds(len(rows), k, "examples")
        return [np.sort(part) for part in np.array_split(self.arranged(rows, column), k)]

    def arranged(self, rows: np.ndarray, column: Column) -> np.ndarray:
        """The rows in the order from whose end the parts are taken."""
        raise NotImplementedError


@split("last")
class Last(Division):
    """The last examples; folds are blocks of neighbours.  For time series, and for data in random order."""

    def arranged(self, rows: np.ndarray, column: Column) -> np.ndarray:
        return rows


@split("random", main="seed")
class Random(Division):
    """Examples at random."""

    seed: int = field(default=0, doc="of the random order", minimum=0)

    def arranged(self, rows: np.ndarray, column: Column) -> np.ndarray:
        return rows.take(shuffled(len(rows), self.seed, STREAM))


@split("stratified", main="by")
class Stratified(Division):
    """Examples at random, each class in proportion: in every part and fold within one of its share."""

    by: str | None = field(default=None, doc="the column of the classes; default: the labels of the loss")
    seed: int = field(default=0, doc="of the random order", minimum=0)

    def take(self, rows: np.ndarray, fraction: float, column: Column, part: str) -> np.ndarray:
        count = expect_parts(len(rows), fraction, "examples", part)
        classes = self._classes(rows, column)
        counts = _shares(np.array([len(members) for members in classes]), count)
        if not counts.any():
            raise DataError(
                f"{part} {fraction}: no class has two examples left to divide; give a smaller fraction"
            )
        return np.sort(np.concatenate([members[:n] for members, n in zip(classes, counts)]))

    def folds(self, rows: np.ndarray, k: int, column: Column) -> list[np.ndarray]:
        expect_folds(len(rows), k, "examples")
        dealt = np.concatenate(self._classes(rows, column))  # class after class, like cards to the folds
        return [np.sort(dealt[i::k]) for i in range(k)]

    def _classes(self, rows: np.ndarray, column: Column) -> list[np.ndarray]:
        """The rows of each class, in random order."""
        values, what = column(self.by), "the labels" if self.by is None else f"column {self.by!r}"
        expect_values(values[rows], rows, what)
        names, numbers, counts = np.unique(values, return_inverse=True, return_counts=True)
        single = (counts == 1) & (np.bincount(numbers[rows], minlength=len(names)) == 1)
        if single.any():  # a class of which another example is in another part already stays here
            name, rest = names[single][0], int(single.sum()) - 1
            more = f", and so have {rest} more" if rest else ""
            raise DataError(
                f"split stratified: in {what} the class {str(name)[:80]!r} has one example{more}, which "
                "cannot be in two parts; drop or merge such classes, or write split: random"
            )
        mixed = rows[shuffled(len(rows), self.seed, STREAM)]
        return apart(mixed, numbers[mixed])


@split("grouped", main="by")
class Grouped(Division):
    """Whole groups at random: all examples with the same value of a column are in the same part and fold."""

    by: str = field(doc="the column whose equal values stay together, such as a patient")
    seed: int = field(default=0, doc="of the random order", minimum=0)

    def take(self, rows: np.ndarray, fraction: float, column: Column, part: str) -> np.ndarray:
        groups = self._groups(rows, column)
        if len(groups) < 2:
            raise DataError(f"{part} {fraction} of 1 groups of {self.by!r}: both parts need at least one")
        sizes = np.cumsum([len(members) for members in groups])[:-1]  # of the first one, two, ... groups
        nearest = int(np.argmin(np.abs(sizes - len(rows) * fraction)))
        return np.sort(np.concatenate(groups[: nearest + 1]))

    def folds(self, rows: np.ndarray, k: int, column: Column) -> list[np.ndarray]:
        groups = self._groups(rows, column)
        expect_folds(len(groups), k, f"groups of {self.by!r}")
        held: list[list[np.ndarray]] = [[] for _ in range(k)]
        sizes = np.zeros(k, np.int64)
        for members in sorted(groups, key=len, reverse=True):  # the next largest to the smallest fold
            smallest = int(np.argmin(sizes))
            held[smallest].append(members)
            sizes[smallest] += len(members)
        return [np.sort(np.concatenate(members)) for members in held]

    def _groups(self, rows: np.ndarray, column: Column) -> list[np.ndarray]:
        """The rows of each group, the groups in random order."""
        values = column(self.by)[rows]
        expect_values(values, rows, f"column {self.by!r}")
        _, numbers = np.unique(values, return_inverse=True)
        groups = apart(rows, numbers)
        return [groups[i] for i in shuffled(len(groups), self.seed, STREAM)]


def apart(rows: np.ndarray, numbers: np.ndarray) -> list[np.ndarray]:
    """The rows of each number, in the order in which they stand; ``numbers`` has one for each row."""
    order = np.argsort(numbers, kind="stable")
    return np.split(rows[order], np.flatnonzero(np.diff(numbers[order])) + 1)


def expect_parts(count: int, fraction: float, what: str, part: str) -> int:
    """How many of ``count`` a fraction is; raises `DataError` unless both parts get some."""
    taken = round(count * fraction)
    if not 0 < taken < count:
        raise DataError(f"{part} {fraction} of {count} {what} is {taken}; both parts need at least one")
    return taken


def expect_folds(count: int, k: int, what: str) -> None:
    """Raises `DataError` for fewer than two folds, and for more folds than there is to hold out."""
    if k < 2:
        raise DataError(f"{k} folds: at least two are needed, one to hold out and one to train on")
    if count < k:
        raise DataError(
            f"{k} folds of {count} {what}: each fold needs at least one; give {count} folds at most"
        )


def expect_values(values: np.ndarray, rows: np.ndarray, what: str) -> None:
    """Raises `DataError` where a value is missing: nobody can say where that example belongs."""
    if values.dtype.kind in "fmMc":
        missing = np.isnat(values) if values.dtype.kind in "mM" else np.isnan(values)
    else:
        missing = values == "" if values.dtype.kind in "UO" else np.zeros(len(values), bool)
    if missing.any():
        raise DataError(
            f"split: {what} has no value in {int(missing.sum())} examples, the first being example "
            f"{int(rows[missing][0])}; fill or drop them, or split by another column"
        )


def _shares(sizes: np.ndarray, count: int) -> np.ndarray:
    """``count`` divided among classes in proportion to their sizes, by the largest remainders; each class
    keeps one for the rest."""
    exact = sizes * count / sizes.sum()
    counts: np.ndarray = np.minimum(exact.astype(np.int64), np.maximum(sizes - 1, 0))
    remainders = np.where(counts < sizes - 1, exact - counts, 0.0)
    most = np.argsort(-remainders, kind="stable")[: count - int(counts.sum())]
    counts[most[remainders[most] > 0]] += 1
    return counts
