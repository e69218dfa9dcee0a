"""What the pictures share: many small images as one sheet, and how numbers become grey or colour."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
SIGNED = "RdBu_r"  # 0 is white
PIXELS = 16  # of the longer edge of an image in a sheet, at least


def as_picture(image: Array) -> Array:
    """An image (h, w, c) for `imshow`: (h, w) or (h, w, 3) within 0..1.

    Numbers beyond 0..1 are scaled from the lowest to the highest; of other channels than 1 or 3 the mean is
    shown.  What is not finite is shown as the lowest.
    """
    finite = np.isfinite(image)
    low, high = (image[finite].min(), image[finite].max()) if finite.any() else (0, 1)
    made = np.where(finite, image, low).astype(np.float64)
    if low < 0 or high > 1:
        made = (made - low) / (high - low if high > low else 1)
    return made if made.shape[2] == 3 else made.mean(axis=2)


def sheet(images: Array, columns: int, gap: int = 1) -> Array:
    """Images (n, h, w) or (n, h, w, 3) in rows of ``columns``, with NaN between and where none is left.

    Each pixel of small ones becomes several, so that the gaps between them are thin.
    """
    times = max(1, PIXELS // max(images.shape[1:3]))
    images = images.repeat(times, axis=1).repeat(times, axis=2)
    n, h, w, *rest = images.shape
    rows = -(-n // columns)
    made = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap, *rest), np.nan)
    for i, image in enumerate(images):
        y, x = i // columns * (h + gap), i % columns * (w + gap)
        made[y : y + h, x : x + w] = image
    return made


def columns_of(count: int, height: int, width: int, shape: float = 1.6) -> int:
    """How many columns make a sheet of ``count`` images about ``shape`` times as wide as high."""
    return max(1, min(count, round(math.sqrt(count * shape * (height + 1) / (width + 1)))))


def size_of(made: Array, width: float = 8.0, tallest: float = 9.0) -> tuple[float, float]:
    """Width and height of a figure for a sheet, in inches, with room for a title and a scale."""
    rows, columns = made.shape[:2]
    wide = min(width, max(2.5, tallest * columns / rows))
    return wide + 1.2, max(1.2, wide * rows / columns) + 0.6


def bare(axes: Iterable[Any]) -> None:
    """Leaves of axes the picture alone."""
    for each in axes:
        each.set_xticks([])
        each.set_yticks([])
        each.grid(visible=False)
        for spine in each.spines.values():
            spine.set_visible(False)
