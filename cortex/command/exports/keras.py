"""``cortex export keras``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cortex.command.common import json_option, load_model, people, say, write_json
from cortex.command.exports.report import expect_other_file

SUFFIXES = (".keras", ".weights.h5")


def _file(context: click.Context, option: click.Parameter, out: str) -> Path:
    if not Path(out).name.endswith(SUFFIXES):
        raise click.BadParameter(f"{out}: expected a name that ends in {' or '.join(SUFFIXES)}")
    return Path(out)


@click.command("keras")
@click.argument("model", metavar="MODEL")
@click.option("--raw", is_flag=True, help="What the layers give, such as logits; else what `predict` gives.")
@click.option("-o", "--out", required=True, callback=_file, metavar="FILE", help="The file that is written.")
@json_option
def command(model: str, raw: bool, out: Path, json_file: str | None) -> None:
    """Write a network as a model of Keras 3, or its weights alone.

    MODEL is a .cortex file, or the folder of a run. FILE ends in .keras for a model that
    keras.models.load_model reads, in .weights.h5 for weights that model.load_weights reads. Keras is not
    needed. The notes say what is not as it was here, and for weights alone which layer they are of. Layers
    that Keras cannot say are named, all at once, and nothing is written then: the exit code is 2.

    \b
    Examples:
      cortex export keras runs/digits -o digits.keras
      cortex export keras model.cortex --raw -o model.weights.h5
    """
    expect_other_file(json_file, out)
    from cortex_core.exchange.to_keras.export import to_keras

    notes = to_keras(load_model(model), out, raw)
    write_json(json_file, {"model": str(out), "notes": notes})
    for note in notes:
        say(f"note: {note}", sys.stderr)
    say(str(out), people(json_file))
