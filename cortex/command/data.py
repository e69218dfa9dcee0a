"""``cortex data``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from cortex.command.common import json_option, overrides_argument, people, say, spec_argument, write_json


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
        held = f"{streams}; {lengths}" if streams else ", ".join(getattr(x, "paths", ()))
        print(f"{x.name}: {held}\n  {getattr(x, 'doc', '')}", file=people(json_file))


def _described(x: Any) -> dict[str, Any]:
    streams = {
        n: {"shape": list(s.shape), "dtype": s.dtype, "classes": s.classes} for n, s in x.streams.items()
    }
    made = {"name": x.name, "doc": getattr(x, "doc", ""), "streams": streams, "lengths": dict(x.lengths)}
    return made | {"paths": list(getattr(x, "paths", ()))}


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "scalar"


@command.command("fetch")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def _fetch(names: tuple[str, ...]) -> None:
    """Make data sets present on this machine, and check their content.

    Looks in CORTEX_DATA, then in the cache, then fetches from public mirrors.

    \b
    Example:
      cortex data fetch mnist titanic
    """
    from cortex_core.training.source import find

    for name, dataset in [(name, find(name)) for name in names]:
        folder = getattr(dataset, "fetch", lambda: None)()
        print(f"{name}: {folder if folder is not None else 'comes with a package; nothing to fetch'}")


@command.command("show")
@spec_argument
@overrides_argument
@click.option(
    "--examples", type=click.IntRange(min=1), help="How many to show: 4 as text, 8 on a sheet by default."
)
@click.option("--out", metavar="FILE.png", help="Writes a sheet of pictures, each as several epochs see it.")
def _show(spec: str, overrides: tuple[str, ...], examples: int | None, out: str | None) -> None:
    """Show the first examples that a description's network would be trained on.

    Pictures are drawn with letters, or with --out on a sheet: each line an example, as it is and as the first
    epochs see it where the description says `augment`.

    \b
    Examples:
      cortex data show examples/digits.yaml
      cortex data show examples/digits.yaml --out sheet.png train.augment='[rotate: 10, crop: 1]'
    """
    from cortex.command.shown import lines, sheet
    from cortex_core.spec import read
    from cortex_core.training.data import open_data

    data = open_data(read(spec, overrides))
    if out is not None:
        sheet(data, Path(out), examples or 8)
        print(f"wrote {out}")
        return
    for line in lines(data, examples or 4):
        say(line, sys.stdout)


@command.command("describe")
@click.argument("file", metavar="FILE")
@click.option("--html", "page", metavar="OUT", help="Writes a page for a browser.")
@json_option
@click.option(
    "--as",
    "kind",
    type=click.Choice(["table", "arrays", "pictures", "text"]),
    help="What FILE is; its suffix says so by default.",
)
@click.option("--header", metavar="A,B,...", help="Names of columns, for a table that has none.")
@click.option("--separator", metavar="C", help="What stands between the cells of a table: , by default.")
@click.option(
    "--missing", metavar="A,B,...", help="Cells that mean: missing. By default NA, nan, ? and such."
)
@click.option("--encoding", metavar="NAME", help="Of a table or a text: utf-8 by default.")
def _describe(
    file: str,
    page: str | None,
    json_file: str | None,
    header: str | None,
    missing: str | None,
    **options: Any,
) -> None:
    """Describe a table, arrays, a text or a folder of pictures: what is in it, what is missing.

    FILE: .csv, .parquet, .npz, .npy, .txt or a folder.  Columns are shown with the kind that is guessed on
    all rows, and why; a description may say otherwise under `columns`.

    \b
    Examples:
      cortex data describe tabular/titanic.csv
      cortex data describe measurements.parquet --html measurements.html
      cortex data describe photos
    """
    from cortex.command.described import lines
    from cortex_compute.errors import DataError
    from cortex_core.registry.named import load_plugins
    from cortex_core.training.examples import find_file

    describe = load_plugins("cortex.describe").get("file")
    if describe is None:
        raise DataError("nothing that is installed describes data; expected the package cortex_datasets")
    report = describe(find_file(file), header=_listed(header), missing=_listed(missing), **options)
    write_json(json_file, report)
    if page is not None:  # before the text, whose reader may leave
        from cortex_viz.describe import write

        write(report, page)
    for line in lines(report):
        say(line, people(json_file))
    if page is not None:
        say(f"\nwrote {page}", people(json_file))


def _listed(words: str | None) -> list[str] | None:
    return None if words is None else [word.strip() for word in words.split(",")]
