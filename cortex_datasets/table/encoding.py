"""What a table's training rows taught, and the streams that it makes of any rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.registry import Invalid, build, data_of, nearest
from cortex_datasets.source import ArraySource, Stream
from cortex_datasets.table.column import Array, Column, count
from cortex_datasets.table.declare import LEARNED, Learned, Where
from cortex_datasets.table.sheet import listed

if TYPE_CHECKING:
    from cortex_datasets.table.reader import TableExamples

FEATURES = "features"
WIDEST = 100_000  # features; more come from names that each stand for a row or two
MOST_BYTES = 8_000_000_000  # of the features of the rows that are encoded together
FORM = 1  # of the state


class TableEncoding:
    """``columns``: what was learned of each column that is read.  ``header``: the columns that training had.

    The stream `features` is float32 (width,), of the columns ``features`` side by side; every other stream is
    a column alone.  ``parts`` names the numbers of `features`, each as (column of the table, what it says).
    """

    def __init__(
        self,
        header: Sequence[str],
        columns: Mapping[str, Learned],
        features: Sequence[str],
        alone: Sequence[str],
        notes: Sequence[str] = (),
    ) -> None:
        self.header, self.columns, self.notes = tuple(header), dict(columns), tuple(notes)
        self.features, self.alone = tuple(features), tuple(alone)
        self.parts = [(name, part) for name in self.features for part in self.columns[name].parts()]
        if len(self.parts) > WIDEST:
            widest = max(self.features, key=lambda name: len(self.columns[name].parts()))
            raise DataError(
                f"the features of a row would be {len(self.parts):,} numbers, most of column {widest!r}; "
                f"pool its rare names by `columns: {{{widest}: {{category: {{minimum: 10}}}}}}`, or skip it"
            )
        self.streams: dict[str, Stream] = {name: self.columns[name].stream() for name in self.alone}
        if self.features:
            self.streams[FEATURES] = Stream((len(self.parts),), "float32")

    def state(self) -> dict[str, Any]:
        """All of it as plain JSON data."""
        columns = {name: {column.kind: data_of(column)} for name, column in self.columns.items()}
        names = {"header": self.header, "features": self.features, "alone": self.alone}
        return {"form": FORM, **{key: list(value) for key, value in names.items()}, "columns": columns}

    def encode(self, examples: TableExamples, rows: Array, names: Sequence[str]) -> ArraySource:
        """The streams ``names`` of some rows, but for rows without a target whose rule is `drop`.

        Raises DataError for a column that is not there, and for cells that the rules do not allow.
        """
        for name in names:
            if name not in self.streams:
                hint = nearest(name, self.streams) or f"Known are {listed(self.streams)}"
                raise DataError(f"this encoding makes no stream {name!r}. {hint}")
        needed = {c for name in names for c in ([name] if name in self.alone else self.features)}
        notes: list[str] = []
        if examples.nameless:
            examples = self._named(examples, needed, notes)
        examples.require(name for name in self.header if name in needed)
        rows = self._with_targets(examples, np.asarray(rows, np.intp), names, notes)
        extra = [name for name in examples.columns if name not in self.header]
        if extra:
            notes.append(f"{count(len(extra), 'column')} not read, training had none such: {listed(extra)}")
        arrays = {name: self._stream(name, examples, rows, notes) for name in names}
        classes = {name: self.streams[name].classes for name in names}
        source = ArraySource(arrays, {name: known for name, known in classes.items() if known})
        source.notes = tuple(notes)
        return source

    def decode(self, name: str, values: Array) -> Array:
        """Numbers of the stream of one column back to what people wrote."""
        if name not in self.alone:
            raise DataError(
                f"{name!r} is not the stream of one column; these are {listed(self.alone) or 'none'}"
            )
        return self.columns[name].decode(values)

    def without(self, names: Sequence[str]) -> TableEncoding:
        """The same but for the columns ``names``, of which nothing is known then."""
        return self._of([name for name in self.alone if name not in names], self.columns)

    def completed(self, learned: TableEncoding, names: Sequence[str]) -> TableEncoding:
        """The same, and the columns ``names`` as another one learned them."""
        return self._of([*self.alone, *names], {**self.columns, **{n: learned.columns[n] for n in names}})

    def _of(self, alone: Sequence[str], columns: Mapping[str, Learned]) -> TableEncoding:
        used = {name: columns[name] for name in columns if name in alone or name in self.features}
        header = [*self.header, *(name for name in alone if name not in self.header)]
        return TableEncoding(header, used, self.features, alone, self.notes)

    def _named(self, examples: TableExamples, needed: set[str], notes: list[str]) -> TableExamples:
        """Names for lines without a header that are not as long as ``header``: targets may be absent."""
        width, alone = len(examples.columns), set(self.alone) - needed
        labels = {name for name, kind in examples.reader.columns.items() if kind.kind == "label"} - needed
        name, lines = examples.sheets[0].name, f"lines of {count(width, 'cell')}"
        for absent in (alone, alone | labels):
            header = [column for column in self.header if column not in absent]
            if len(header) == width:
                gone = [column for column in self.header if column in absent]
                notes.append(f"{name}: {lines}, read as `header` without {listed(gone)}")
                return examples.named(header)
        raise DataError(
            f"{name}: {lines}; expected the {len(self.header)} of `header`, or these without "
            f"{listed(sorted(alone)) or 'any'}; give the file a line of names to read it by name"
        )

    def _with_targets(
        self, examples: TableExamples, rows: Array, names: Sequence[str], notes: list[str]
    ) -> Array:
        """The rows that have the targets among ``names`` whose rule is `drop`."""
        for name in names:
            if name in self.alone and getattr(self.columns[name], "rule", "") == "drop":
                kept = rows[holds(examples.cells(name), self.columns[name])[rows]]
                if not len(kept):
                    raise DataError(f"no row of {examples.sheets[0].name} has {name!r}, which is needed here")
                if len(kept) < len(rows):
                    notes.append(f"{count(len(rows) - len(kept), 'row')} without {name!r} left out")
                rows = kept
        return rows

    def _stream(self, name: str, examples: TableExamples, rows: Array, notes: list[str]) -> Array:
        if name in self.alone:
            column, where = self._column(name, examples, rows)
            return self.columns[name].values(column, where, notes)
        widths = [len(self.columns[each].parts()) for each in self.features]
        self._check_size(len(rows), widths)
        made = np.empty((len(rows), sum(widths)), np.float32)
        ends = list(accumulate(widths, initial=0))
        for each, start, end in zip(self.features, ends, ends[1:]):
            column, where = self._column(each, examples, rows)
            self.columns[each].fill_in(column, where, notes, made[:, start:end])
        return made

    def _check_size(self, rows: int, widths: Sequence[int]) -> None:
        size = 4 * rows * sum(widths)
        if size > MOST_BYTES:
            widest = sorted(zip(widths, self.features), reverse=True)[:3]
            raise DataError(
                f"the features of {rows:,} rows would be {size / 1e9:.1f} GB, {MOST_BYTES / 1e9:g} at most; "
                f"widest are {', '.join(f'{name!r} ({width:,})' for width, name in widest)}: pool rare names "
                "by {category: {minimum: 10}}, take fewer bins or words, or skip them"
            )

    def _column(self, name: str, examples: TableExamples, rows: Array) -> tuple[Any, Where]:
        return examples.cells(name).take(rows), lambda row: examples.where(int(rows[row]))


def holds(column: Column, kind: Any) -> Array:
    """Which rows have a cell that counts as one by the rules of a declared kind, or of what it learned."""
    held = column.codes >= 0
    if getattr(kind, "unreadable", "error") == "missing":
        held &= ~np.isnan(np.append(column.numbers, np.nan))[column.codes]
    return held


def restore(state: Mapping[str, Any]) -> TableEncoding:
    """The encoding whose `state` was kept in a file.  Raises DataError where that is damaged."""
    if not isinstance(state, Mapping) or state.get("form") != FORM:
        raise _damaged(
            f"its form is {state.get('form') if isinstance(state, Mapping) else state!r}, not {FORM}"
        )
    texts = {}
    for key in ("header", "features", "alone"):
        value = state.get(key)
        if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
            raise _damaged(f"{key!r} is no list of names")
        if len(set(value)) < len(value):
            raise _damaged(f"{key!r} has a name twice")
        texts[key] = list(value)
    columns = state.get("columns")
    needed = {*texts["features"], *texts["alone"]}
    if not isinstance(columns, Mapping) or not needed <= set(columns) or not needed <= set(texts["header"]):
        raise _damaged("columns that it names are not in it")
    made = {name: _restored(name, columns[name]) for name in columns}
    labels = [name for name in texts["features"] if not hasattr(made[name], "fill_in")]
    if labels:
        raise _damaged(f"{labels[0]!r} is no column that features are made of")
    return TableEncoding(columns=made, **texts)


def _restored(name: str, written: Any) -> Learned:
    if not isinstance(written, Mapping) or len(written) != 1 or next(iter(written)) not in LEARNED:
        raise _damaged(f"column {name!r} has no kind that is known")
    ((kind, fields),) = written.items()
    try:
        made: Learned = build(LEARNED[kind], fields if isinstance(fields, Mapping) else {"": fields})
    except Invalid as invalid:
        fault = invalid.faults[0]
        raise _damaged(f"column {name!r}, {'.'.join(map(str, fault.path))}: {fault.found}") from None
    return made


def _damaged(reason: str) -> DataError:
    return DataError(f"what was learned of the table is damaged: {reason}; train again, or use another file")
