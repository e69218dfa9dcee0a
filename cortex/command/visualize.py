"""``cortex visualize``."""

from __future__ import annotations

import click

from cortex.command.lazy import Lazy

PICTURES = {
    "report": "The report of a run, made anew.",
    "network": "The layers of a description, or the plan of its program.",
    "tsne": "The examples as a layer sees them, neighbours side by side.",
    "pca": "The same by principal components.",
    "filters": "The kernels of a layer.",
    "activations": "What a layer makes of an example.",
    "saliency": "The pixels that a class hangs on.",
    "gradcam": "The regions that a class hangs on.",
    "maximal": "The examples that each channel answers most.",
    "histograms": "Weights and gradients by epoch.",
    "dead": "Units that never answer.",
    "neighbours": "The nearest rows of an embedding.",
}


@click.group(
    "visualize",
    cls=Lazy,
    package="cortex.command.pictures",
    modules=PICTURES,
    subcommand_metavar="PICTURE",
)
def command() -> None:
    """Draw what a network is, what it learned, and how its training went.

    \b
    Examples:
      cortex visualize network examples/lenet.yaml --out lenet.svg
      cortex visualize tsne runs/lenet --data mnist
      cortex visualize report runs/lenet
    """
