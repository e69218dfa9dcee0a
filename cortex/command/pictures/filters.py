"""``cortex visualize filters``."""

from __future__ import annotations

import click

from cortex.command.common import load_model
from cortex.command.pictures.shared import drawing, layer_option, model_argument, out_option


@click.command("filters")
@model_argument
@layer_option
@out_option
def command(model: str, layer: str | None, out: str | None) -> None:
    """Draw the kernels of a layer, by default of the first convolution.

    Of a dense layer over pictures the weights of each unit are drawn. Blue is below 0, red above.

    \b
    Examples:
      cortex visualize filters runs/lenet
      cortex visualize filters runs/lenet --layer conv2d_2 --out second.png
    """
    from cortex_viz.learned.filters import filters

    network = load_model(model)
    with drawing("filters", model, network.name, out) as path:
        filters(network, path, layer)
