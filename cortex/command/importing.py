"""``cortex import``."""

from __future__ import annotations

import json
import sys
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
    found = {}
    for text in given:
        name, _, file = text.partition("=")
        if not name or not file:
            raise click.BadParameter(f"{text}: expected NAME=block.yaml")
        found[name] = file
    return found


@command.command("keras")
@click.argument("model", metavar="MODEL")
@click.option(
    "--weights", metavar="FILE", help="Where MODEL is an architecture or a description: its weights."
)
@click.option("--outputs", metavar="FILE.npz", help="Recorded outputs of all layers, which prove the import.")
@click.option("--map", "maps", multiple=True, callback=_maps, metavar="NAME=block.yaml",
              help="The block that stands for layers of this name or class.")  # fmt: skip
@click.option("--tolerance", type=click.FloatRange(min=0, min_open=True), default=1e-4, metavar="T",
              help="How far a layer may depart, relative to its largest value (0.0001).")  # fmt: skip
@click.option("-o", "--out", required=True, callback=_file, metavar="NAME.cortex", help="What is written.")
@json_option
def keras(
    model: str,
    weights: str | None,
    outputs: str | None,
    maps: dict[str, str],
    tolerance: float,
    out: Path,
    json_file: str | None,
) -> None:
    """Turn a Keras model into a description with weights, and prove it layer by layer.

    MODEL is HDF5 or .keras, of any version; or, with --weights, an architecture as JSON or a description.
    Writes NAME.cortex, NAME.yaml (the description alone) and NAME.report.json. With recorded outputs every
    layer is compared, and exit code 1 names the first one that departs; without them the import is unproved.
    Nothing in the file is executed, and neither Keras nor TensorFlow is needed.

    \b
    Examples:
      cortex import keras model.h5 -o model.cortex
      cortex import keras model.keras --outputs recording.npz -o model.cortex
      cortex import keras model.h5 --map Attention=attention.yaml -o model.cortex
      cortex import keras squeezenet.yaml --weights squeezenet.h5 -o squeezenet.cortex
    """
    from cortex_core.exchange.keras import proof
    from cortex_core.exchange.keras.imported import load
    from cortex_core.exchange.keras.recording import Recording

    recording = None if outputs is None else Recording(outputs)
    found = load(model, weights, maps)
    proved = proof.unproved(found) if recording is None else proof.compare(found, recording, tolerance)
    report = {"file": found.file, **proved.as_data(), "notes": found.notes}
    _write(out, Path(model), found, proved, report)
    write_json(json_file, report)
    for note in found.notes:
        say(f"note: {note}", sys.stderr)
    for line in (*_table(proved), f"{out}: {proved}"):
        say(line, people(json_file))
    if proved.first is not None:
        raise click.exceptions.Exit(1)


def _write(out: Path, model: Path, found: Imported, proved: Proof, report: dict[str, Any]) -> None:
    """The three files, all of them or none.  A description that was imported stays as people wrote it."""
    from cortex_core.training.checkpoint import image
    from cortex_core.training.files import write_together

    found.network.origin = {"file": found.file, "proof": str(proved)}
    text = f"# Imported from {found.file}: {proved}.\n{found.yaml}"
    files = {
        out: image(found.network),
        out.with_suffix(".yaml"): text.encode(),
        out.with_suffix(".report.json"): (json.dumps(finite(report), indent=2) + "\n").encode(),
    }
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
