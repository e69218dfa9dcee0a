"""``cortex export``."""

from __future__ import annotations

import click

from cortex.command.lazy import Lazy

FORMATS = {
    "keras": "For Keras 3: .keras, or .weights.h5 alone.",
    "onnx": "For ONNX runtimes.",
    "safetensors": "The weights alone, by name.",
}


@click.group(
    "export", cls=Lazy, package="cortex.command.exports", modules=FORMATS, subcommand_metavar="FORMAT"
)
def command() -> None:
    """Write a model for other libraries.  MODEL is a .cortex file or the folder of a run.

    \b
    Example:
      cortex export onnx runs/digits -o digits.onnx
    """
