"""Large arrays of eager code lie in memory that is used again: pages that are new to the process cost more
than most kernels.

When an array dies, and with it the last view of it, its memory joins a list of its size; the next array of
that size takes it.  What lies idle is bounded.
"""

from __future__ import annotations

import mmap
import weakref
from collections import defaultdict
from threading import RLock
from typing import Any

import numpy as np

LARGE = 1 << 18  # bytes; the allocator itself keeps smaller pieces
IDLE = 1 << 28  # bytes that may lie idle
STEP = 1 << 16  # sizes are multiples of this, so that arrays of about one size meet
HUGE = 1 << 22  # bytes from which pages of two megabytes pay

PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}


class Lease(weakref.ref):  # type: ignore[type-arg]
    """Sees an array die, and knows its memory."""

    __slots__ = ("piece",)
    piece: mmap.mmap


class Pool:
    """Memory by size: what lies idle, and what is leased."""

    def __init__(self) -> None:
        self.idle: defaultdict[int, list[mmap.mmap]] = defaultdict(list)
        self.nbytes = 0  # that lie idle
        self._leases: dict[int, Lease] = {}
        self._lock = RLock()  # an array may die while its thread is in here

    def array(self, shape: tuple[int, ...], storage: np.dtype[Any], nbytes: int) -> np.ndarray:
        """An array over a piece of at least ``nbytes``, until it dies."""
        piece = self._take(-(-nbytes // STEP) * STEP)
        array: np.ndarray = np.ndarray(shape, storage, piece)
        lease = Lease(array, self._give)
        lease.piece = piece
        self._leases[id(lease)] = lease
        return array

    def _take(self, size: int) -> mmap.mmap:
        with self._lock:
            if self.idle[size]:
                self.nbytes -= size
                return self.idle[size].pop()
        piece = mmap.mmap(-1, size, **PRIVATE)
        if size >= HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
            piece.madvise(mmap.MADV_HUGEPAGE)
        return piece

    def _give(self, lease: Lease) -> None:
        with self._lock:
            del self._leases[id(lease)]
            size = len(lease.piece)
            if self.nbytes + size <= IDLE:
                self.idle[size].append(lease.piece)
                self.nbytes += size


POOL = Pool()


def empty(shape: tuple[int, ...], storage: np.dtype[Any]) -> np.ndarray:
    """``np.empty``."""
    nbytes = storage.itemsize
    for n in shape:
        nbytes *= n
    return np.empty(shape, storage) if nbytes < LARGE else POOL.array(shape, storage, nbytes)


def beyond(array: Any) -> Any | None:
    """What an array looks into that is not its own: another array, another library's memory, or None."""
    return None if isinstance(array.base, mmap.mmap) else array.base
