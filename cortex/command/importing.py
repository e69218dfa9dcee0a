"""``cortex import``."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cortex.command.common import finite, json_option, people, say, write_json

if TYPE_CHECKING:
    from cortex_core.exchange.keras.imported import Imported
    from cortex_core.exchange.keras.proof import Proof

SUFFIX = ".cortex"


@click.group("import")
def command() -> None:
    """Bring in models of other libraries.

    \b
    Example:
      cortex import keras model.h5 -o model.cortex
    """


def _file(context: click.Context, option: click.Parameter, out: str) -> Path:
    if Path(out).suffix != SUFFIX:
        raise click.BadParameter(f"{out}: expected a name that ends in {SUFFIX}")
    return Path(out)


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


def _tolerance(context: click.Context, option: click.Parameter, given: float | None) -> float | None:
    if given is not None and not 0 < given < math.inf:
        raise click.BadParameter(f"{given:g}: expected a number above 0, such as 0.0001")
    return given


@command.command("keras", short_help="A Keras model becomes a description with weights.")
@click.argument("model", metavar="MODEL")
@click.option(
    "--weights", metavar="FILE", help="Where MODEL is an architecture or a description: its weights."
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
    callback=_tolerance,
    metavar="T",
    help="With --outputs: how far a layer may depart, relative to its largest value (0.0001).",
)
@click.option(
    "-o",
    "--out",
    required=True,
    callback=_file,
    metavar="NAME.cortex",
    help="What is written, and NAME.yaml and NAME.report.json beside it.",
)
@json_option
def keras(
    model: str,
    weights: str | None,
    outputs: str | None,
    maps: dict[str, str],
    tolerance: float | None,
    out: Path,
    json_file: str | None,
) -> None:
    """Turn a Keras model into a description with weights, and prove it layer by layer.

    MODEL is HDF5 or .keras, of any version; or, with --weights, an architecture as JSON or a description.
    Writes NAME.cortex, NAME.yaml (the description alone) and NAME.report.json, all of them or none. Nothing
    in the file is executed, and neither Keras nor TensorFlow is needed.

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
    from cortex_core.exchange.keras import proof
    from cortex_core.exchange.keras.imported import load
    from cortex_core.exchange.keras.recording import Recording

    if tolerance is not None and outputs is None:
        raise click.UsageError("--tolerance is for --outputs: without a recording nothing is compared")
    _expect_apart(out, [model, *maps.values(), *filter(None, (weights, outputs))], Path(model), json_file)
    recording = None if outputs is None else Recording(outputs)
    found = load(model, weights, maps)
    if recording is None:
        proved = proof.unproved(found)
    else:
        proved = proof.compare(found, recording, proof.TOLERANCE if tolerance is None else tolerance)
    report = {"file": found.file, **proved.as_data(), "notes": found.notes}
    _write(out, Path(model), found, proved, report, json_file)
    for note in found.notes:
        say(f"note: {note}", sys.stderr)
    for line in (*_table(proved), f"{out}: {proved}"):
        say(line, people(json_file))
    if recording is not None and proved.verdict != proof.PROVED:
        raise click.exceptions.Exit(1)


def _written(out: Path) -> tuple[Path, Path, Path]:
    """The model, the description and the report."""
    return out, out.with_suffix(".yaml"), out.with_suffix(".report.json")


def _expect_apart(out: Path, read: Sequence[str], model: Path, json_file: str | None) -> None:
    """No file that is read may be written, but for the description that is imported: that stays as it is."""
    _, described, _ = written = _written(out)
    places = [*written, *([Path(json_file)] if json_file not in (None, "-") else [])]
    sources = {Path(file).resolve() for file in read}
    for place in places:
        if place.resolve() in sources and not (place == described and place.resolve() == model.resolve()):
            raise click.UsageError(f"{place} is read, and would be written: give another name")


def _write(
    out: Path, model: Path, found: Imported, proved: Proof, report: dict[str, Any], json_file: str | None
) -> None:
    """The three files, and that of ``--json``: all of them or none.  A description that was imported stays as
    people wrote it."""
    from cortex_core.training.checkpoint import image
    from cortex_core.training.files import write_together

    found.network.origin = found.origin(str(proved))
    text = f"# Imported from {found.file}: {proved}.\n{found.yaml}"
    told = (json.dumps(finite(report), indent=2) + "\n").encode()
    files = dict(zip(_written(out), (image(found.network), text.encode(), told)))
    if json_file == "-":
        write_json(json_file, report)
    elif json_file is not None:
        files[Path(json_file)] = told
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
