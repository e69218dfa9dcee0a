"""One column of a table: its kind, what is missing, and what its values are like."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortex_datasets.describe import report
from cortex_datasets.describe.numbers import statistics
from cortex_datasets.table.column import Column
from cortex_datasets.table.kinds import Guess

Array = np.ndarray[Any, Any]
VALUES = 20  # of a category are shown, the most frequent
LETTERS = 200  # of a cell


def described(column: Column, guess: Guess) -> report.Column:
    """The column's part of the report; ``guess`` says what it is read as, and why."""
    made: report.Column = {
        "name": column.name,
        "kind": guess.kind,
        "why": guess.why,
        "missing": column.missing,
        "distinct": int(np.count_nonzero(column.counts)),
    }
    if not made["distinct"]:
        return made
    kind = guess.kind
    if kind == "skip":  # shown as what it holds all the same
        kind = "text" if np.isnan(column.numbers).any() else "number"
    if kind == "number":
        made["unreadable"] = _unreadable(column, np.isnan(column.numbers))
        made["number"] = statistics(_spread(column, column.numbers))
    elif kind == "date":
        made["unreadable"] = _unreadable(column, np.isnat(column.dates(column.form)))
        made["date"] = _dates(column, column.dates(column.form))
    elif kind == "text":
        made["text"] = _lengths(column)
    else:
        made["category"] = _values(column)
    return made


def _spread(column: Column, values: Array) -> Array:
    """The values of the distinct cells, once for each row that holds them; NaN left out."""
    repeated: Array = np.repeat(values, column.counts)
    return repeated[~np.isnan(repeated)]


def _unreadable(column: Column, unread: Array) -> int:
    return int(column.counts[unread].sum())


def _values(column: Column) -> list[report.Count]:
    """The most frequent values, and among equally frequent ones in the order of their texts."""
    held = np.flatnonzero(column.counts)
    ranked = sorted(held.tolist(), key=lambda i: (-column.counts[i], column.texts[i]))[:VALUES]
    return [{"value": shortened(column.texts[i]), "count": int(column.counts[i])} for i in ranked]


def _dates(column: Column, dates: Array) -> report.Dates:
    seconds = (dates - np.datetime64(0, "us")) / np.timedelta64(1, "s")  # NaT becomes NaN
    known = dates[(column.counts > 0) & ~np.isnat(dates)]
    return {
        "first": known.min().item().isoformat().removesuffix("T00:00:00"),
        "last": known.max().item().isoformat().removesuffix("T00:00:00"),
        "histogram": statistics(_spread(column, seconds))["histogram"],
    }


def _lengths(column: Column) -> report.Lengths:
    held = np.flatnonzero(column.counts)
    texts, counts = column.texts[held], column.counts[held]
    letters = np.array([len(text) for text in texts])
    words = np.array([len(text.split()) for text in texts])
    return {
        "min": int(letters.min()),
        "mean": float(letters @ counts / counts.sum()),
        "max": int(letters.max()),
        "words": float(words @ counts / counts.sum()),
        "example": shortened(texts[0]),
    }


def shortened(text: str) -> str:
    """At most 200 characters of a cell."""
    return text if len(text) <= LETTERS else text[: LETTERS - 1] + "…"
