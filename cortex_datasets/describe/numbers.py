"""Statistics of many numbers: range, quartiles, mean, spread, histogram."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cortex_datasets.describe.report import Histogram, Statistics

Array = np.ndarray[Any, Any]
MOST_BINS = 30
USUAL_BINS = 20  # where the rule for bins gives none
WHOLE = 2**50  # beyond, what lies between whole numbers is rounded away


def statistics(values: Array) -> Statistics:
    """Of the numbers in a float64 array (n,) without NaN; infinite ones are counted and left out."""
    finite = values[np.isfinite(values)]
    infinite = len(values) - len(finite)
    if not len(finite):
        return no_statistics(infinite)
    low, high = float(finite.min()), float(finite.max())
    # Divided by a power of two, which rounds nothing: sums and squares of the largest doubles are infinite.
    scale = power_of_two(max(-low, high))
    scaled = finite / scale
    quartiles = np.quantile(scaled, (0.25, 0.5, 0.75))
    return {
        "min": low,
        "quartiles": [float(q) * scale for q in quartiles],
        "max": high,
        "mean": float(scaled.mean()) * scale,
        "std": finite_or_none(float(scaled.std(ddof=1)) * scale) if len(scaled) > 1 else None,
        "infinite": infinite,
        "histogram": _histogram(finite, low, high, float(quartiles[2] - quartiles[0]) * scale),
    }


def no_statistics(infinite: int = 0) -> Statistics:
    """Those of no finite number."""
    return {
        "min": None,
        "quartiles": None,
        "max": None,
        "mean": None,
        "std": None,
        "infinite": infinite,
        "histogram": None,
    }


def finite_or_none(value: float) -> float | None:
    """The largest doubles may lie further apart than a double can say."""
    return value if math.isfinite(value) else None


def power_of_two(largest: float) -> float:
    """The largest power of two that is no larger, but at least 1."""
    return max(1.0, math.ldexp(0.5, math.frexp(largest)[1]))


def _histogram(values: Array, low: float, high: float, spread: float) -> Histogram:
    """Bins of equal width by the rule of Freedman and Diaconis (1981), 2 spread / n^(1/3) with the distance
    of the quartiles as spread; at most 30, and 20 where the spread is 0.

    Where all values are whole, the width is whole too, and 1 where they are at most 29 apart.
    """
    if low == high:
        return counted(values, np.array([low, high]))
    if max(-low, high) < WHOLE and np.all(values == np.floor(values)):
        width = 1.0
        if high - low >= MOST_BINS:
            width = np.ceil(max(2 * spread / len(values) ** (1 / 3), (high - low + 1) / MOST_BINS))
        bins = int((high - low) // width) + 1
        return counted(values, low - 0.5 + width * np.arange(bins + 1))
    half = spread / len(values) ** (1 / 3)  # of a width, as the range may be more than a double holds
    bins = math.ceil(min(MOST_BINS, (high / 2 - low / 2) / half)) if half else USUAL_BINS
    return counted(values, even_edges(low, high, max(1, bins)))


def even_edges(low: float, high: float, bins: int) -> Array:
    """``bins`` of equal width from low to high, which may be as far apart as two doubles can be."""
    share = np.arange(bins + 1) / bins
    edges = low * (1 - share) + high * share
    edges[0], edges[-1] = low, high
    return np.maximum.accumulate(np.clip(edges, low, high))  # where the bins are as narrow as rounding


def counted(values: Array, edges: Array) -> Histogram:
    """How many values lie in each bin."""
    counts = np.histogram(values, edges)[0]
    return {"edges": edges.tolist(), "counts": counts.tolist()}
