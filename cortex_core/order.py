"""Random orders that a seed gives on every machine and in every version of NumPy."""

from __future__ import annotations

import numpy as np


def shuffled(count: int, seed: int, stream: int, number: int = 0) -> np.ndarray:
    """The numbers 0 .. count - 1 in the ``number``-th random order of (seed, stream).

    Philox with that key and the number in its counter.  Made from the raw words, which NumPy keeps
    the same in all versions (it does not promise that of ``permutation``).
    """
    words = np.random.Philox(key=[seed, stream], counter=[0, 0, number, 0]).random_raw(count)
    return np.argsort(words, kind="stable")
