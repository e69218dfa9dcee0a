"""The reader `table`: what a description names, and the examples that it opens."""

from __future__ import annotations

import codecs
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.registry import Fault, field, nearest, reader
from cortex_datasets.table.categories import Category, Label
from cortex_datasets.table.column import Array, Column, count, joined, short
from cortex_datasets.table.dates import Date
from cortex_datasets.table.declare import Cell, Columns, Learned, kind
from cortex_datasets.table.encoding import FEATURES, TableEncoding, holds, restore
from cortex_datasets.table.files import MISSING, Format, read_file, separator
from cortex_datasets.table.kinds import guess
from cortex_datasets.table.numbers import BINS, Number, Scale
from cortex_datasets.table.sheet import Sheet, from_object, listed
from cortex_datasets.table.words import Text

Find = Callable[[str], Path]


@kind("skip")
class Skip:
    """A column that is not read."""


@reader("table", main="file", suffixes=(".csv", ".parquet", ".pq"))
class Table:
    """A table: CSV, Parquet, or a DataFrame in memory.

    Streams: a column that a loss names is a target; an input that is named like a column is this column
    alone; the input `features` is all other columns, side by side.  What kind a column is, is declared under
    ``columns`` or guessed (`cortex data describe FILE` shows the guess).  Blanks around a cell are no part of
    it; a cell that is empty or one of ``missing`` is missing.
    """

    file: str | None = field(default=None, doc="the table to train on, .csv or .parquet")
    test: str | None = field(default=None, doc="a file with the rows of the test part")
    validation: str | None = field(default=None, doc="a file with the rows of the validation part")
    columns: Columns = field(
        default=None, doc="kinds of columns: number, category, date, text, label, skip, with their options"
    )
    header: tuple[str, ...] | None = field(default=None, doc="names of the columns, where the file has none")
    separator: str = field(default=",", doc="the character between cells; \\t is a tab")
    encoding: str = field(default="utf-8", doc="how the file writes characters")
    missing: tuple[Cell, ...] = field(default=MISSING, doc="cells that mean: missing; numbers by value")
    scale: Scale = field(default="standard", doc="what numbers become, unless their column says otherwise")
    bins: int = field(default=BINS, minimum=1, maximum=10_000, doc="how many bins a piecewise scale has")

    def check(self) -> Iterator[Fault]:
        mark = separator(self.format)
        if len(mark) != 1 or mark in '"\r\n':
            yield Fault(("separator",), f"{self.separator!r} is no separator", "expected one character")
        try:
            known = getattr(codecs.lookup(self.encoding), "_is_text_encoding", True)  # hex and zip are none
        except (LookupError, ValueError):
            known = False
        if not known:
            yield Fault(("encoding",), f"unknown encoding {self.encoding!r}", "expected one such as latin-1")
        header = self.header or ()
        twice = [name for name in header if header.count(name) > 1]
        if twice:
            yield Fault(("header",), f"{twice[0]!r} is given twice", "expected distinct names")

    @staticmethod
    def takes(given: Any) -> bool:
        """Whether this is an object that only a table can be: a DataFrame."""
        return hasattr(given, "iloc") and hasattr(given, "columns")

    def open(self, find: Find) -> TableExamples:
        """The rows of its files, in parts.  Raises DataError for what cannot be read."""
        if self.file is None:
            raise DataError(
                "the table names no file; write `data: {table: {file: people.csv}}`, or give a DataFrame"
            )
        named = {"train": self.file, "test": self.test, "validation": self.validation}
        sheets = {part: read_file(find(name), self.format) for part, name in named.items() if name}
        examples = TableExamples(self, sheets)
        for part, rows in examples.parts.items():
            if not len(rows):
                raise DataError(
                    f"{sheets[part].name}: no row is left, each lacks a column whose rule is 'missing: drop'"
                )
        return examples

    def read(self, given: Any, find: Find) -> TableExamples:
        """Rows from elsewhere: a path, a DataFrame, a list of dicts, a dict of columns, or one row as a dict.

        Targets, and columns that are declared labels, may be absent.  Raises DataError for what is no table.
        """
        if not isinstance(given, (str, Path)):
            return TableExamples(self, {"train": from_object(given, self.missing)})
        try:
            path = Path(given) if Path(given).exists() else find(str(given))
        except (OSError, ValueError) as error:  # a name that no file can have
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"there is no data file {short(str(given))}: {reason}") from None
        return TableExamples(self, {"train": read_file(path, self.format, raw=True)})

    def restore(self, state: Mapping[str, Any]) -> TableEncoding:
        """The encoding that a model file holds.  Raises DataError where it is damaged."""
        return restore(state)

    @property
    def format(self) -> Format:
        """How the cells of its files are written."""
        return Format(self.header, self.separator, self.encoding, self.missing)


