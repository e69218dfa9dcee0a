"""Text and sequences: vocabularies, windows of running text, lines with labels, sequences of numbers.

Importing the package registers its readers: `text`, `lines` and `sequences`.
"""

from __future__ import annotations

from cortex_datasets.text.lines import Lines
from cortex_datasets.text.running import Text
from cortex_datasets.text.sequences import Sequences

__all__ = ["Lines", "Sequences", "Text"]
