"""Pictures as PNG (ISO/IEC 15948), which every browser shows: enough of the format to write one."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

from cortex_compute.errors import ShapeError


def png(pixels: Any) -> bytes:
    """The file for bytes (h, w) or (h, w, 3); a `ShapeError` for anything else.

    The rows are filtered by the pixel to the left (photographs) or not (drawings), whichever is shorter.
    """
    if pixels.dtype != np.uint8 or pixels.shape[2:] not in ((), (3,)) or pixels.ndim < 2 or not pixels.size:
        told = f"{pixels.dtype} {list(pixels.shape)}"
        raise ShapeError(f"{told} is no picture: expected uint8 (h, w) or (h, w, 3)")
    height, width = pixels.shape[:2]
    bytes_of_pixel = pixels.size // (height * width)
    plain_rows = pixels.reshape(height, -1)
    left_rows = plain_rows.copy()
    left_rows[:, bytes_of_pixel:] -= plain_rows[:, :-bytes_of_pixel]
    packed = [
        zlib.compress(np.insert(rows, 0, kind, axis=1).tobytes())
        for kind, rows in ((0, plain_rows), (1, left_rows))
    ]
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if bytes_of_pixel == 1 else 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", min(packed, key=len)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def as_bytes(images: Any) -> Any:
    """Numbers as bytes 0..255: bytes as they are, numbers within 0..1 scaled, others from the lowest to the
    highest of all.  NaN becomes 0."""
    if images.dtype == np.uint8:
        return images
    values = images.astype(np.result_type(images.dtype, np.float32))
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if low < 0 or high > 1:
        values = (values / 2 - low / 2) / max(high / 2 - low / 2, 1e-30)  # halves do not overflow
    return np.rint(255 * np.clip(np.nan_to_num(values, nan=0.0), 0, 1)).astype(np.uint8)
