"""A picture of what augmentation does: each line an example, as it is and as the first epochs see it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_datasets.augment.draw import Array

if TYPE_CHECKING:
    from PIL.Image import Image

GAP = 4  # white pixels around each picture
SMALLEST = 64  # smaller pictures are enlarged by whole factors, so that single pixels show


def sheet(source: Any, augmented: Any, stream: str, count: int = 8, versions: int = 7) -> Image:
    """The first ``count`` examples, and beside each what epochs 0 .. versions - 1 of ``augmented`` see of it.

    ``stream`` names pictures (height, width, channels): one channel is grey, of three or more the first three
    are red, green and blue.  Numbers outside of 0..1 are brought into it, the lowest black and the highest
    white.  Raises DataError for a stream of another shape, or where Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise DataError("a sheet of pictures needs Pillow: pip install 'cortex-nn[datasets]'") from None
    shape = source.streams[stream].shape
    if len(shape) != 3:
        raise DataError(
            f"stream {stream!r} holds no pictures: its shape is {list(shape)}, not height, width, channels"
        )
    rows = np.arange(min(count, len(source)))
    columns = [_pictures(source, stream, rows, 0)]
    columns += [_pictures(augmented, stream, rows, epoch) for epoch in range(versions)]
    return Image.fromarray(_page(np.stack(columns, axis=1)))


def _pictures(source: Any, stream: str, rows: Array, epoch: int) -> Array:
    out = np.empty((len(rows), *source.streams[stream].shape), np.float32)
    source.gather(rows, {stream: out}, epoch=epoch)
    return out


def _page(pictures: Array) -> Array:
    """(lines, columns, height, width, channels) -> uint8 (height, width, 3) of the whole page."""
    low, high = min(0.0, pictures.min()), max(1.0, pictures.max())
    bytes_ = np.rint((pictures - low) * (255 / (high - low))).astype(np.uint8)
    bytes_ = bytes_[..., [0, 0, 0] if bytes_.shape[-1] < 3 else [0, 1, 2]]
    factor = math.ceil(SMALLEST / max(bytes_.shape[2:4]))
    bytes_ = bytes_.repeat(factor, axis=2).repeat(factor, axis=3)
    framed = np.pad(bytes_, ((0, 0), (0, 0), (GAP, GAP), (GAP, GAP), (0, 0)), constant_values=255)
    lines, columns, height, width, _ = framed.shape
    return framed.transpose(0, 2, 1, 3, 4).reshape(lines * height, columns * width, 3)
