"""``cortex import keras``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cortex.command.common import finite, json_option, people, say, write_json
from cortex.command.imports.places import FROM, expect_apart, expect_own, model_option, places_of

if TYPE_CHECKING:
    from cortex_core.exchange.keras.imported import Imported
    from cortex_core.exchange.keras.proof import Proof


def _maps(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        name, _, file = text.partition("=")
        if not name or not file:
            raise click.BadParameter(f"{text}: expected NAME=block.yaml")
        if name in found:
            raise click.BadParameter(
                f"{name} is mapped twice, to {found[name]} and {file}: expected one block"
            )
        found[name] = file
    return found


@click.command("keras")
@click.argument("model", metavar="MODEL")
@click.option(
    "--weights",
    metavar="FILE",
    help="The weights of an architecture or a description, or in place of those that MODEL has.",
)
@click.option("--outputs", metavar="FILE.npz", help="Recorded outputs of all layers, which prove the import.")
@click.option(
    "--map",
    "maps",
    multiple=True,
    callback=_maps,
    metavar="NAME=block.yaml",
    help="The block that stands for layers of this name, path or class; for others once more.",
)
@click.option(
    "--tolerance",
    type=float,
    metavar="T",
    help="With --outputs: how far a layer may depart, relative to its largest value (0.0001).",
)
@model_option
@json_option
def command(
    model: str,
    weights: str | None,
    outputs: str | None,
    maps: dict[str, str],
    tolerance: float | None,
    out: str,
    json_file: str | None,
) -> None:
    """Turn a Keras model into a description with weights, and prove it layer by layer.

    MODEL is HDF5 or .keras, of any version; or, with --weights, an architecture as JSON or a description.
    Where MODEL has weights too, those of --weights are taken, and a note says so.

    Writes NAME.cortex, NAME.yaml (the description alone) and NAME.report.json, all of them or none. A
    NAME.yaml that is there and says anything else is not written over. Nothing in the file is executed, and
    neither Keras nor TensorFlow is needed.

    With --outputs, which the script of `cortex keras-recorder` records, every layer is compared. Exit codes:
    0 proved, or unproved because nothing was recorded; 1 a layer departs, or the outputs are not in the
    recording; 2 wrong input, and nothing is written.

    \b
    Examples:
      cortex import keras model.h5 -o model.cortex
      cortex import keras model.keras --outputs recording.npz -o model.cortex
      cortex import keras model.h5 --map Swish=swish.yaml --map Gate=gate.yaml -o model.cortex
      cortex import keras squeezenet.yaml --weights squeezenet.h5 -o squeezenet.cortex
    """
    from cortex_core.exchange.keras.proof import PROVED, load_proved

    places = places_of(Path(out), json_file)
    expect_apart(places, [model, *maps.values(), *filter(None, (weights, outputs))], Path(model))
    found, proved = load_proved(model, weights, maps, outputs, tolerance)
    expect_own(places[1], Path(model), found.yaml)
    report = {"file": found.file, **proved.as_data(), "notes": found.notes}
    _write(places, Path(model), found, proved, report)
    if json_file == "-":
        write_json(json_file, report)
    for note in found.notes:
        say(f"note: {note}", sys.stderr)
    for line in (*_table(proved), f"{out}: {proved}"):
        say(line, people(json_file))
    if outputs is not None and proved.verdict != PROVED:
        raise click.exceptions.Exit(1)


def _write(
    places: Sequence[Path], model: Path, found: Imported, proved: Proof, report: dict[str, Any]
) -> None:
    """All of the files or none.  A description that was imported stays as people wrote it."""
    from cortex_core.training.checkpoint import image
    from cortex_core.training.files import write_together

    text = f"{FROM}{found.file}: {proved}.\n{found.yaml}"
    told = (json.dumps(finite(report), indent=2) + "\n").encode()
    files = dict(zip(places, (image(found.network), text.encode(), told, told)))
    write_together({path: data for path, data in files.items() if path.resolve() != model.resolve()})


def _table(proved: Proof) -> list[str]:
    from cortex_core.exchange.keras.proof import number
    from cortex_core.summary import align

    rows: list[tuple[str, ...]] = [("layer", "of Keras", "output", "largest", "mean", "relative", "")]
    for row in proved.rows:
        numbers = ("" if x is None else number(x) for x in (row.largest, row.mean, row.relative))
        shape = " x ".join("any" if n is None else str(n) for n in row.shape)
        rows.append((row.name, row.kind, shape, *numbers, row.verdict))
    return list(align(rows, right=(3, 4, 5)))
