"""``cortex surgery``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from cortex.command.common import json_option, load_model, model_file, people, write_json

SUFFIX = ".cortex"


def _shape(
    context: click.Context, option: click.Parameter, text: str | None
) -> tuple[int | None, ...] | None:
    """The shape in ``64,64,3``; ``null`` is any length."""
    if text is None:
        return None
    parts = [part.strip() for part in text.strip("[]() ").split(",")]
    if not all(re.fullmatch(r"[0-9]{1,9}|null", part) for part in parts):
        raise click.BadParameter(f"{text}: expected whole numbers such as 64,64,3, without the batch axis")
    return tuple(None if part == "null" else int(part) for part in parts)


def _file(context: click.Context, option: click.Parameter, out: str) -> Path:
    if Path(out).suffix != SUFFIX:
        raise click.BadParameter(f"{out}: expected a name that ends in {SUFFIX}")
    return Path(out)


def _expect_another(out: Path, model: str) -> None:
    """What is read stays as it is."""
    file = model_file(model)
    if out.exists() and file.exists() and out.samefile(file):
        raise click.BadParameter(f"{out} is the model that is read; give another name", param_hint="'--out'")


@click.command("surgery")
@click.argument("model", metavar="MODEL")
@click.option("--remove", "gone", multiple=True, metavar="ID", help="A layer or block that falls away.")
@click.option(
    "--resize-input", "shape", callback=_shape, metavar="H,W,C", help="Another shape, without the batch axis."
)
@click.option("--input", "name", metavar="NAME", help="Which input is resized, where there are several.")
@click.option(
    "--replace-head", "units", type=click.IntRange(min=1), metavar="N", help="A new last layer, of N outputs."
)
@click.option("--head", metavar="ID", help="Which head is replaced, where there are several.")
@click.option("--freeze-until", metavar="ID", help="The last of the layers that are not trained any more.")
@click.option("--unfreeze", is_flag=True, help="All layers are trained, but for those named to freeze.")
@click.option("--freeze-norms", is_flag=True, help="Batch norms keep their statistics and parameters.")
@click.option("--drop-unfitting", is_flag=True, help="Draws weights anew whose shape changes.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Of the weights that are drawn anew.")
@click.option("-o", "--out", required=True, callback=_file, metavar="MODEL", help="The file that is written.")
@json_option
def command(
    model: str,
    gone: tuple[str, ...],
    shape: tuple[int | None, ...] | None,
    name: str | None,
    units: int | None,
    head: str | None,
    freeze_until: str | None,
    unfreeze: bool,
    freeze_norms: bool,
    drop_unfitting: bool,
    seed: int | None,
    out: Path,
    json_file: str | None,
) -> None:
    """Change a trained network, and keep the weights that fit.

    MODEL is a .cortex file, or the folder of a run. What is asked for is done in the order of the options
    here. The table says how many layers and numbers are kept, new and gone; the optimiser begins anew.

    \b
    Examples:
      cortex surgery runs/digits --replace-head 5 --freeze-until dense -o five.cortex
      cortex surgery model.cortex --remove dropout --resize-input 64,64,3 -o larger.cortex
      cortex train five.cortex train.data=five.npz
    """
    changing, drawing = bool(gone) or shape is not None, units is not None or drop_unfitting
    for option, given, read, by in (
        ("--input", name is not None, shape is not None, "--resize-input"),
        ("--head", head is not None, units is not None, "--replace-head"),
        ("--drop-unfitting", drop_unfitting, changing, "--remove or --resize-input"),
        ("--seed", seed is not None, drawing, "--replace-head or --drop-unfitting"),
    ):
        if given and not read:
            raise click.UsageError(f"{option} belongs to {by}, which is missing.")
    freezing = freeze_until is not None or unfreeze or freeze_norms
    if not gone and shape is None and units is None and not freezing:
        wanted = "--remove, --resize-input, --replace-head, --freeze-until, --freeze-norms or --unfreeze"
        raise click.UsageError(f"Nothing to do: expected {wanted}.")
    _expect_another(out, model)
    from cortex_core import surgery

    before = load_model(model)
    network = before
    for id_ in gone:
        network = surgery.remove(network, id_, drop_unfitting=drop_unfitting, seed=seed)
    if shape is not None:
        network = surgery.resize_input(network, shape, name, drop_unfitting, seed)
    if units is not None:
        network = surgery.replace_head(network, units, head, seed)
    if unfreeze:
        network = surgery.unfreeze(network)
    if freeze_until is not None:
        network = surgery.freeze(network, freeze_until)
    if freeze_norms:
        network = surgery.freeze_norms(network)
    network.save(out)
    found = surgery.report(before, network)
    notes = network.description.notes[len(before.description.notes) :]
    write_json(json_file, {"model": str(out), **found.as_data(), "notes": list(notes)})
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print(found, file=people(json_file))
    print(out, file=people(json_file))
