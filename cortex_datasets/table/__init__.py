"""Tables: CSV, Parquet and DataFrames, read, guessed at, and encoded as what a network reads.

`files` and `sheet` read, `kinds` guesses, `reader` is what a description names.  Nothing is imported here.
"""