class TableExamples:
    """Rows of tables as they lie in files, one part behind the other.

    ``complete``: which rows have all cells whose column has the rule `missing: drop`.  The others are in no
    part, and nothing is learned from them; they are there to be predicted.
    """

    def __init__(self, reader: Table, sheets: Mapping[str, Sheet]) -> None:
        self.reader, self.sheets = reader, list(sheets.values())
        self.ends = list(accumulate(map(len, self.sheets), initial=0))
        self.columns = {name: self._joined(name) for name in self.sheets[0].columns}
        self.complete = np.ones(len(self), bool)
        self.dropped: dict[str, int] = {}  # rows without a cell of such a column
        for name, declared in reader.columns.items():
            if name in self.columns and getattr(declared, "missing", "") == "drop":
                held = holds(self.columns[name], declared)
                self.dropped[name] = int((~held).sum())
                self.complete &= held
        rows = [np.arange(*ends) for ends in zip(self.ends, self.ends[1:])]
        self.parts = {part: own[self.complete[own]] for part, own in zip(sheets, rows)}

    def __len__(self) -> int:
        return self.ends[-1]

    @cached_property
    def notes(self) -> Sequence[str]:
        """What was counted and done while reading."""
        notes = [note for sheet in self.sheets for note in sheet.notes]
        extra = {name for sheet in self.sheets for name in sheet.columns} - set(self.columns)
        if extra:
            notes.append(f"columns that only some parts have, not read: {listed(sorted(extra))}")
        return notes

    def _joined(self, name: str) -> Column:
        """The cells of all parts; `require` tells of a part that lacks them, once somebody reads them."""
        first = self.sheets[0].columns[name]
        return joined(
            [
                sheet.columns.get(name) or Column(name, np.full(len(sheet), -1, np.int32), first.cells[:0])
                for sheet in self.sheets
            ]
        )

    @property
    def nameless(self) -> bool:
        """Whether the columns have numbers for names, since the lines of a file do not fit ``header``."""
        return not self.sheets[0].names_known

    def named(self, names: Sequence[str]) -> TableExamples:
        """The same with names for the columns."""
        (sheet,) = self.sheets
        columns = [Column(name, old.codes, old.known) for name, old in zip(names, sheet.columns.values())]
        made = Sheet(sheet.name, dict(zip(names, columns)), sheet.places, sheet.notes)
        return TableExamples(self.reader, {"train": made})

    def cells(self, name: str) -> Column:
        """A column.  Raises DataError for a name that the table has not."""
        self.require([name])
        return self.columns[name]

    def require(self, names: Iterable[str]) -> None:
        """Raises DataError with all the columns that the table has not."""
        names = list(dict.fromkeys(names))
        for sheet in self.sheets:
            lacking = [name for name in names if name not in sheet.columns]
            if lacking:
                hint = nearest(lacking[0], sheet.columns) or f"It has {listed(sheet.columns)}"
                raise DataError(f"{sheet.name} has no column {listed(lacking)}. {hint}")

    def where(self, row: int) -> str:
        """Where a row stands, for messages."""
        sheet = bisect_right(self.ends, row) - 1
        return self.sheets[sheet].where(row - self.ends[sheet])

    def column(self, name: str) -> Array:
        """Numbers where the column holds nothing else, else text, with "" for a missing cell."""
        cells = self.cells(name)
        if cells.cells.dtype == np.float64 and not cells.missing:
            return cells.cells[cells.codes]
        strip = getattr(self.reader.columns.get(name), "strip", None)
        texts = [(text.strip(strip) or text) if strip else text for text in cells.texts]
        return np.append(np.array(texts, object), "")[cells.codes]

    def learn(self, rows: Array, inputs: Sequence[str], targets: Sequence[str]) -> TableEncoding:
        """Learns kinds, scales and names from these rows alone.

        Raises DataError for a stream that cannot be made, and for cells that break the rules.
        """
        return _Learner(self, np.asarray(rows, np.intp)).learn(inputs, targets)


