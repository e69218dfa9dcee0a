"""Many small pictures in one: a page holds them as one PNG, and shows a part of it wherever one is wanted."""

from __future__ import annotations

import base64
import hashlib
import math
from html import escape
from typing import Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.png import as_bytes, png
from cortex_viz.page import plain


class Sprite:
    """Pictures (n, h, w) or (n, h, w, c), c 1 or 3, in rows of ``columns``.

    Floats within 0..1, bytes and booleans are shown as they are; other numbers from the lowest to the highest
    of all.  NaN is black.  With ``size`` the longer edge is shrunk to it, by the mean.  Raises
    DataError for arrays that are no pictures.
    """

    def __init__(self, images: Any, size: int | None = None) -> None:
        cells = _cells(np.asarray(images))
        if size is not None:
            cells = np.rint(shrunk(cells, size)).astype(np.uint8)
        self.count, self.height, self.width = cells.shape[:3]
        self.columns = max(1, math.ceil(math.sqrt(self.count * self.height / self.width)))
        self.rows = -(-self.count // self.columns)
        self._png = png(_sheet(cells, self.columns, self.rows))
        self.name = "sprite-" + hashlib.sha256(self._png).hexdigest()[:12]

    def html(self) -> str:
        """What a page holds once, before the first chart that shows one of the pictures."""
        data = base64.b64encode(self._png).decode()
        return f"<style>.{self.name}{{background-image:url(data:image/png;base64,{data})}}</style>"

    def place(self) -> dict[str, Any]:
        """What a script has to know to show one of the pictures."""
        keys = ("name", "width", "height", "columns", "rows")
        return {key: getattr(self, key) for key in keys}

    def thumb(self, index: int, caption: str, longest: int = 56) -> str:
        """One picture as HTML, enlarged by a whole number to ``longest`` pixels; ``caption`` names it."""
        if not 0 <= index < self.count:
            raise DataError(f"there is no picture {index}: the sprite holds {self.count}")
        scale = max(1, round(longest / max(self.width, self.height)))
        width, height = self.width * scale, self.height * scale
        row, column = divmod(index, self.columns)
        told = escape(plain(caption))
        return (
            f'<span class="thumb {self.name}" role="img" aria-label="{told}" style="width:{width}px;'
            f"height:{height}px;background-size:{self.columns * width}px {self.rows * height}px;"
            f'background-position:{-column * width}px {-row * height}px"></span>'
        )


def _cells(images: Any) -> Any:
    """As bytes (n, h, w, c)."""
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
        raise DataError(
            f"pictures are (n, height, width), or with 1 or 3 channels behind; these are {images.shape}"
        )
    return as_bytes(images)


def shrunk(images: Any, longest: int) -> Any:
    """Images (n, h, w, c) whose longer edge has at most ``longest`` pixels, each the mean of those that it
    stands for, as float32; smaller ones as they are."""
    height, width = images.shape[1:3]
    factor = longest / max(height, width)
    if factor >= 1:
        return images
    made = images.astype(np.float32)
    for axis, edge in ((1, height), (2, width)):
        bounds = np.linspace(0, edge, max(1, round(edge * factor)) + 1).round().astype(int)
        made = np.add.reduceat(made, bounds[:-1], axis)
        made /= np.diff(bounds).reshape([-1 if i == axis else 1 for i in range(4)])
    return made


def _sheet(cells: Any, columns: int, rows: int) -> Any:
    count, height, width, channels = cells.shape
    sheet = np.zeros((rows * columns, height, width, channels), np.uint8)
    sheet[:count] = cells
    sheet = sheet.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    sheet = sheet.reshape(rows * height, columns * width, channels)
    return sheet[..., 0] if channels == 1 else sheet
