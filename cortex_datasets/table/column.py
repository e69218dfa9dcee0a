"""A column of a table: which of its distinct cells each row holds.

Cells repeat.  What has to be found out about a cell (whether it is a number, which category it names) is
found out once for each distinct one, and spread over the rows by an index.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

import numpy as np

from cortex_compute.errors import DataError

Array = np.ndarray[Any, Any]

LARGEST = float(np.finfo(np.float32).max)
LONGEST_NAME = 1000  # characters; a model file holds names and words, no texts
EXACT = 2**53  # whole numbers up to here are the same in float64

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
DECIMAL = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?", re.ASCII)
ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{3}(\d{3})?)?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)
# Forms beside ISO 8601 in which day and month cannot be mistaken for each other.
FORMS = ("%Y/%m/%d", "%d.%m.%Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d-%b-%Y")
# Forms in which they can: never guessed, but suggested.
DOUBTFUL = ("%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y", "%m.%d.%Y", "%m/%d/%y", "%d/%m/%y", "%Y%m%d")


class Cells:
    """Different cells, and what is known about them: found out once, for a column and all parts of it.

    ``values``: text (an object array), numbers (float64) or moments (datetime64[us], UTC).
    """

    def __init__(self, values: Array, of: tuple[Cells, Array] | None = None) -> None:
        self.values, self.of = values, of
        self._dates: dict[str | None, Array] = {}

    def part(self, places: Array) -> Cells:
        """Some of the cells."""
        return Cells(self.values[places], (self, places))

    @cached_property
    def texts(self) -> Array:
        if self.values.dtype == object:
            return self.values
        if self.of:
            return self.of[0].texts[self.of[1]]
        return objects(map(written, self.values.tolist()))

    @cached_property
    def numbers(self) -> Array:
        if self.values.dtype == np.float64:
            return np.where(np.abs(self.values) <= LARGEST, self.values, np.nan)
        if self.of:
            return self.of[0].numbers[self.of[1]]
        return np.array([_number(cell) for cell in self.texts], np.float64)

    def dates(self, form: str | None) -> Array:
        if self.values.dtype.kind == "M":
            return self.values
        if form not in self._dates:
            self._dates[form] = (
                self.of[0].dates(form)[self.of[1]]
                if self.of
                else np.array([_date(cell, form) or "NaT" for cell in self.texts], "datetime64[us]")
            )
        return self._dates[form]


class Column:
    """One column.  ``codes``: for each row the index of its cell in ``cells``, -1 where the cell is missing.

    The cells are different, and each is that of a row.
    """

    def __init__(self, name: str, codes: Array, cells: Array | Cells) -> None:
        self.name, self.codes = name, codes
        self.known = cells if isinstance(cells, Cells) else Cells(cells)

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: Array) -> Column:
        """Some of the rows, with their cells alone: nothing else of the column is seen from there."""
        codes = self.codes.take(rows)
        held = np.bincount(codes[codes >= 0], minlength=len(self.cells)) > 0
        places = np.append(np.cumsum(held, dtype=np.int32) - 1, np.int32(-1))
        return Column(self.name, places[codes], self.known.part(np.flatnonzero(held)))

    def first(self, wanted: Array) -> int:
        """The first row that holds one of the cells ``wanted`` (a mask over the cells)."""
        return int(np.flatnonzero(np.append(wanted, False)[self.codes])[0])

    def told(self, wanted: Array, what: str, where: Callable[[int], str]) -> str:
        """How many rows hold one of the cells ``wanted``, and the first of them, for a message."""
        row, rows = self.first(wanted), int(self.counts[wanted].sum())
        cell = short(self.texts[self.codes[row]])
        return f"{count(rows, 'cell')} of {len(self)} {what}: {cell} in {where(row)}"

    @property
    def cells(self) -> Array:
        """Text (an object array), numbers (float64) or moments (datetime64[us], UTC)."""
        return self.known.values

    @cached_property
    def counts(self) -> Array:
        """How many rows hold each cell."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.cells))

    @property
    def missing(self) -> int:
        """How many rows hold nothing."""
        return int((self.codes < 0).sum())

    @property
    def texts(self) -> Array:
        """The cells as people write them."""
        return self.known.texts

    @property
    def numbers(self) -> Array:
        """The cells as float64; NaN for a cell that is no number, is infinite or lies beyond float32."""
        return self.known.numbers

    def dates(self, form: str | None = None) -> Array:
        """The cells as datetime64[us], NaT for a cell that is neither written in ``form`` (as for
        `strptime`) nor, where that form is one of `FORMS` or None, in ISO 8601."""
        return self.known.dates(form)

    @cached_property
    def form(self) -> str | None:
        """That of `FORMS` in which the first of a hundred cells that has one is written."""
        if self.cells.dtype != object:
            return None
        return next((form for cell in self.cells[:100] for form in FORMS if _strptime(cell, form)), None)


