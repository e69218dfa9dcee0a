"""``cortex visualize activations``."""

from __future__ import annotations

import click

from cortex.command.common import load_model
from cortex.command.pictures.shared import (
    data_option,
    drawing,
    examples,
    layer_option,
    model_argument,
    out_option,
)


@click.command("activations")
@model_argument
@data_option
@layer_option
@click.option("--index", "row", type=int, default=0, metavar="N", help="Which example, from 0.")
@out_option
def command(model: str, data: str | None, layer: str | None, row: int, out: str | None) -> None:
    """Draw what a layer makes of one example: maps, rows, or bars.

    By default it is the first layer that gives maps.

    \b
    Examples:
      cortex visualize activations runs/lenet --index 7
      cortex visualize activations runs/lenet --layer dense --data mnist
    """
    from cortex_viz.learned.activations import activations
    from cortex_viz.learned.examples import examples_of

    network = load_model(model)
    x = examples_of(network, examples(network, data), [row])
    with drawing("activations", model, network.name, out) as path:
        activations(network, x, path, layer, f"example {row}")
