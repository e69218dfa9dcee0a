"""A description of a table: its columns, equal rows, and which columns go together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cortex_datasets.describe.columns import described
from cortex_datasets.describe.relations import correlations
from cortex_datasets.describe.report import TableReport
from cortex_datasets.table.column import Column
from cortex_datasets.table.files import Format, read_file
from cortex_datasets.table.kinds import guess

Array = np.ndarray[Any, Any]


def describe_table(path: Path, form: Format) -> TableReport:
    """The report of a .csv or .parquet file, read as ``data: {table: ...}`` reads it."""
    sheet = read_file(path, form)
    columns = list(sheet.columns.values())
    guesses = [guess(column) for column in columns]
    hints = [f"{column.name}: {made.hint}" for column, made in zip(columns, guesses) if made.hint]
    kinds = {column.name: guessed.kind for column, guessed in zip(columns, guesses)}
    found = correlations(
        {c.name: _with_nan(c) for c in columns if kinds[c.name] == "number"},
        {c.name: c.codes.astype(np.int64) for c in columns if kinds[c.name] == "category"},
    )
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "notes": [*sheet.notes, *hints, *found.notes],
        "kind": "table",
        "rows": len(sheet),
        "duplicates": duplicates(columns),
        "columns": [described(column, guessed) for column, guessed in zip(columns, guesses)],
        "correlations": found.correlations,
    }


def _with_nan(column: Column) -> Array:
    return np.append(column.numbers, np.nan)[column.codes]


def duplicates(columns: Sequence[Column]) -> int:
    """How many rows are equal to an earlier one in every column."""
    key, different = np.zeros(len(columns[0]), np.int64), 1
    for column in columns:
        width = len(column.cells) + 1
        if different * width > np.iinfo(np.int64).max:
            kept, key = np.unique(key, return_inverse=True)
            different = len(kept)
        key = key * width + (column.codes + 1)
        different *= width
    return len(key) - len(np.unique(key))
