"""Tables: CSV, Parquet and DataFrames, read, guessed at, and encoded as what a network reads.

`files` and `sheet` read, `kinds` guesses, `reader` is what a description names.
"""

from __future__ import annotations

from cortex_datasets.table.reader import Table

__all__ = ["Table"]
