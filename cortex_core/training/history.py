"""What happened in each epoch: a table, kept as history.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cortex_compute.errors import CheckpointError
from cortex_core.training.files import write_atomically


class History:
    """One row per epoch: {column: number}.  ``history["loss"]`` is a column, None where a row lacks it."""

    def __init__(self, rows: list[dict[str, Any]] | None = None) -> None:
        self.rows = rows or []

    @property
    def columns(self) -> list[str]:
        """All columns, in order of appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def __getitem__(self, column: str) -> list[Any]:
        if self.rows and column not in self.columns:
            raise KeyError(f"{column!r}: the columns are {', '.join(self.columns)}")
        return [row.get(column) for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds the row of an epoch."""
        self.rows.append(dict(row))

    def __repr__(self) -> str:
        return f"<History: {len(self)} epochs of {', '.join(self.columns)}>"

    def write(self, path: Path) -> None:
        """Writes the table as CSV, whole or not at all."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(path, text.getvalue().encode())


def read_history(path: Path) -> History:
    """The table that `History.write` left; empty where there is no file.

    Raises `CheckpointError` where it is no table, or a cell is no number.
    """
    if not path.is_file():
        return History()
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return History([{k: _number(v) for k, v in row.items() if v} for row in csv.DictReader(file)])
    except (csv.Error, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is no history of a run: {error}") from None


def _number(cell: str) -> int | float:
    return int(cell) if cell.isdecimal() else float(cell)
