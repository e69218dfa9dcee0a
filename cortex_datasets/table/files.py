"""Tables from files: CSV, Parquet.

CSV is read by Python's own reader, since it tells the line of every row: pandas fills up a row that is too
short without a word.  Parquet is read by pandas.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_datasets.table.column import NUMBER, Column, coded, count
from cortex_datasets.table.sheet import Sheet, check_names, from_frame, listed

MISSING = ("NA", "N/A", "NaN", "nan", "NULL", "null", "?")
LONGEST = 2**24  # characters in a cell; beyond it a quote was surely left open
BLOCK = 10_000  # rows that are held as lists of text before they become codes


@dataclass(frozen=True)
class Format:
    """How the cells of a file are written; the fields are those of the reader `table`."""

    header: tuple[str, ...] | None = None
    separator: str = ","
    encoding: str = "utf-8"
    missing: tuple[str, ...] = MISSING


def read_file(path: Path, form: Format = Format(), raw: bool = False) -> Sheet:
    """The table in a file.  ``raw``: its targets may be absent, so lines may be shorter than the header.

    Raises DataError, with the line, for what cannot be read.
    """
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return _read_parquet(path, form)
        return _read_csv(path, form, raw)
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror or error}") from None


def _read_parquet(path: Path, form: Format) -> Sheet:
    try:
        import pandas
    except ImportError:
        raise DataError("Parquet is read by pandas: pip install 'cortex-nn[datasets]'") from None
    try:
        with path.open("rb") as file:
            frame = pandas.read_parquet(file)
    except ImportError:
        raise DataError(f"{path.name}: Parquet needs pyarrow: pip install pyarrow") from None
    except OSError:
        raise
    except Exception as error:  # pyarrow has no common class of errors
        first = str(error).partition("\n")[0][:200]
        raise DataError(f"{path.name} is no Parquet file, or damaged: {first}") from None
    if frame.index.names != [None]:
        frame = frame.reset_index()  # an index that bears a name is a column that pandas put aside
    return from_frame(frame, form.missing, path.name)


def _read_csv(path: Path, form: Format, raw: bool) -> Sheet:
    encoding = "utf-8-sig" if form.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else form.encoding
    limit = csv.field_size_limit(LONGEST)  # of the whole process, so it is set back
    try:
        with path.open(encoding=encoding, newline="") as file:
            reader = _Rows(
                path.name, csv.reader(file, delimiter=separator(form), skipinitialspace=True, strict=True)
            )
            return _sheet(path.name, reader, form, raw)
    except UnicodeError:
        raise _not_encoded(path, encoding) from None
    finally:
        csv.field_size_limit(limit)


def separator(form: Format) -> str:
    """The one character between cells; blanks around it are no part of a cell."""
    if form.separator == r"\t":  # as it is typed in a shell
        return "\t"
    return form.separator.strip(" ") or form.separator[:1]


class _Rows:
    """The rows of a CSV file with the line in which each begins; lines that are blank are counted apart."""

    def __init__(self, name: str, reader: Any) -> None:
        self.name, self.reader = name, reader
        self.blank = 0

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        begin, waiting = 1, 0
        try:
            for row in self.reader:
                if row:
                    self.blank, waiting = self.blank + waiting, 0
                    yield begin, row
                else:
                    waiting += 1
                begin = self.reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{self.name}, line {begin}: {_reason(str(error))}") from None


def _reason(error: str) -> str:
    if "field larger" in error:
        return f"a cell has more than {LONGEST:,} characters; is a quote left open?"
    if "end of data" in error:
        return "a quote is opened and never closed"
    if "expected after" in error:
        return 'text follows a closing quote; write a quote inside a cell twice ("")'
    return error


def _sheet(name: str, rows: _Rows, form: Format, raw: bool) -> Sheet:
    numbered = iter(rows)
    notes: list[str] = []
    first = next(numbered, None)
    if first is None:
        raise DataError(f"{name} is empty; expected lines of cells, parted by {separator(form)!r}")
    names = [cell.strip() for cell in first[1]]
    if any("\0" in cell for cell in names):
        raise UnicodeError  # two bytes a character, read as one
    begun, fits = [], True
    if form.header is not None:
        known = list(form.header)
        if names == known or (raw and set(names) <= set(known)):
            notes.append(f"{name}: the first line repeats `header`, it is no row")
        else:
            fits = len(names) == len(known) or not raw
            names, begun = known if fits else list(map(str, range(len(names)))), [first]
    elif numbers := [cell for cell in names if NUMBER.fullmatch(cell)]:
        notes.append(f"{name}: {_like_data(names, numbers)}")
    elif other := _other_separator(names):
        notes.append(f"{name}: {other}")
    check_names(name, names, "give names by `header` if the first line is data, or rename one of them")
    columns, lines = _columns(name, begun, numbered, names, form.missing)
    if not len(lines):
        raise DataError(f"{name} holds a header and no rows")
    if rows.blank:
        notes.append(f"{name}: {count(rows.blank, 'blank line')} left out")
    return Sheet(name, columns, lines, notes, names_known=fits)


def _like_data(names: Sequence[str], numbers: Sequence[str]) -> str:
    if 2 * len(numbers) >= len(names):
        return f"the first line looks like data: {listed(names, 3)}; name the columns by `header: [...]`"
    return (
        f"of the {len(names)} names in the first line some are numbers, such as {numbers[0]}; "
        "if that line is data, give `header`"
    )


def _other_separator(names: Sequence[str]) -> str:
    """What to say of a table of one column whose name has a separator in it."""
    marks = [mark for mark in ("\t", ";", "|") if len(names) == 1 and mark in names[0]]
    return (
        f"one column, with {marks[0]!r} in its name; is that the `separator: {json.dumps(marks[0])}`?"
        if marks
        else ""
    )


def _columns(
    name: str,
    begun: list[tuple[int, list[str]]],
    numbered: Iterator[tuple[int, list[str]]],
    names: Sequence[str],
    missing: Sequence[str],
) -> tuple[dict[str, Column], np.ndarray]:
    """Reads all rows, a block at a time: only distinct cells are kept as text."""
    known: list[dict[str, int]] = [{} for _ in names]
    codes: list[list[np.ndarray]] = [[] for _ in names]
    lines: list[int] = []

    def absorb(block: list[list[str]]) -> None:
        for cells, seen, parts in zip(zip(*block), known, codes):
            parts.append(np.array([seen.setdefault(cell, len(seen)) for cell in cells], np.int32))

    block: list[list[str]] = []
    for source in (begun, numbered):
        for line, row in source:
            if len(row) != len(names):
                hint = _other_separator(names) or "one per name"
                raise DataError(
                    f"{name}, line {line}: {count(len(row), 'cell')}, expected {len(names)}, {hint}"
                )
            block.append(row)
            lines.append(line)
            if len(block) == BLOCK:
                absorb(block)
                block.clear()
    absorb(block)
    columns = {
        column: coded(column, np.concatenate(parts), list(seen), missing)
        for column, seen, parts in zip(names, known, codes)
        if parts
    }
    return columns, np.array(lines, np.int64)


def _not_encoded(path: Path, encoding: str) -> DataError:
    data, place = path.read_bytes(), 0
    try:
        data.decode(encoding)
        place = max(data.find(b"\0"), 0)
    except UnicodeError as error:
        place = getattr(error, "start", 0)
    marks = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    likely = marks.get(data[:2], "utf-16-le" if b"\0" in data[:100] else "latin-1")
    line = data.count(b"\n", 0, place) + 1
    return DataError(
        f"{path.name}, line {line}: byte {place} is no {encoding.removesuffix('-sig')}; "
        f"name the encoding of the file in the description, such as `encoding: {likely}`, or save it as "
        f"{encoding.removesuffix('-sig')}"
    )