def of_texts(name: str, values: Iterable[str | None], missing: Iterable[str] = ()) -> Column:
    """A column of text: blanks around a cell are no part of it; None, nothing and ``missing`` are missing."""
    known: dict[str | None, int] = {}
    codes = np.array([known.setdefault(value, len(known)) for value in values], np.int32)
    return coded(name, codes, list(known), missing)


def coded(name: str, codes: Array, values: Sequence[str | None], missing: Iterable[str]) -> Column:
    """The same from codes of values that may still have blanks, repeat or be missing."""
    nothing = {canonical(cell.strip()) for cell in missing}
    spelled = canonical if any(map(DECIMAL.fullmatch, nothing)) else str  # numbers are compared by value
    known: dict[str, int] = {}
    places = np.empty(len(values), np.int32)
    for index, value in enumerate(values):
        cell = value.strip() if value else ""
        absent = not cell or spelled(cell) in nothing
        places[index] = -1 if absent else known.setdefault(cell, len(known))
    return Column(name, places[codes], objects(known))


def of_numbers(name: str, values: Array, missing: Sequence[str] = ()) -> Column:
    """A column of numbers; NaN and those in ``missing`` are missing.  Whole numbers that float64 cannot hold
    become text."""
    if values.dtype.kind in "iu" and len(values) and max(-int(values.min()), int(values.max())) > EXACT:
        return of_texts(name, map(str, values.tolist()), missing)
    nothing = np.array([_number(cell.strip()) for cell in missing], np.float64)
    cells, codes = np.unique(values.astype(np.float64), return_inverse=True)
    return _without(name, cells, codes, np.isnan(cells) | np.isin(cells, nothing))


def of_moments(name: str, values: Array) -> Column:
    """A column of datetime64; NaT is missing.  Raises DataError beyond the years 1 to 9999."""
    cells, codes = np.unique(values, return_inverse=True)
    years = cells.astype("datetime64[Y]").astype(np.int64) + 1970
    absent = np.isnat(cells)
    far = ((years < 1) | (years > 9999)) & ~absent
    if far.any():
        raise DataError(
            f"column {name!r}: {cells[far][0]} in row {int(np.flatnonzero(far[codes])[0])} lies beyond the "
            "years 1 to 9999; correct it, or leave the column out"
        )
    return _without(name, cells.astype("datetime64[us]"), codes, absent)


def _without(name: str, cells: Array, codes: Array, absent: Array) -> Column:
    places = np.where(absent, -1, np.cumsum(~absent) - 1).astype(np.int32)
    return Column(name, places[codes], cells[~absent])


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


def canonical(cell: str) -> str:
    """One spelling of a name: 1.0 is 1, and TRUE is true.  Digits alone are looked at, no float64: long
    numbers stay apart.  What begins with a nought (007) is as it is."""
    if DECIMAL.fullmatch(cell):
        whole, _, rest = cell.partition(".")
        rest = rest.rstrip("0")
        if rest:
            return f"{whole}.{rest}"
        return "0" if whole == "-0" else whole
    lower = cell[:5].lower()
    return lower if lower in ("true", "false") and len(cell) == len(lower) else cell


def _date(cell: str, form: str | None) -> datetime | None:
    iso = _iso(cell) if form is None or form in FORMS else None
    return iso or (_strptime(cell, form) if form else None)


def _iso(cell: str) -> datetime | None:
    if len(cell) > 40 or not ISO.fullmatch(cell):
        return None
    try:
        return _utc(datetime.fromisoformat(cell.replace("Z", "+00:00")))
    except (ValueError, OverflowError):
        return None


def _strptime(cell: str, form: str) -> datetime | None:
    try:
        return _utc(datetime.strptime(cell, form)) if len(cell) <= 100 else None
    except (ValueError, OverflowError):
        return None


def fitting(cells: Sequence[str]) -> list[str]:
    """The forms, doubtful ones too, in which all these cells are dates."""
    forms = ("%Y-%m-%d", *FORMS, *DOUBTFUL)
    return [form for form in forms if all(_strptime(cell, form) for cell in cells)]


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(timezone.utc).replace(tzinfo=None) if moment.tzinfo else moment
