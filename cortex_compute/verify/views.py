"""Views have no kernel: `restride` is laid over the operand's memory and compared with the reference."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from cortex_compute.primitives.base import Primitive
from cortex_compute.types import contiguous_strides
from cortex_compute.verify.compare import WRONG
from cortex_compute.verify.placement import backwards, spaced, turned
from cortex_compute.verify.reference import REFERENCES


def view_errors(primitive: Primitive, x: np.ndarray, wanted: np.ndarray) -> Iterator[tuple[float, str]]:
    """An error for each way to lie in memory where the view is wrong, or None without need."""
    for way in (contiguous_strides, turned, spaced, backwards):
        strides = way(x.shape)
        base, start = _memory(x, strides)
        lies = _over(base, start, x.shape, strides)
        answer = primitive.restride(x.shape, strides)
        if answer is None:
            if np.may_share_memory(REFERENCES[type(primitive)](primitive, lies)[0], base):
                yield WRONG, f"operand {way.__name__}: restride asks for a copy where NumPy needs none"
            continue
        offset, result = answer
        if not np.array_equal(_over(base, start + offset, wanted.shape, result), wanted):
            yield WRONG, f"operand {way.__name__}: offset {offset} and strides {result} show other elements"


def _memory(x: np.ndarray, strides: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """Memory in which ``x`` lies with ``strides``, and where it starts."""
    reach = [(n - 1) * s for n, s in zip(x.shape, strides)]
    low, high = sum(min(0, r) for r in reach), sum(max(0, r) for r in reach)
    base = np.zeros(high - low + 1 if math.prod(x.shape) else 1, x.dtype)
    start = -low if math.prod(x.shape) else 0
    _over(base, start, x.shape, strides)[...] = x
    return base, start


def _over(base: np.ndarray, start: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    return as_strided(base[start:], shape, [s * base.itemsize for s in strides])