class _Learner:
    """Learns column by column, and gathers what is worth saying."""

    def __init__(self, examples: TableExamples, rows: Array) -> None:
        if not len(rows):
            raise DataError("there are no rows to learn from; the other parts leave none for training")
        self.examples, self.rows = examples, rows[examples.complete[rows]]
        if not len(self.rows):
            raise DataError("no row is left to learn from, each lacks a column whose rule is 'missing: drop'")
        self.columns: dict[str, Learned] = {}
        self.notes = [
            f"{count(rows, 'row')} without {name!r} left out of training and evaluation"
            for name, rows in examples.dropped.items()
            if rows
        ]
        self.guesses: dict[str, list[str]] = {}

    def learn(self, inputs: Sequence[str], targets: Sequence[str]) -> TableEncoding:
        known = self.examples.columns
        self.examples.require(name for name in self.examples.reader.columns if name not in known)
        alone = list(dict.fromkeys(name for name in [*targets, *inputs] if name != FEATURES))
        self.examples.require(alone)
        for name in alone:
            self._learn(name, "target" if name in targets else "input")
        features = self._features(alone) if FEATURES in [*inputs, *targets] else []
        guesses = [f"taken for {kind}: {listed(names)}" for kind, names in self.guesses.items()]
        self.examples.require(self.columns)
        return TableEncoding(list(known), self.columns, features, alone, [*guesses, *self.notes])

    def _features(self, alone: Sequence[str]) -> list[str]:
        declared = self.examples.reader.columns
        left = [n for n in self.examples.columns if n not in alone and not isinstance(declared.get(n), Label)]
        features = [name for name in left if self._learn(name, "feature")]
        if not features:
            why = "; ".join(self.notes[:8]) or "all are labels, targets or inputs"
            raise DataError(f"no column is left for 'features': {why}. Declare kinds under `columns`")
        return features

    def _learn(self, name: str, role: str) -> bool:
        """Learns one column; False where it is skipped."""
        column = self.examples.columns[name].take(self.rows)
        kind = self._kind(column, role)
        if isinstance(kind, Skip):
            return False
        self.columns[name] = kind.learn(column, self._where, self.notes)
        return True

    def _where(self, row: int) -> str:
        return self.examples.where(int(self.rows[row]))

    def _kind(self, column: Column, role: str) -> Any:
        """The kind that is declared or guessed, as the role wants it."""
        reader = self.examples.reader
        kind = reader.columns.get(column.name) or self._guessed(column, role)
        if isinstance(kind, Number):
            kind = replace(kind, scale=kind.scale or reader.scale, bins=kind.bins or reader.bins)
        if role == "target" and isinstance(kind, Category):
            kind = Label(strip=kind.strip)
        if role == "target" and isinstance(kind, Number) and kind.missing != "drop":
            kind = replace(kind, missing="error")  # nobody learns from an answer that was made up
        if role != "target" and isinstance(kind, Number) and kind.missing == "drop":
            kind = replace(kind, missing="error")  # every row that is asked for gets its prediction
        if role == "input" and isinstance(kind, Label):
            kind = Category(strip=kind.strip)
        if not isinstance(kind, FIT[role]):
            raise DataError(
                f"column {column.name!r} is declared {kind.kind}, which cannot be {ROLE[role]} by itself; "
                "declare another kind under `columns`"
            )
        return kind

    def _guessed(self, column: Column, role: str) -> Any:
        kind: Any
        guessed = guess(column)
        names = guessed.kind == "skip" or (guessed.kind == "text" and role == "target")
        kind = Category() if names and role != "feature" else GUESSED[guessed.kind]
        if isinstance(kind, Skip):
            self.notes.append(f"{column.name}: not read, {guessed.why}")
        else:
            form = f" in {column.form or 'ISO 8601'}" if guessed.kind == "date" else ""
            self.guesses.setdefault(kind.kind + form, []).append(column.name)
        if guessed.hint:
            self.notes.append(f"{column.name}: {guessed.hint}")
        return kind


GUESSED: Mapping[str, Any] = {
    "number": Number(unreadable="missing"),
    "category": Category(),
    "date": Date(unreadable="missing"),
    "text": Text(),
    "skip": Skip(),
}
FIT = {
    "target": (Number, Label),
    "input": (Number, Category, Date, Text),
    "feature": (Number, Category, Date, Text, Skip),
}
ROLE = {"target": "a target", "input": "an input", "feature": "a feature"}
