"""``cortex export safetensors``."""

from __future__ import annotations

import sys

import click

from cortex.command.common import (
    json_option,
    load_model,
    out_option,
    people,
    say,
    write_json,
)
from cortex.command.exports.report import expect_other_file


@click.command("safetensors")
@click.argument("model", metavar="MODEL")
@out_option(".safetensors", required=True, metavar="FILE.safetensors", help="The file that is written.")
@json_option
def command(model: str, out: str, json_file: str | None) -> None:
    """Write the weights of a network by name, with its description in the metadata.

    MODEL is a .cortex file, or the folder of a run. Parameters and running statistics have the names and
    shapes of `network.parameters` and `network.variables`, in float32; `cortex import safetensors` makes the
    network again. What it learned of raw data, and the state of its optimiser, are not in the file.

    \b
    Example:
      cortex export safetensors runs/digits -o digits.safetensors
    """
    expect_other_file(json_file, out)
    from cortex_core.exchange.safetensors_network import write

    notes = write(load_model(model), out)
    write_json(json_file, {"model": out, "notes": notes})
    for note in notes:
        say(f"note: {note}", sys.stderr)
    say(out, people(json_file))
