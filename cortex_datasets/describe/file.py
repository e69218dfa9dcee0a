"""Which description a file gets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from cortex_compute.errors import DataError
from cortex_core.registry import Fault, Invalid, build
from cortex_datasets.describe.report import Report

SUFFIXES = {
    ".csv": "table",
    ".parquet": "table",
    ".pq": "table",
    ".npz": "arrays",
    ".npy": "arrays",
    ".txt": "text",
}
KINDS = ("table", "arrays", "pictures", "text")
T = TypeVar("T")


def describe(
    path: str | Path,
    kind: str | None = None,
    *,
    header: Sequence[str] | None = None,
    separator: str | None = None,
    encoding: str | None = None,
    missing: Sequence[str] | None = None,
) -> Report:
    """What is in a file, or in a folder of pictures.

    ``kind`` is table, arrays, pictures or text; by default the suffix says: .csv and .parquet are tables,
    .npz and .npy arrays, .txt is text, a folder pictures.  ``header`` (names of columns where the file has
    none), ``separator`` and ``missing`` (cells that mean nothing) are for tables, ``encoding`` is for tables
    and texts; they mean what they mean in ``data: {table: ...}`` and are checked as there.  Raises
    `DataError` for what cannot be read.
    """
    file = Path(path)
    found = kind or _kind(file)
    if found == "pictures":
        from cortex_datasets.describe.pictures import describe_pictures

        return describe_pictures(file)
    if found == "arrays":
        from cortex_datasets.describe.arrays import describe_arrays

        return describe_arrays(file)
    if found == "text":
        from cortex_datasets.describe.text import describe_text
        from cortex_datasets.text import Lines

        return describe_text(file, _reader(Lines, file, encoding=encoding).encoding)
    from cortex_datasets.describe.table import describe_table
    from cortex_datasets.table.reader import Table

    table = _reader(Table, file, header=header, separator=separator, encoding=encoding, missing=missing)
    return describe_table(file, table.format)


def _reader(cls: type[T], file: Path, **options: object) -> T:
    """The reader that a description with these options names."""
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return build(cls, {"file": str(file), **given})
    except Invalid as invalid:
        raise DataError(f"{file}: {'; '.join(map(_told, invalid.faults))}") from None


def _told(fault: Fault) -> str:
    return f"{'.'.join(map(str, fault.path))}: {fault.found}: {fault.expected}"


def _kind(file: Path) -> str:
    if file.is_dir():
        return "pictures"
    if not os.path.lexists(file):
        raise DataError(f"{file}: there is no such file or folder")
    kind = SUFFIXES.get(file.suffix.lower())
    if kind is None:
        raise DataError(
            f"{file}: the suffix {file.suffix!r} says nothing; expected {', '.join(SUFFIXES)} or a folder of "
            f"pictures, or --as {'|'.join(KINDS)}"
        )
    return kind
