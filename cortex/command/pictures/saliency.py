"""``cortex visualize saliency``."""

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
    model_argument,
    out_option,
)

MOST = 8


@click.command("saliency")
@model_argument
@data_option
@index_option
@class_option
@out_option
def command(model: str, data: str | None, rows: tuple[int, ...], label: str | None, out: str | None) -> None:
    """Draw the pixels that the score of a class hangs on (Simonyan et al., 2014).

    Below each example is |d score / d pixel|: bright where a small change of the pixel changes the score
    most. By default the first eight examples are drawn, each for the class that is predicted for it.

    \b
    Examples:
      cortex visualize saliency runs/lenet
      cortex visualize saliency runs/lenet --index 7 --index 18 --class 9
    """
    from cortex_viz.learned.examples import examples_of, picture_input, titles_of
    from cortex_viz.learned.saliency import saliency

    network = load_model(model)
    picture_input(network)
    source = examples(network, data)
    wanted = chosen(rows, source, MOST)
    x = examples_of(network, source, wanted)
    classes = judged(network, source, x, label)
    titles = titles_of(network, source, wanted, x, classes)
    with drawing("saliency", model, network.name, out) as path:
        saliency(network, x, path, classes, titles)
