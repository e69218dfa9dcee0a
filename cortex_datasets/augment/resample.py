"""Pictures moved: by whole pixels, which copies, and by affine maps, which interpolate between four pixels.

Both read from a `Bank`, whose last pixel is zero: what lies outside of a picture is read there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Bank:
    """Memory for ``count`` pictures (height, width, channels), float32, and behind them a pixel of zeros."""

    def __init__(self, count: int, shape: tuple[int, int, int]) -> None:
        height, width, channels = shape
        self.pixels = np.zeros((count * height * width + 1, channels), np.float32)
        self.pictures = self.pixels[:-1].reshape(count, *shape)


def inside(index: Array, size: int, fill: str) -> Array:
    """Positions along an axis brought into 0 .. size - 1; with ``fill`` zero, -1 where they lie outside.

    ``reflect`` is that of ``numpy.pad``: the edge is not repeated.
    """
    if fill == "edge":
        return index.clip(0, size - 1)
    if fill == "reflect":
        return mirrored(index, size)
    return np.where((index >= 0) & (index < size), index, -1)


def mirrored(position: Array, size: int) -> Array:
    """Positions folded into 0 .. size - 1 by mirrors that stand on the first and the last pixel."""
    if size == 1:
        return np.zeros_like(position)
    return size - 1 - abs(position % (2 * (size - 1)) - (size - 1))


def chained(index: Array, later: Array) -> Array:
    """The index map ``index`` (samples, size) read through ``later``; -1 stays outside."""
    return np.where(later < 0, -1, np.take_along_axis(index, later.clip(0), axis=1))


def pixel_index(rows: Array, columns: Array, bank: Bank) -> Array:
    """Which pixel of the bank each pixel of the results is.

    ``rows`` (samples, height) and ``columns`` (samples, width) say where the lines of the result lie in the
    picture, -1 for outside.  Result: (samples, height, width).
    """
    (count, height), width = rows.shape, columns.shape[1]
    first = np.arange(count)[:, None] * (height * width)
    index: Array = (first + rows * width)[:, :, None] + columns[:, None, :]
    outside_rows, outside_columns = rows < 0, columns < 0
    zero = len(bank.pixels) - 1
    if outside_rows.any():
        index[outside_rows] = zero
    if outside_columns.any():
        np.copyto(index, zero, where=outside_columns[:, None, :])
    return index


def copy_pixels(bank: Bank, index: Array, out: Array) -> None:
    """``out`` (samples, height, width, channels) = the pixels of the bank at ``index``."""
    flat = out.reshape(index.size, out.shape[-1])
    bank.pixels.take(index.reshape(-1), axis=0, out=flat, mode="clip")  # "raise" would buffer all of it


def identity(count: int) -> Array:
    """``count`` identity maps (count, 3, 3), float64."""
    return np.broadcast_to(np.eye(3), (count, 3, 3)).copy()


class Taps:
    """The four pixels around each place that affine maps read, and their weights, for ``count`` pictures.

    ``corners`` and ``weights``: four arrays (count, height, width).  Memory is taken once: the system would
    map and unmap blocks of this size each time.
    """

    def __init__(self, count: int, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.corners = np.empty((4, count, height, width), np.intp)
        self.weights = np.empty((4, count, height, width), np.float32)
        self.work = np.empty((6, count, height, width), np.float32)
        self.plane = np.empty(count * height * width, np.float32)
        down, right = width * (height > 1), int(width > 1)
        self.steps = (right, down, down + right)

    def aim(self, maps: Array, fill: str) -> None:
        """Where to read: maps (samples, 3, 3), (y, x, 1) of the result from the centre of the picture -> that
        of the place in the picture."""
        n, height, width = len(maps), self.height, self.width
        y, top, bottom, x, left, right = self.work[:, :n]
        _positions(maps[:, 0], height, y)
        _positions(maps[:, 1], width, x)
        _split(y, height, fill, top, bottom)
        _split(x, width, fill, left, right)
        for weight, line, column in zip(self.weights, (top, top, bottom, bottom), (left, right, left, right)):
            np.multiply(line, column, out=weight[:n])
        y *= width
        y += x
        corner = self.corners[0, :n]
        corner[...] = y
        corner += np.arange(n)[:, None, None] * (height * width)
        for other, step in zip(self.corners[1:], self.steps):
            np.add(corner, step, out=other[:n])

    def read(self, pictures: Array, out: Array) -> None:
        """``out`` (samples, height, width, channels) = these pictures, interpolated."""
        n = len(pictures)
        total, term = self.work[0, :n], self.work[1, :n]
        plane = self.plane[: total.size]  # of one channel: single numbers are taken faster than pixels
        for channel in range(out.shape[-1]):
            plane.reshape(total.shape)[...] = pictures[..., channel]
            total.fill(0)
            for corner, weight in zip(self.corners, self.weights):
                plane.take(corner[:n], out=term, mode="clip")
                term *= weight[:n]
                np.add(total, term, out=total)
            out[..., channel] = total


def _positions(line: Array, size: int, out: Array) -> None:
    """Where along an axis of ``size`` pixels each pixel of ``out`` (samples, height, width) is read.

    ``line`` (samples, 3): that line of the maps.
    """
    height, width = out.shape[1:]
    rows = line[:, :1] * (np.arange(height) - (height - 1) / 2) + (line[:, 2:] + (size - 1) / 2)
    columns = line[:, 1:2] * (np.arange(width) - (width - 1) / 2)
    np.add(rows.astype(np.float32)[:, :, None], columns.astype(np.float32)[:, None, :], out=out)


def _split(position: Array, size: int, fill: str, here: Array, following: Array) -> None:
    """Makes of each position the pixel before it, and the weights of that pixel and of the one behind it.

    Where zeros lie outside, the weights are those of tents: of a pair of pixels that a position has left
    behind they reach one at most.
    """
    if fill == "reflect":
        position[...] = mirrored(position, size)
    if fill == "edge":
        np.clip(position, 0, size - 1, out=position)
    np.clip(position, 0, max(size - 2, 0), out=here)
    np.floor(here, out=here)
    np.subtract(position, here, out=following)
    position[...] = here
    np.subtract(1, following, out=here)
    if fill == "zero":
        for weight in (here, following):  # 1 - |distance|; further away than a pixel it is 0
            np.minimum(weight, 2 - weight, out=weight)
            np.maximum(weight, 0, out=weight)
        if size == 1:
            following.fill(0)


def rotation(radians: Array) -> Array:
    """Turns pictures by an angle each, anticlockwise; (samples,) -> maps (samples, 3, 3)."""
    maps = identity(len(radians))
    maps[:, 0, 0] = maps[:, 1, 1] = np.cos(radians)
    maps[:, 0, 1] = np.sin(radians)
    maps[:, 1, 0] = -np.sin(radians)
    return maps


def scaling(factor: Array) -> Array:
    """Enlarges pictures by a factor each."""
    maps = identity(len(factor))
    maps[:, 0, 0] = maps[:, 1, 1] = 1 / factor
    return maps


def shearing(radians: Array) -> Array:
    """Slants pictures: the line at height y moves sideways by y tan(angle)."""
    maps = identity(len(radians))
    maps[:, 1, 0] = np.tan(radians)
    return maps


def translation(rows: Array, columns: Array) -> Array:
    """Moves pictures down and to the right, by pixels and parts of pixels."""
    maps = identity(len(rows))
    maps[:, 0, 2] = -rows
    maps[:, 1, 2] = -columns
    return maps


def radians(degrees: Array) -> Array:
    """Angles in radians."""
    return degrees * (math.pi / 180)
