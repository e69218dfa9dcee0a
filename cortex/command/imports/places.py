"""Where an import writes: the model, its description, and a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from cortex.command.common import out_option

FROM = "# Imported from "
"""The beginning of a description that was imported."""


model_option = out_option(
    ".cortex",
    required=True,
    metavar="NAME.cortex",
    help="What is written, and NAME.yaml and NAME.report.json beside it.",
)


def places_of(out: Path, json_file: str | None) -> list[Path]:
    """Where the model, the description and the report go, and the report once more by ``--json``."""
    places = [out, out.with_suffix(".yaml"), out.with_suffix(".report.json")]
    return places if json_file in (None, "-") else [*places, Path(json_file)]


def expect_apart(places: Sequence[Path], read: Sequence[str], model: Path) -> None:
    """Each file is written once, and none that is read, but for the description that is imported: that stays
    as it is."""
    taken = {Path(file).resolve(): "is read, and would be written" for file in read}
    if places[1].resolve() == model.resolve():
        del taken[model.resolve()]
    for place in places:
        if place.resolve() in taken:
            raise click.UsageError(f"{place} {taken[place.resolve()]}: give another name")
        taken[place.resolve()] = "would be written twice"


def expect_own(place: Path, model: Path, yaml: str) -> None:
    """A description is written over only by itself: people may have changed one that was imported before, or
    written it.  The line that tells its proof may be another one."""
    if place.resolve() == model.resolve() or not place.is_file():
        return
    first, _, rest = (there := place.read_bytes()).partition(b"\n")
    if yaml.encode() not in (there, rest if first.startswith(FROM.encode()) else there):
        told = "is there and was changed, or is of another model"
        raise click.UsageError(f"{place} {told}: give another name, or remove it")
