"""Where the kit puts an array on a device: with any strides, in poisoned memory, between guards.

All bytes that belong to no element are 0xFF before a run and must be so afterwards.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from cortex_compute.protocol import Buffer, Device, Layout, Stream
from cortex_compute.types import TensorType, contiguous_strides, uint8

GUARD = 64  # bytes before and after
POISON = 0xFF  # NaN in every floating type, -1 in every signed integer


class Placed:
    """A type laid into device memory with given strides (in elements; None: row-major)."""

    def __init__(
        self,
        device: Device,
        type: TensorType,
        strides: tuple[int, ...] | None = None,
        over: Placed | None = None,
    ) -> None:
        self.type = type
        self.strides = contiguous_strides(type.shape) if strides is None else strides
        reach = [(n - 1) * s for n, s in zip(type.shape, self.strides)]
        low, high = sum(min(0, r) for r in reach), sum(max(0, r) for r in reach)
        item = type.dtype.itemsize
        span = 0 if 0 in type.shape else (high - low + 1) * item
        if over is None:
            self.nbytes = 2 * GUARD + span
            self.offset = GUARD - low * item
            self.buffer: Buffer = device.empty(self.nbytes)
        else:
            self.nbytes, self.offset, self.buffer = over.nbytes, over.offset, over.buffer
        self.array = self.buffer.view(type, self.offset, strides)

    @property
    def layout(self) -> Layout:
        dense = 0 in self.type.shape or self.strides == contiguous_strides(self.type.shape)
        return Layout() if dense else Layout(self.strides)

    def poison(self, stream: Stream) -> None:
        """Fills the whole memory, guards included."""
        stream.copy(np.full(self.nbytes, POISON, np.uint8), self._bytes())

    def write(self, stream: Stream, values: np.ndarray) -> None:
        """Poisons, then writes the elements."""
        self.poison(stream)
        stream.copy(values, self.array)

    def read(self, stream: Stream) -> tuple[np.ndarray, bool]:
        """The elements, and whether all other bytes are still as they were poisoned."""
        raw = np.empty(self.nbytes, np.uint8)
        stream.copy(self._bytes(), raw)
        stream.synchronize()
        values = self._elements(raw).copy()
        clean = np.full(self.nbytes, POISON, np.uint8)
        self._elements(clean)[...] = values
        return values, raw.tobytes() == clean.tobytes()

    def _bytes(self) -> Any:
        return self.buffer.view(TensorType((self.nbytes,), uint8))

    def _elements(self, raw: np.ndarray) -> np.ndarray:
        item = self.type.dtype.itemsize
        start = raw[self.offset :] if math.prod(self.type.shape) else raw[:0]
        usable = start[: len(start) // item * item].view(self.type.dtype.storage)
        return as_strided(usable, self.type.shape, [s * item for s in self.strides])


def turned(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Column-major strides."""
    return tuple(reversed(contiguous_strides(tuple(reversed(shape)))))


def spaced(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a part of a larger array: a row is followed by three elements of something else."""
    return contiguous_strides((*shape[:-1], shape[-1] + 3)) if shape else ()


def backwards(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Every second element of an array, from the end."""
    return tuple(-2 * s for s in contiguous_strides(shape))
