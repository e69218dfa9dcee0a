"""The script that records what the layers of a Keras model give; users run it where Keras is installed."""

from __future__ import annotations

from pathlib import Path


def script() -> str:
    """Its text: Python of any version that Keras 1, 2 or 3 runs on, without an import of Cortex."""
    return Path(__file__).with_name("record.txt").read_text(encoding="utf-8")
