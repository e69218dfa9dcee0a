"""``cortex visualize pca``."""

from __future__ import annotations

from typing import Any

import click

from cortex.command.pictures.layer_map import draw_map, map_options


@click.command("pca")
@map_options
def command(**options: Any) -> None:
    """Lay out examples as a layer sees them, by its first two principal components.

    Writes a picture, and a page where the pointer shows each example. The layer is the last hidden one, or
    --layer, which may also name an input.

    \b
    Examples:
      cortex visualize pca runs/lenet
      cortex visualize pca runs/lenet --layer image --out pixels
    """
    draw_map("pca", **options)
