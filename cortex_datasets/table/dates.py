"""Columns of dates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.registry import Fault, field
from cortex_datasets.source import Stream
from cortex_datasets.table.column import Array, Column, count, fitting
from cortex_datasets.table.declare import Where, kind, learned
from cortex_datasets.table.numbers import centre_and_spread, cut, nothing_in

DAY = np.timedelta64(1, "D")


@kind("date", main="format")
class Date:
    """Dates, with or without a time of day.

    As features: the time, less its mean over its standard deviation in the training rows; sine and cosine of
    the month in the year, the day in the month and the day in the week; those of the hour in the day too
    where training had times.  A missing cell is 0 in all of them, the mean time, and has a column of its own
    where training had missing cells.  Read alone it gives its day back, and the second where training had
    times.
    """

    format: str | None = field(
        default=None, doc="as for strptime, such as '%m/%d/%Y'; without it ISO 8601, or '31 Dec 2020'"
    )
    unreadable: str = field(
        default="error", choices=("error", "missing"), doc="what a cell that is no date is taken for"
    )

    def check(self) -> Iterator[Fault]:
        yield from check_form(self.format)

    def learn(self, column: Column, where: Where, notes: list[str]) -> LearnedDate:
        """Raises DataError for a column without dates, and for cells that are none."""
        form = self.format or column.form
        moments = read_dates(column, form, self.unreadable, where, [])  # counted when rows are encoded
        moments = np.append(moments, np.datetime64("NaT"))[column.codes]
        moments = moments[~np.isnat(moments)]
        if not len(moments):
            raise nothing_in(column)
        days = _days(moments)
        centre, spread = centre_and_spread(days)
        return LearnedDate(
            centre=centre,
            spread=spread,
            clock=bool((days % 1 != 0).any()),
            indicator=len(moments) < len(column),
            format=form,
            unreadable=self.unreadable,
        )


@learned("date")
class LearnedDate:
    """Time in days since 1970 -> (days - centre) / spread, and where it stands in its periods."""

    centre: float
    spread: float = field(above=0)
    clock: bool = field(default=False)
    indicator: bool = field(default=False)
    format: str | None = field(default=None)
    unreadable: str = field(default="error", choices=("error", "missing"))

    def check(self) -> Iterator[Fault]:
        yield from check_form(self.format)
        if not self.spread < 1e9:
            yield Fault(("spread",), "the deviation is none that can be", "expected days")
        if not abs(self.centre) < 1e9:
            yield Fault(("centre",), "the mean time is none that can be", "expected days since 1970")

    def parts(self) -> list[str]:
        periods = ["month", "day", "weekday", *["hour"] * self.clock]
        cycles = [f"{period} {turn}" for period in periods for turn in ("sine", "cosine")]
        return ["time", *cycles, *["missing"] * self.indicator]

    def fill_in(self, column: Column, where: Where, notes: list[str], out: Array) -> None:
        moments = read_dates(column, self.format, self.unreadable, where, notes)
        moments = np.append(moments, np.datetime64("NaT"))
        missing = np.isnat(moments)
        rows = int(missing[column.codes].sum())
        if rows and not self.indicator:
            notes.append(f"{column.name}: {count(rows, 'missing cell')}, though training had none")
        moments[missing] = 0
        angles = 2 * np.pi * np.stack(_phases(moments)[: 4 if self.clock else 3], axis=1)
        time = (_days(moments) - self.centre) / self.spread
        time[missing] = 0
        cycles = np.stack([np.sin(angles), np.cos(angles)], axis=2).reshape(len(moments), -1)
        cycles[missing] = 0
        width = cycles.shape[1]
        out[:, 0] = cut(time, column, notes)[column.codes]
        out[:, 1 : width + 1] = cycles[column.codes]
        if self.indicator:
            out[:, -1] = missing[column.codes]

    def stream(self) -> Stream:
        return Stream((len(self.parts()),), "float32")

    def values(self, column: Column, where: Where, notes: list[str]) -> Array:
        made = np.empty((len(column), len(self.parts())), np.float32)
        self.fill_in(column, where, notes, made)
        return made

    def decode(self, values: Array) -> Array:
        """datetime64[s]; whole days where training had no times."""
        numbers = np.asarray(values, np.float64)
        days = numbers[..., 0] * self.spread + self.centre
        passed = np.zeros_like(days)
        if self.clock:  # the hour tells the second, for which the time of years is too coarse in float32
            sine, cosine = (self.parts().index(f"hour {turn}") for turn in ("sine", "cosine"))
            passed = np.arctan2(numbers[..., sine], numbers[..., cosine]) / (2 * np.pi) % 1
        seconds = np.rint(days - passed) * 86_400 + np.rint(passed * 86_400)
        return seconds.astype(np.int64).astype("datetime64[s]")


def check_form(form: str | None) -> Iterator[Fault]:
    """A fault where `strptime` cannot read what is written in this form."""
    try:
        if form is not None:
            datetime.strptime(datetime(2020, 12, 31).strftime(form), form)
    except (ValueError, IndexError, re.error) as error:
        yield Fault(("format",), f"{form!r} is no form of dates: {error}", "expected one such as '%m/%d/%Y'")


def read_dates(column: Column, form: str | None, rule: str, where: Where, notes: list[str]) -> Array:
    """The moment of each cell, NaT for what ``rule`` lets count as missing."""
    moments = column.dates(form)
    bad = np.isnat(moments)
    if bad.any():
        found = column.told(bad, "no date", where)
        if rule == "error":
            raise DataError(
                f"column {column.name!r}: {found}. Expected {form or 'dates such as 2020-12-31'}; "
                f"{_remedy(column.name, column.texts[column.codes[column.first(bad)]])}"
            )
        notes.append(f"{column.name}: {found}, taken as missing")
    return moments


def _remedy(name: str, cell: str) -> str:
    forms = fitting([cell])
    if forms:
        return f'say how they are written, such as `columns: {{{name}: {{date: {{format: "{forms[0]}"}}}}}}`'
    return f"correct it, or take it as missing by `columns: {{{name}: {{date: {{unreadable: missing}}}}}}`"


def _days(moments: Array) -> Array:
    """Days since 1970, with what part of a day has passed."""
    return moments.astype("datetime64[us]").astype(np.int64) / 86_400e6


def _phases(moments: Array) -> list[Array]:
    """Where each moment stands, 0..1, in its year (by month), its month (by day), its week and its day."""
    days = moments.astype("datetime64[D]")
    months = moments.astype("datetime64[M]")
    length = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")) / DAY
    return [
        months.astype(np.int64) % 12 / 12,
        (days - months.astype("datetime64[D]")) / DAY / length,
        (days.astype(np.int64) + 3) % 7 / 7,  # 1970-01-01 was a Thursday; Monday is 0
        (moments - days) / DAY,
    ]
