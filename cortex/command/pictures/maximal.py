"""``cortex visualize maximal``."""

from __future__ import annotations

import click

from cortex.command.common import backend_option, load_model
from cortex.command.pictures.shared import (
    data_option,
    drawing,
    examples,
    layer_option,
    model_argument,
    out_option,
)


@click.command("maximal")
@model_argument
@data_option
@layer_option
@click.option("--count", type=click.IntRange(1, 50), default=9, help="Examples for each channel.")
@out_option
@backend_option
def command(
    model: str, data: str | None, layer: str | None, count: int, out: str | None, backend: str
) -> None:
    """Draw the examples that each channel of a layer answers most.

    It looks at the last maps, else at the last hidden layer, or at --layer. Each row is a channel, the
    strongest example first.

    \b
    Examples:
      cortex visualize maximal runs/lenet
      cortex visualize maximal runs/lenet --layer dense --data mnist --count 12
    """
    from cortex_viz.learned.examples import picture_input
    from cortex_viz.learned.maximal import maximal

    network = load_model(model)
    picture_input(network)
    source = examples(network, data)
    with drawing("maximal", model, network.name, out) as path:
        maximal(network, source, path, layer, count, backend)
