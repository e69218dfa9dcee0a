"""``cortex data``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from cortex.command.common import json_option, overrides_argument, people, spec_argument, write_json

SHADES = " .:-=+*#%@"


@click.group("data")
def command() -> None:
    """List, fetch, show and describe data.

    \b
    Examples:
      cortex data list
      cortex data fetch mnist
      cortex data show examples/digits.yaml
      cortex data describe measurements.csv
    """


@command.command("list")
@json_option
def _list(json_file: str | None) -> None:
    """List the data sets that can be named in a description.

    \b
    Example:
      cortex data list
    """
    from cortex_core.training.source import find, known

    sets = [find(name) for name in known()]
    write_json(json_file, [_described(x) for x in sets])
    for x in sets:
        streams = ", ".join(f"{n} {_shape(s.shape)} {s.dtype}" for n, s in x.streams.items())
        lengths = ", ".join(f"{split} {n:,}" for split, n in x.lengths.items())
        print(f"{x.name}: {streams}; {lengths}\n  {getattr(x, 'doc', '')}", file=people(json_file))


def _described(x: Any) -> dict[str, Any]:
    streams = {
        n: {"shape": list(s.shape), "dtype": s.dtype, "classes": s.classes} for n, s in x.streams.items()
    }
    return {"name": x.name, "doc": getattr(x, "doc", ""), "streams": streams, "lengths": dict(x.lengths)}


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "scalar"


@command.command("fetch")
@click.argument("name", metavar="NAME")
def _fetch(name: str) -> None:
    """Make a data set present on this machine, and check its content.

    Looks in CORTEX_DATA, then in the cache, then fetches it from public mirrors.

    \b
    Example:
      cortex data fetch mnist
    """
    from cortex_core.training.source import find

    folder = getattr(find(name), "fetch", lambda: None)()
    print(f"{name}: {folder if folder is not None else 'comes with a package; nothing to fetch'}")


@command.command("show")
@spec_argument
@overrides_argument
@click.option(
    "--examples", type=click.IntRange(min=1), default=4, show_default=True, help="How many to show."
)
def _show(spec: str, overrides: tuple[str, ...], examples: int) -> None:
    """Show the first examples that a description's network would be trained on, pictures as text.

    \b
    Example:
      cortex data show examples/digits.yaml
    """
    import numpy as np

    from cortex_compute.errors import DataError
    from cortex_core.spec import read
    from cortex_core.training.source import find

    train = read(spec, overrides).train
    if train is None or train.data is None:
        raise DataError(f"{spec}: names no data; expected train.data (see `cortex data list`)")
    source = find(train.data).load("train")
    count = min(examples, len(source))
    arrays = {n: np.empty((count, *s.shape), s.dtype) for n, s in source.streams.items()}
    source.gather(np.arange(count), arrays)
    print(f"{train.data}, train: {len(source):,} examples")
    for i in range(count):
        for name, array in arrays.items():
            print("\n".join(_example(name, array[i], source.streams[name].classes)))


def _example(name: str, value: Any, classes: tuple[str, ...] | None) -> Iterator[str]:
    import numpy as np

    if value.ndim == 3 and value.shape[2] in (1, 3):
        shades = np.clip(value.mean(axis=2) * len(SHADES), 0, len(SHADES) - 1).astype(int)
        yield f"{name}:"
        for row in shades:
            yield "  " + "".join(SHADES[s] * 2 for s in row).rstrip()
    elif value.ndim == 0:
        yield f"{name}: {classes[int(value)] if classes else value}"
    else:
        with np.printoptions(precision=4, threshold=20):
            yield f"{name}: {value}"


@command.command("describe")
@click.argument("file", metavar="FILE")
@json_option
def _describe(file: str, json_file: str | None) -> None:
    """Describe the columns of a .csv, or the arrays of an .npz or .npy file.

    \b
    Example:
      cortex data describe measurements.csv
    """
    from cortex_compute.errors import DataError
    from cortex_core.summary import align

    path = Path(file)
    if not path.is_file():
        raise DataError(f"{file}: there is no such file; expected .csv, .npz or .npy")
    rows = _columns(path) if path.suffix == ".csv" else _arrays(path)
    write_json(json_file, rows)
    table = [list(rows[0]) if rows else ["empty"], *(list(map(_cell, row.values())) for row in rows)]
    for line in align(table):
        print(line, file=people(json_file))


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)


def _arrays(path: Path) -> list[dict[str, Any]]:
    from cortex.command.examples import read_npy
    from cortex_compute.errors import DataError
    from cortex_core.training.npz import read_npz

    if path.suffix not in (".npz", ".npy"):
        raise DataError(f"{path}: expected .csv, .npz or .npy")
    arrays = read_npz(path) if path.suffix == ".npz" else {path.stem: read_npy(path)}
    rows = []
    for name, a in arrays.items():
        row = {"array": name, "shape": _shape(a.shape), "dtype": a.dtype.name}
        numbers = a.dtype.kind in "fiub" and a.size
        low, high, mean = (float(a.min()), float(a.max()), float(a.mean())) if numbers else (None, None, None)
        rows.append({**row, "min": low, "mean": mean, "max": high})
    return rows


def _columns(path: Path) -> list[dict[str, Any]]:
    from cortex_compute.errors import DataError

    try:
        import pandas as pd
    except ImportError:
        raise DataError("tables need pandas: pip install 'cortex-nn[datasets]'") from None
    try:
        table = pd.read_csv(path)
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: no readable table: {error}") from None
    rows = []
    for name in table.columns:
        column = table[name]
        row = {
            "column": str(name),
            "kind": "number",
            "missing": int(column.isna().sum()),
            "values": column.nunique(),
        }
        if pd.api.types.is_numeric_dtype(column):
            rows.append({**row, "from": float(column.min()), "to": float(column.max()), "most": None})
        else:
            most = column.mode()
            rows.append(
                {
                    **row,
                    "kind": "text",
                    "from": None,
                    "to": None,
                    "most": str(most.iloc[0]) if len(most) else None,
                }
            )
    return rows
