"""``cortex visualize tsne``."""

from __future__ import annotations

from typing import Any

import click

from cortex.command.pictures.layer_map import draw_map, map_options


@click.command("tsne")
@map_options
@click.option(
    "--perplexity", type=float, metavar="P", help="How many neighbours each has, roughly; 30 by default."
)
def command(**options: Any) -> None:
    """Lay out examples as a layer sees them, neighbours side by side, by t-SNE.

    Writes a picture, and a page where the pointer shows each example. The layer is the last hidden one, or
    --layer, which may also name an input.

    \b
    Examples:
      cortex visualize tsne runs/lenet
      cortex visualize tsne runs/lenet --data mnist --layer dense --count 2000 --out digits
    """
    draw_map("tsne", **options)
