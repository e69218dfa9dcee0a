"""Columns of names: categories as inputs, labels as targets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.registry import Fault, field, nearest
from cortex_datasets.source import Stream
from cortex_datasets.table.column import LONGEST_NAME, NUMBER, Array, Column, canonical, count, objects, short
from cortex_datasets.table.declare import Where, kind, learned
from cortex_datasets.table.numbers import nothing_in
from cortex_datasets.table.sheet import listed

STRIP = "characters that are dropped at both ends of a cell, such as the point of 'yes.'"


@kind("category")
class Category:
    """One of a few names.  As features: one column for each name of the training rows, 1 or 0.

    A missing cell has a column of its own where training had missing cells.  Names with fewer than
    ``minimum`` training rows share one column, and so does then a name that training did not see; without
    it such a name is 0 in all columns.  Read alone the column is an index, for an embedding: two more
    classes stand behind the names, for missing cells and for all other names.
    """

    minimum: int = field(
        default=1, minimum=1, doc="training rows that a name needs to have a column of its own"
    )
    strip: str | None = field(default=None, doc=STRIP)

    def learn(self, column: Column, where: Where, notes: list[str]) -> LearnedCategory:
        """Raises DataError for a column without cells."""
        counts = _named(column, self.strip)
        if not counts:
            raise nothing_in(column)
        kept = in_order(name for name, rows in counts.items() if rows >= self.minimum)
        _check_lengths(
            column, kept, self.strip, where, f"read the column by `columns: {{{column.name}: text}}`"
        )
        pooled = len(counts) - len(kept)
        if pooled:
            notes.append(f"{column.name}: {count(pooled, 'name')} with fewer than {self.minimum} rows pooled")
        return LearnedCategory(
            names=tuple(kept), indicator=column.missing > 0, pooled=pooled > 0, strip=self.strip
        )


@learned("category")
class LearnedCategory:
    """name -> one of ``names``, missing (``indicator``) or another (``pooled``)."""

    names: tuple[str, ...]
    indicator: bool = field(default=False)
    pooled: bool = field(default=False)
    strip: str | None = field(default=None)

    def check(self) -> Iterator[Fault]:
        yield from _distinct(self.names)

    def parts(self) -> list[str]:
        missing, other = self._marks()
        return [*self.names, *[missing] * self.indicator, *[other] * self.pooled]

    def fill_in(self, column: Column, where: Where, notes: list[str], out: Array) -> None:
        known, width = len(self.names), out.shape[1]
        missing = known if self.indicator else width  # one past the end: no column
        other = width - 1 if self.pooled else width
        ids = self._ids(column, notes, "")
        places = np.append(np.where(ids < 0, other, ids), missing)[column.codes]
        rows = np.flatnonzero(places < width)
        out[:] = 0
        out[rows, places[rows]] = 1

    def stream(self) -> Stream:
        return Stream((), "int64", (*self.names, *self._marks()))

    def values(self, column: Column, where: Where, notes: list[str]) -> Array:
        known = len(self.names)
        ids = self._ids(column, notes, ", a class that was not trained")
        return np.append(np.where(ids < 0, known + 1, ids), known)[column.codes]

    def _ids(self, column: Column, notes: list[str], untrained: str) -> Array:
        """The index of each cell among the names, -1 for another; counts what training did not teach."""
        ids = lookup(column, self.names, self.strip)
        other = ids < 0
        rows = int(column.counts[other].sum())
        if rows:
            first = short(column.texts[other][0])
            new = (
                f"with rare names, or names that training did not see, such as {first}, pooled"
                if self.pooled
                else f"with names that training did not see, such as {first}{untrained}"
            )
            notes.append(f"{column.name}: {count(rows, 'cell')} {new}")
        if column.missing and not self.indicator:
            missing = f"{count(column.missing, 'missing cell')}, though training had none"
            notes.append(f"{column.name}: {missing}{untrained}")
        return ids

    def _marks(self) -> tuple[str, str]:
        """What stands for a missing cell and for another name, and is no name itself."""
        missing, other = "(missing)", "(other)"
        while {missing, other} & set(self.names):
            missing, other = f"({missing})", f"({other})"
        return missing, other

    def decode(self, values: Array) -> Array:
        """Names; None for a missing cell and for another name."""
        return objects([*self.names, None, None])[np.asarray(values, np.intp)]


@kind("label")
class Label:
    """What a network learns to tell: one of the classes that the training rows name, in order."""

    missing: str = field(
        default="error",
        choices=("error", "drop"),
        doc="a row without label; drop: such rows are left out of training and evaluation",
    )
    strip: str | None = field(default=None, doc=STRIP)

    def learn(self, column: Column, where: Where, notes: list[str]) -> LearnedLabel:
        """Raises DataError for a label that is missing."""
        _check_labelled(column, where)
        counts = _named(column, self.strip)
        _check_lengths(column, counts, self.strip, where, "leave the row out")
        single = [name for name, rows in counts.items() if rows == 1]
        if single:
            notes.append(f"{column.name}: one training row only for {listed(in_order(single))}")
        return LearnedLabel(names=tuple(in_order(counts)), strip=self.strip, rule=self.missing)


@learned("label")
class LearnedLabel:
    """name -> its index among ``names``."""

    names: tuple[str, ...]
    strip: str | None = field(default=None)
    rule: str = field(default="error", choices=("error", "drop"))

    def check(self) -> Iterator[Fault]:
        yield from _distinct(self.names)

    def stream(self) -> Stream:
        return Stream((), "int64", self.names)

    def values(self, column: Column, where: Where, notes: list[str]) -> Array:
        _check_labelled(column, where)
        ids = lookup(column, self.names, self.strip)
        bad = ids < 0
        if bad.any():
            row = column.first(bad)
            cell = str(column.texts[column.codes[row]])
            hint = nearest(cell, self.names) or f"The classes are {listed(self.names)}."
            raise DataError(
                f"column {column.name!r}: {count(int(column.counts[bad].sum()), 'label')} that the training "
                f"rows have not: {short(cell)} in {where(row)}. {hint} Correct it, leave such rows out, "
                "or divide by `split: stratified`, which keeps rows of each class for training"
            )
        return ids[column.codes]

    def decode(self, values: Array) -> Array:
        """Names."""
        return objects(self.names)[np.asarray(values, np.intp)]


def in_order(names: Iterable[str]) -> list[str]:
    """Names sorted: by value where all are numbers, else as text."""
    known = sorted(names)
    return sorted(known, key=float) if all(map(NUMBER.fullmatch, known)) else known


def lookup(column: Column, names: Sequence[str], strip: str | None) -> Array:
    """The index of each cell among ``names``, -1 where it is none of them."""
    known = {canonical(name): index for index, name in enumerate(names)}
    return np.array([known.get(canonical(_stripped(cell, strip)), -1) for cell in column.texts], np.int64)


def _stripped(cell: str, strip: str | None) -> str:
    return (cell.strip(strip) or cell) if strip else cell


def _named(column: Column, strip: str | None) -> dict[str, int]:
    """How many rows bear each name, in the first spelling that occurs: 1.0 is 1, and TRUE is true."""
    counts: dict[str, int] = {}
    spelled: dict[str, str] = {}
    for cell, rows in zip(column.texts, column.counts.tolist()):
        cell = _stripped(cell, strip)
        name = spelled.setdefault(canonical(cell), cell)
        counts[name] = counts.get(name, 0) + rows
    return counts


def _check_lengths(
    column: Column, names: Iterable[str], strip: str | None, where: Where, remedy: str
) -> None:
    long = next((name for name in names if len(name) > LONGEST_NAME), None)
    if long is not None:
        row = column.first(lookup(column, [long], strip) == 0)
        raise DataError(
            f"column {column.name!r}: a name of {len(long):,} characters in {where(row)}, "
            f"{LONGEST_NAME:,} at most; {remedy}, or leave it out by `columns: {{{column.name}: skip}}`"
        )


def _check_labelled(column: Column, where: Where) -> None:
    if column.missing == len(column) > 0:
        raise DataError(
            f"column {column.name!r}: every cell is missing, from {where(0)} on, so there is nothing to "
            "learn or to compare with; is it the right column?"
        )
    if column.missing:
        row = int(np.flatnonzero(column.codes < 0)[0])
        raise DataError(
            f"column {column.name!r}: {count(column.missing, 'label')} missing, first in {where(row)}; fill "
            f"them in, or leave such rows out by `columns: {{{column.name}: {{label: {{missing: drop}}}}}}`"
        )


def _distinct(names: Sequence[str]) -> Iterator[Fault]:
    if len(set(map(canonical, names))) < len(names):
        yield Fault(("names",), "a name is given twice", "expected distinct names")
