"""What one file, or one object of the caller's, holds: columns of equal length, and where each row stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_datasets.table.column import Array, Column, of_moments, of_numbers, of_texts, written


class Sheet:
    """``columns`` by name.  ``name`` is what messages call it; ``lines``: the line of each row in a file.

    ``names_known``: False where the columns have numbers for names, since nobody knows which are absent.
    """

    def __init__(
        self,
        name: str,
        columns: Mapping[str, Column],
        lines: Array | None = None,
        notes: Iterable[str] = (),
        names_known: bool = True,
    ) -> None:
        self.name, self.columns, self.notes = name, columns, tuple(notes)
        self.names_known = names_known
        self.unit = "row" if lines is None else "line"
        self.places = np.arange(len(self)) if lines is None else lines

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def where(self, row: int) -> str:
        """Where a row stands, for messages."""
        return f"{self.name}, {self.unit} {self.places[row]}"


def listed(names: Iterable[str], most: int = 8) -> str:
    """Names for a message: the first few, and how many more there are."""
    known = [repr(name[:40]) for name in names]
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return ", ".join(known[:most]) + more


def check_names(source: str, names: Sequence[str], hint: str) -> None:
    """Raises DataError where a name is given twice."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{source}: several columns are called {listed(twice)}; {hint}")


def from_object(given: Any, missing: Sequence[str]) -> Sheet:
    """A pandas DataFrame, a list of rows (mappings), a mapping of columns, or one row.

    Raises DataError for anything else, for cells that hold several values, and for columns of unequal length.
    """
    source = "the data given"
    if hasattr(given, "iloc") and hasattr(given, "columns"):
        return from_frame(given, missing, source)
    if isinstance(given, Mapping):
        check_names(source, [str(name) for name in given], "rename one of them")
        columns = _of_mapping(given, source)
    elif isinstance(given, (list, tuple)) and all(isinstance(row, Mapping) for row in given):
        keys = dict.fromkeys(key for row in given for key in row)
        check_names(source, [str(key) for key in keys], "rename one of them")
        columns = {str(key): [row.get(key) for row in given] for key in keys}
    else:
        kind = type(given).__name__
        raise DataError(
            f"{source} is a {kind}; expected a file, a DataFrame, a list of dicts or a dict of columns"
        )
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{source}: the columns have unequal lengths: {lengths}")
    if not lengths or not next(iter(lengths.values())):
        raise DataError(f"{source} holds no rows")
    return Sheet(source, {name: of_cells(name, values, missing, source) for name, values in columns.items()})


def _of_mapping(given: Mapping[Any, Any], source: str) -> dict[str, list[Any]]:
    """One row of single values, or columns of many."""
    single = {str(name): _is_single(value) for name, value in given.items()}
    if len(set(single.values())) > 1:
        one = listed(name for name in single if single[name])
        many = listed(name for name in single if not single[name])
        raise DataError(
            f"{source}: one value for {one}, several for {many}; expected one for each column (a row), or a "
            "list for each"
        )
    return {str(name): [value] if single[str(name)] else list(value) for name, value in given.items()}


def _is_single(value: Any) -> bool:
    return isinstance(value, (str, bytes)) or not hasattr(value, "__len__") or getattr(value, "ndim", 1) == 0


def from_frame(frame: Any, missing: Sequence[str], source: str) -> Sheet:
    """A pandas DataFrame, whose index is no column."""
    names = [str(name) for name in frame.columns]
    check_names(source, names, "rename one of them")
    if not names or not len(frame):
        raise DataError(f"{source} holds no {'rows' if names else 'columns'}")
    columns = [_of_series(name, frame.iloc[:, place], missing, source) for place, name in enumerate(names)]
    return Sheet(source, dict(zip(names, columns)))


def _of_series(name: str, series: Any, missing: Sequence[str], source: str) -> Column:
    kind = series.dtype.kind if hasattr(series.dtype, "kind") else "O"
    if kind == "M":
        local = (
            series.dt.tz_convert("UTC").dt.tz_localize(None) if getattr(series.dtype, "tz", None) else series
        )
        return of_moments(name, local.to_numpy())
    if kind in "iu" and not series.hasnans:
        return of_numbers(name, series.to_numpy(f"{kind}8"), missing)
    if kind == "f":
        return of_numbers(name, series.to_numpy("f8", na_value=np.nan), missing)
    return of_cells(name, series.astype(object).tolist(), missing, source)


def of_cells(name: str, values: Iterable[Any], missing: Sequence[str], source: str) -> Column:
    """A column of Python values of any mixture."""
    return of_texts(name, (_text(name, value, source) for value in values), missing)


def _text(name: str, value: Any, source: str) -> str | None:
    if isinstance(value, str):
        return value
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, (float, np.floating)):
        return None if value != value else written(float(value))
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise DataError(
                f"{source}: column {name!r} holds bytes that are no UTF-8; decode them first"
            ) from None
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    if not _is_single(value) or isinstance(value, set):
        kind = type(value).__name__
        raise DataError(f"{source}: column {name!r} holds a {kind}; expected one value per cell")
    return str(value)
