"""What the pictures share: many small images as one sheet, and how numbers become grey or colour."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.png import as_bytes
from cortex_viz.figure import literal

Array = np.ndarray[Any, Any]
SIGNED = "RdBu_r"  # 0 is white
PIXELS = 16  # of the longer edge of an image in a sheet, at least


def as_pictures(images: Array) -> Array:
    """Images (n, h, w, c) for `imshow`: (n, h, w) or (n, h, w, 3) within 0..1, as `Sprite` shows them.

    Numbers beyond 0..1 are scaled from the lowest to the highest of all; of more channels than 3 the first
    three are shown, of 2 the first.
    """
    channels = images.shape[-1]
    kept = 3 if channels >= 3 else 1
    made = as_bytes(images[..., :kept]) / np.float32(255)
    return np.asarray(made if kept == 3 else made[..., 0])


def finite(values: Array, what: str) -> tuple[Array, str]:
    """Numbers to draw, with gaps (NaN) where they are not finite, and a line that says how many these are,
    empty where there is none.  Raises `DataError` where no number is finite."""
    known = np.isfinite(values)
    if not known.any():
        raise DataError(f"{what}: none of its {values.size:,} numbers is finite, so there is nothing to draw")
    bad = values.size - int(known.sum())
    told = f"{bad:,} of {values.size:,} numbers are not finite" if bad else ""
    return np.where(known, values, np.nan), told


def largest(values: Array) -> float:
    """The largest absolute number, as the end of a scale: 1 where all are 0 or not finite."""
    return float(np.abs(values[np.isfinite(values)]).max(initial=0)) or 1.0


def sheet(images: Array, columns: int, gap: int = 1) -> Array:
    """Images (n, h, w) or (n, h, w, 3) in rows of ``columns``, with NaN between and where none is left.

    Each pixel of small ones becomes several, so that the gaps between them are thin.
    """
    times = max(1, PIXELS // max(images.shape[1:3]))
    h, w = times * images.shape[1], times * images.shape[2]
    rows = -(-len(images) // columns)
    size = (rows * (h + gap) - gap, columns * (w + gap) - gap, *images.shape[3:])
    made = np.full(size, np.nan, np.float32)
    for i, image in enumerate(images):
        y, x = i // columns * (h + gap), i % columns * (w + gap)
        made[y : y + h, x : x + w] = image.repeat(times, axis=0).repeat(times, axis=1)
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


def entitle(axes: Any, title: str) -> None:
    """Above a small picture: lines of others' text."""
    axes.set_title("\n".join(literal(line, 24) for line in title.split("\n")), fontsize=8)


def scale_of_maps(drawing: Any, rows: Any, alpha: float = 1.0) -> None:
    """The bar of colours beside maps in ``rows`` of axes, each of which ends at its own largest number."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    bar = drawing.colorbar(
        ScalarMappable(Normalize(0, 1), "inferno"), ax=rows, alpha=alpha, shrink=0.4, anchor=(0, 0)
    )
    bar.set_label("of each map's largest", fontsize=8)
