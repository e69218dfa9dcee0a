"""``cortex import``."""

from __future__ import annotations

import click

from cortex.command.lazy import Lazy

FORMATS = {
    "keras": "A Keras model becomes a description with weights.",
    "onnx": "An ONNX model becomes a description with weights.",
    "safetensors": "Weights by name go into a description.",
}


@click.group(
    "import", cls=Lazy, package="cortex.command.imports", modules=FORMATS, subcommand_metavar="FORMAT"
)
def command() -> None:
    """Bring in models of other libraries.

    \b
    Example:
      cortex import keras model.h5 -o model.cortex
    """
