"""An array seen as rows of its last axis, in blocks of whole rows that fit the cache."""

from __future__ import annotations

import math

import numpy as np

from cortex_compute.numpy_backend.pointwise import BLOCK
from cortex_compute.types import TensorType


class Rows:
    """(..., n) as (count, n), in ``blocks`` of at most ``step`` rows, and types for scratch of one block."""

    def __init__(self, t: TensorType) -> None:
        self.n = t.shape[-1]
        self.count = math.prod(t.shape[:-1])
        self.step = max(1, min(self.count, BLOCK // max(1, self.n)))
        starts = range(0, self.count, self.step) if self.n else ()
        self.blocks = [slice(i, min(i + self.step, self.count)) for i in starts]
        self.ones = np.ones(self.n, t.dtype.storage)  # the product with it is the sum of a row
        self.block = TensorType((self.step, self.n), t.dtype)
        self.column = TensorType((self.step,), t.dtype)

    def matrix(self, a: np.ndarray) -> np.ndarray:
        """A row-major array as (count, n)."""
        return a.reshape(self.count, self.n)
