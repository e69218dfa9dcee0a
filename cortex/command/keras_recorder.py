"""``cortex keras-recorder``."""

from __future__ import annotations

import click


@click.command("keras-recorder")
def command() -> None:
    """Print a script that records what every layer of a Keras model gives.

    It imports Keras and NumPy alone. Run it once where Keras is installed, and give the file that it writes
    to `cortex import keras --outputs`.

    \b
    Example:
      cortex keras-recorder > record.py
      python record.py model.h5 recording.npz
      cortex import keras model.h5 --outputs recording.npz -o model.cortex
    """
    from cortex_core.exchange.keras.recorder import script

    print(script(), end="")
