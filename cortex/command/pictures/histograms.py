"""``cortex visualize histograms``."""

from __future__ import annotations

from pathlib import Path

import click

from cortex.command.pictures.shared import drawing, layer_option, out_option
from cortex_compute.errors import CheckpointError


@click.command("histograms")
@click.argument("run", metavar="RUN")
@layer_option
@out_option
def command(run: str, layer: str | None, out: str | None) -> None:
    """Draw how weights and gradients are spread, epoch by epoch.

    RUN is the folder of a run that was trained with --histograms. By default the twelve largest parameters
    are drawn.

    \b
    Examples:
      cortex train examples/digits.yaml --out runs/digits --histograms
      cortex visualize histograms runs/digits
      cortex visualize histograms runs/digits --layer conv2d
    """
    from cortex_core.training.histograms import FILE, read_histograms
    from cortex_viz.learned.histograms import histograms

    if not Path(run).is_dir():
        raise CheckpointError(f"{run} is no folder; expected that of a run")
    rows = read_histograms(Path(run, FILE))
    with drawing("histograms", run, "", out) as path:
        histograms(rows, path, layer)
