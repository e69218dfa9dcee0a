"""``cortex visualize gradcam``."""

from __future__ import annotations

import click

from cortex.command.common import load_model
from cortex.command.pictures.shared import (
    chosen,
    class_option,
    data_option,
    drawing,
    examples,
    index_option,
    judged,
    layer_option,
    model_argument,
    out_option,
)

MOST = 8


@click.command("gradcam")
@model_argument
@data_option
@layer_option
@index_option
@class_option
@out_option
def command(
    model: str,
    data: str | None,
    layer: str | None,
    rows: tuple[int, ...],
    label: str | None,
    out: str | None,
) -> None:
    """Draw the regions that the score of a class hangs on: Grad-CAM (Selvaraju et al., 2017).

    It looks at the last maps that come from an activation, or at those of --layer. By default the first eight
    examples are drawn, each for the class that is predicted for it.

    \b
    Examples:
      cortex visualize gradcam runs/lenet
      cortex visualize gradcam runs/lenet --layer conv2d --index 7 --class 9
    """
    from cortex_viz.learned.examples import examples_of, picture_input, titles_of
    from cortex_viz.learned.gradcam import gradcam

    network = load_model(model)
    picture_input(network)
    source = examples(network, data)
    wanted = chosen(rows, source, MOST)
    x = examples_of(network, source, wanted)
    classes = judged(network, source, x, label)
    titles = titles_of(network, source, wanted, x, classes)
    with drawing("gradcam", model, network.name, out) as path:
        gradcam(network, x, path, layer, classes, titles)
