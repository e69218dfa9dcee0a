"""A column of a table: which of its distinct cells each row holds.

Cells repeat.  What has to be found out about a cell (whether it is a number, which category it names) is
found out once for each distinct one, and spread over the rows by an index.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

LARGEST = float(np.finfo(np.float32).max)
EXACT = 2**53  # whole numbers up to here are the same in float64

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{3}(\d{3})?)?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)
# Forms beside ISO 8601 in which day and month cannot be mistaken for each other.
FORMS = ("%Y/%m/%d", "%d.%m.%Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d-%b-%Y")


class Column:
    """One column.  ``codes``: for each row the index of its cell in ``cells``, -1 where the cell is missing.

    ``cells`` are distinct: text (an object array), numbers (float64) or moments (datetime64[us], UTC).
    """

    def __init__(self, name: str, codes: Array, cells: Array) -> None:
        self.name, self.codes, self.cells = name, codes, cells

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: Array) -> Column:
        """Some of the rows.  The cells stay, and what is known about them."""
        part = copy.copy(self)
        part.codes = self.codes.take(rows)
        part.__dict__.pop("counts", None)
        return part

    def first(self, wanted: Array) -> int:
        """The first row that holds one of the cells ``wanted`` (a mask over the cells)."""
        return int(np.flatnonzero(np.append(wanted, False)[self.codes])[0])

    @cached_property
    def counts(self) -> Array:
        """How many rows hold each cell."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.cells))

    @property
    def missing(self) -> int:
        """How many rows hold nothing."""
        return len(self.codes) - int(self.counts.sum())

    @cached_property
    def texts(self) -> Array:
        """The cells as people write them."""
        if self.cells.dtype == object:
            return self.cells
        return objects(map(written, self.cells.tolist()))

    @cached_property
    def numbers(self) -> Array:
        """The cells as float64; NaN for a cell that is no number, is infinite or lies beyond float32."""
        if self.cells.dtype == np.float64:
            return np.where(np.abs(self.cells) <= LARGEST, self.cells, np.nan)
        return np.array([_number(cell) for cell in self.texts], np.float64)

    def dates(self, form: str | None = None) -> Array:
        """The cells as datetime64[us], NaT for a cell that is no date; ``form`` as for `strptime`."""
        if self.cells.dtype.kind == "M":
            return self.cells
        texts = self.texts[: len(self.cells)]
        made = [_date(cell, form) if form else _iso(cell) for cell in texts]
        if not form and not any(made):
            probe = texts[0] if len(texts) else ""
            other = next((f for f in FORMS if _date(probe, f)), None)
            made = [_date(cell, other) for cell in texts] if other else made
        return np.array([moment or "NaT" for moment in made], "datetime64[us]")


def of_texts(name: str, values: Iterable[str | None], missing: Iterable[str] = ()) -> Column:
    """A column of text: blanks around a cell are no part of it; None, nothing and ``missing`` are missing."""
    known: dict[str | None, int] = {}
    codes = np.array([known.setdefault(value, len(known)) for value in values], np.int32)
    return coded(name, codes, list(known), missing)


def coded(name: str, codes: Array, values: Sequence[str | None], missing: Iterable[str]) -> Column:
    """The same from codes of values that may still have blanks, repeat or be missing."""
    nothing = {"", None, *missing}
    known: dict[str, int] = {}
    places = np.empty(len(values), np.int32)
    for index, value in enumerate(values):
        cell = value.strip() if value else ""
        places[index] = -1 if cell in nothing else known.setdefault(cell, len(known))
    return Column(name, places[codes], objects(known))


def of_numbers(name: str, values: Array) -> Column:
    """A column of numbers; NaN is missing.  Whole numbers that float64 cannot hold become text."""
    if values.dtype.kind in "iu" and len(values) and max(-int(values.min()), int(values.max())) > EXACT:
        return of_texts(name, map(str, values.tolist()))
    return _of_distinct(name, values.astype(np.float64))


def of_moments(name: str, values: Array) -> Column:
    """A column of datetime64; NaT is missing."""
    return _of_distinct(name, values.astype("datetime64[us]"))


def _of_distinct(name: str, values: Array) -> Column:
    cells, codes = np.unique(values, return_inverse=True)
    good = ~np.isnat(cells) if cells.dtype.kind == "M" else ~np.isnan(cells)
    places = np.where(good, np.cumsum(good) - 1, -1).astype(np.int32)
    return Column(name, places[codes], cells[good])


def joined(columns: Sequence[Column]) -> Column:
    """Columns of one name, one behind the other."""
    name = columns[0].name
    if len(columns) == 1:
        return columns[0]
    if len({column.cells.dtype for column in columns}) > 1:
        columns = [Column(name, column.codes, column.texts) for column in columns]
    known: dict[Any, int] = {}
    codes = []
    for column in columns:
        places = [known.setdefault(cell, len(known)) for cell in column.cells.tolist()]
        codes.append(np.array([*places, -1], np.int32)[column.codes])
    cells = (
        objects(known) if columns[0].cells.dtype == object else np.array(list(known), columns[0].cells.dtype)
    )
    return Column(name, np.concatenate(codes), cells)


def objects(values: Iterable[object]) -> Array:
    """An object array of whatever the values are (NumPy would look inside)."""
    listed = list(values)
    made = np.empty(len(listed), object)
    made[:] = listed
    return made


def count(number: int, noun: str) -> str:
    """Such as ``1 cell`` and ``3 cells``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def short(cell: str) -> str:
    """A cell in a message: what would be long is cut."""
    return repr(cell if len(cell) <= 40 else cell[:37] + "...")


def written(cell: Any) -> str:
    """A number or a moment as text; whole numbers have no point."""
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) <= EXACT else repr(cell)
    return str(cell.isoformat())


def _number(cell: str) -> float:
    if len(cell) > 400 or not NUMBER.fullmatch(cell):
        return math.nan
    number = float(cell)
    return number if abs(number) <= LARGEST else math.nan


def _iso(cell: str) -> datetime | None:
    if len(cell) > 40 or not ISO.fullmatch(cell):
        return None
    try:
        return _utc(datetime.fromisoformat(cell.replace("Z", "+00:00")))
    except ValueError:
        return None


def _date(cell: str, form: str) -> datetime | None:
    try:
        return _utc(datetime.strptime(cell, form)) if len(cell) <= 100 else None
    except ValueError:
        return None


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(timezone.utc).replace(tzinfo=None) if moment.tzinfo else moment
