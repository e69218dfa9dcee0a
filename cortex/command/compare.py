"""``cortex compare``."""

from __future__ import annotations

from pathlib import Path

import click

from cortex.command.common import json_option, people, say, write_json
from cortex_compute.errors import ArgumentError


@click.command("compare")
@click.argument("runs", metavar="RUN RUN...", nargs=-1, required=True)
@click.option("--out", metavar="FILE.html", help="Writes a page with the curves over each other.")
@json_option
def command(runs: tuple[str, ...], out: str | None, json_file: str | None) -> None:
    """Compare runs: their numbers, their curves, and where their descriptions differ.

    RUN is the folder of a run. Layers are compared by their ids. What is equal in all is left out.

    \b
    Examples:
      cortex compare runs/lenet runs/mlp
      cortex compare runs/* --out runs.html
    """
    from cortex_core.training.files import write_atomically
    from cortex_viz.compare import compare

    if out is not None and Path(out).suffix.lower() not in (".html", ".htm"):
        raise ArgumentError(f"--out {out}: expected a name that ends in .html")
    made = compare(runs)
    if out is not None:
        write_atomically(Path(out), made.html().encode())
    write_json(json_file, made.data())
    for line in str(made).splitlines():
        say(line, people(json_file))
    if out is not None:
        say(f"page  {out}", people(json_file))
