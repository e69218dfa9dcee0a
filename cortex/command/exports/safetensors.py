"""``cortex export safetensors``."""

from __future__ import annotations

import sys

import click

from cortex.command.common import load_model, out_option, say


@click.command("safetensors")
@click.argument("model", metavar="MODEL")
@out_option(".safetensors", required=True, metavar="FILE.safetensors", help="The file that is written.")
def command(model: str, out: str) -> None:
    """Write the weights of a network by name, with its description in the metadata.

    MODEL is a .cortex file, or the folder of a run. Parameters and running statistics have the names and
    shapes of `network.parameters` and `network.variables`, in float32; `cortex import safetensors` makes the
    network again. What it learned of raw data, and the state of its optimiser, are not in the file.

    \b
    Example:
      cortex export safetensors runs/digits -o digits.safetensors
    """
    from cortex_core.exchange.safetensors_network import write

    for note in write(load_model(model), out):
        say(f"note: {note}", sys.stderr)
    say(out, sys.stdout)
