"""``cortex import safetensors``."""

from __future__ import annotations

import sys

import click

from cortex.command.common import out_option, say


@click.command("safetensors")
@click.argument("file", metavar="FILE")
@click.argument("description", metavar="[DESCRIPTION]", required=False)
@out_option(".cortex", required=True, metavar="NAME.cortex", help="The file that is written.")
def command(file: str, description: str | None, out: str) -> None:
    """Put the weights of a safetensors file into a description, by name.

    DESCRIPTION is a YAML file, or a .cortex file, of which only what it describes is taken, and what it
    learned of its data. Without it the description is the one in FILE, where `cortex export safetensors`
    writes it.

    Every parameter and running statistic must be in FILE, and nothing else. All that is missing, unknown or
    of another shape is named at once, and nothing is written. float16 and bfloat16 stay the same numbers;
    float64 is rounded to float32, and a note says so.

    \b
    Examples:
      cortex import safetensors digits.safetensors -o digits.cortex
      cortex import safetensors weights.safetensors net.yaml -o net.cortex
    """
    from cortex_core.exchange.safetensors_network import from_safetensors

    network = from_safetensors(file, description)
    network.save(out)
    for note in (network.origin or {}).get("notes", ()):
        say(f"note: {note}", sys.stderr)
    say(out, sys.stdout)
