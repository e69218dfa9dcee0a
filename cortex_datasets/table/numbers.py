"""Columns of numbers: read, filled, scaled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.registry import Fault, field
from cortex_datasets.source import Stream
from cortex_datasets.table.column import LARGEST, Array, Column, count
from cortex_datasets.table.declare import Where, kind, learned

Scale = Literal["standard", "piecewise", "minmax", "none"]
BINS = 64
FARTHEST = 1e6  # spreads, or bins; what lies farther out is cut off there, so that float32 can carry on


@kind("number", main="scale")
class Number:
    """Numbers.  Their scale, and what fills missing cells, come from the training rows alone.

    ``standard``: less the mean, over the standard deviation.  ``minmax``: 0..1.  ``none``: as they are.
    ``piecewise``: for each of ``bins`` bins between quantiles of the distinct numbers, 1 if the number lies
    above the bin, 0 if below, and linear inside; the two outermost bins go on (Gorishniy, Rubachev, Babenko
    2022, "On Embeddings for Numerical Features in Tabular Deep Learning", equation 1).  A column that is read
    alone, as an input or a target, has no bins: it is standardised.
    """

    scale: Scale | None = field(default=None, doc="what numbers become; by default as for the whole table")
    missing: str = field(
        default="median",
        choices=("median", "mean", "zero", "error", "drop"),
        doc="what fills a missing cell; drop: such rows are left out of training and evaluation",
    )
    bins: int | None = field(
        default=None, minimum=1, maximum=10_000, doc="how many bins a piecewise scale has"
    )
    unreadable: str = field(
        default="error", choices=("error", "missing"), doc="what a cell that is no number is taken for"
    )

    def learn(self, column: Column, where: Where, notes: list[str]) -> LearnedNumber:
        """Raises DataError for a column without numbers, and for cells that break the rules."""
        numbers = read_numbers(column, self.unreadable, where, [])  # counted when rows are encoded
        spread_out = np.append(numbers, np.nan)[column.codes]
        values = spread_out[~np.isnan(spread_out)]
        if not len(values):
            raise nothing_in(column)
        fills = {"mean": values.mean(), "zero": 0.0}
        centre, spread = (0.0, 1.0) if self.scale == "none" else centre_and_spread(values, self.scale)
        return LearnedNumber(
            fill=float(fills.get(self.missing, np.median(values))),
            centre=centre,
            spread=spread,
            edges=_edges(values, self.bins or BINS) if self.scale == "piecewise" else (),
            indicator=len(values) < len(column),
            rule=self.missing,
            unreadable=self.unreadable,
        )


@learned("number")
class LearnedNumber:
    """value -> (value - centre) / spread; as features also its shares of the bins between ``edges``."""

    fill: float
    centre: float
    spread: float = field(above=0)
    edges: tuple[float, ...] = field(default=())
    indicator: bool = field(default=False)
    rule: str = field(default="median", choices=("median", "mean", "zero", "error", "drop"))
    unreadable: str = field(default="error", choices=("error", "missing"))

    def check(self) -> Iterator[Fault]:
        numbers = [("fill", self.fill), ("centre", self.centre), ("spread", self.spread)]
        for name, value in [*numbers, *(("edges", edge) for edge in self.edges)]:
            if abs(value) > 2 * LARGEST:
                yield Fault((name,), f"{value:g} is beyond float32", "expected a number of a table")
        if len(self.edges) == 1 or any(np.diff(self.edges) <= 0):
            yield Fault(
                ("edges",), "the edges do not rise", "expected two edges or more, each above the last"
            )

    def parts(self) -> list[str]:
        bins = [f"{low:g} to {high:g}" for low, high in zip(self.edges, self.edges[1:])]
        return (bins or ["scaled"]) + ["missing"] * self.indicator

    def fill_in(self, column: Column, where: Where, notes: list[str], out: Array) -> None:
        values, missing = self._filled(column, where, notes)
        shares = self._shares(values, column, notes) if self.edges else self._scaled(values, column, notes)
        width = max(len(self.edges) - 1, 1)
        out[:, :width] = shares.astype(np.float32)[column.codes]
        if self.indicator:
            out[:, width] = missing[column.codes]

    def stream(self) -> Stream:
        return Stream((1,), "float32")

    def values(self, column: Column, where: Where, notes: list[str]) -> Array:
        filled, _ = self._filled(column, where, notes)
        return self._scaled(filled, column, notes).astype(np.float32)[column.codes]

    def decode(self, values: Array) -> Array:
        """float64, in the unit of the column."""
        return np.asarray(values, np.float64) * self.spread + self.centre

    def _filled(self, column: Column, where: Where, notes: list[str]) -> tuple[Array, Array]:
        """The number of each cell and of a missing one, float64, and which of them were filled in."""
        numbers = np.append(read_numbers(column, self.unreadable, where, notes), np.nan)
        missing = np.isnan(numbers)
        rows = int(missing[column.codes].sum())
        if rows and self.rule in ("error", "drop"):
            row = int(np.flatnonzero(missing[column.codes])[0])
            raise DataError(
                f"column {column.name!r}: {count(rows, 'cell')} missing, first in {where(row)}; fill them in "
                f"or train with `columns: {{{column.name}: {{number: {{missing: RULE}}}}}}`: drop leaves "
                "such rows out where this is a target, median fills a feature"
            )
        if rows:
            new = "" if self.indicator else ", though training had none"
            notes.append(f"{column.name}: {count(rows, 'missing cell')} filled with {self.fill:g}{new}")
        return np.where(missing, self.fill, numbers), missing

    def _scaled(self, values: Array, column: Column, notes: list[str]) -> Array:
        if self.centre == 0 and self.spread == 1:
            return values[:, None]
        with np.errstate(over="ignore"):
            return cut((values - self.centre) / self.spread, column, notes)[:, None]

    def _shares(self, values: Array, column: Column, notes: list[str]) -> Array:
        edges = np.array(self.edges)
        bins = np.searchsorted(edges[1:-1], values, side="right")
        with np.errstate(over="ignore"):
            inside = (values - edges[bins]) / (edges[bins + 1] - edges[bins])
        made = (np.arange(len(edges) - 1) < bins[:, None]).astype(np.float32)
        made[np.arange(len(values)), bins] = cut(inside, column, notes)
        return made


def read_numbers(column: Column, rule: str, where: Where, notes: list[str]) -> Array:
    """The number of each cell, NaN for what ``rule`` lets count as missing."""
    bad = np.isnan(column.numbers)
    if bad.any():
        found = column.told(bad, "no number of float32", where)
        if rule == "error":
            raise DataError(
                f"column {column.name!r}: {found}. Correct them, name them under `missing`, or take them as "
                f"missing by {{number: {{unreadable: missing}}}}"
            )
        notes.append(f"{column.name}: {found}, taken as missing")
    return column.numbers


def nothing_in(column: Column) -> DataError:
    """The error for a column that has nothing to learn from."""
    return DataError(
        f"column {column.name!r}: every cell of the {len(column)} training rows is missing; "
        f"leave the column out by `columns: {{{column.name}: skip}}`"
    )


def cut(scaled: Array, column: Column, notes: list[str]) -> Array:
    """``scaled`` (of each cell, and of a missing one) no farther out than float32 can carry on with."""
    far = np.abs(scaled) > FARTHEST
    rows = int(far[column.codes].sum())
    if rows:
        notes.append(
            f"{column.name}: {count(rows, 'cell')} a million times as far out as training's, cut off there"
        )
    return np.clip(scaled, -FARTHEST, FARTHEST)


def centre_and_spread(values: Array, scale: str | None = None) -> tuple[float, float]:
    """Mean and standard deviation (ddof 0), also where squares leave float64; ``minmax``: lowest and range.

    Values that differ by rounding alone say nothing: all become 0, by a spread of 1.
    """
    low, high = float(values.min()), float(values.max())
    if high - low <= 4 * np.finfo(np.float64).eps * max(abs(low), abs(high)):
        return low, 1.0
    if scale == "minmax":
        return low, high - low
    mean = float(values.mean())
    largest = max(high - mean, mean - low)
    return mean, float(largest * np.sqrt(np.mean(((values - mean) / largest) ** 2)))


def _edges(values: Array, bins: int) -> tuple[float, ...]:
    """Quantiles of the distinct values: those of all values would not tell rare ones apart."""
    distinct = np.unique(values)
    if len(distinct) == 1:
        distinct = np.append(distinct, distinct + max(1, abs(distinct[0])))
    quantiles = np.quantile(distinct, np.linspace(0, 1, min(bins, len(distinct) - 1) + 1))
    return tuple(np.unique(quantiles).tolist())
