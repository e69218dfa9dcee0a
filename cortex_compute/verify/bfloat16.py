"""bfloat16 for the kit: rounded by arithmetic, so that it shares nothing with what a backend does to bits."""

from __future__ import annotations

import numpy as np

LARGEST = (2 - 2.0**-7) * 2.0**127
DIGITS, LOWEST = 8, -133  # binary digits of a number, and the exponent of the last one of the smallest


def rounded(x: np.ndarray) -> np.ndarray:
    """The nearest bfloat16, of two the even one, as float64."""
    with np.errstate(all="ignore"):
        wide = np.asarray(x, np.float64)
        unit = np.maximum(np.frexp(wide)[1] - DIGITS, LOWEST)
        near = np.where(np.isfinite(wide), np.ldexp(np.rint(np.ldexp(wide, -unit)), unit), wide)
        return np.where(np.abs(near) > LARGEST, np.copysign(np.inf, near), near)


def stored(x: np.ndarray) -> np.ndarray:
    """The bits of the nearest bfloat16."""
    bits = rounded(x).astype(np.float32).view(np.uint32) >> 16
    return np.asarray(bits, np.uint16)


def loaded(bits: np.ndarray) -> np.ndarray:
    """The numbers, as float64, whose bits are given."""
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
