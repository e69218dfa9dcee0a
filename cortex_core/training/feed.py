"""Batches, read ahead by a thread.

The order of an epoch follows from (seed, epoch) alone, so that a resumed run sees the batches that an
unbroken one would have seen.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Generator, Iterable, Iterator
from queue import SimpleQueue
from typing import NamedTuple

import numpy as np

from cortex_compute.errors import DataError
from cortex_compute.types import dtype
from cortex_core.training.source import Source

DEPTH = 3  # slots between the thread and the trainer
SLOT_BYTES = 1 << 18  # small batches share a slot of this size
STREAM = 0x6F72646572  # "order": apart from the number streams of layers and weights


def order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The rows 0 .. count - 1 in the order of an epoch: Philox with key (seed, "order") and the epoch as
    counter.

    Made from the generator's raw words, which NumPy keeps the same in all versions (it does not promise that
    of ``permutation``).
    """
    words = np.random.Philox(key=[seed, STREAM], counter=[0, 0, epoch, 0]).random_raw(count)
    return np.argsort(words, kind="stable")


class Batch(NamedTuple):
    """The arrays of one batch, valid until the next is asked for, and which rows of the data they are.

    ``number`` counts from 0 in its epoch.
    """

    number: int
    arrays: dict[str, np.ndarray]
    rows: np.ndarray


class Feed:
    """The batches of a source, epoch after epoch.  The last, smaller batch of an epoch is kept.

    ``names``: the streams to read.  ``seed`` None leaves the rows in their order.  The thread reads several
    small batches at once: to wake another thread costs as much as a small step.
    """

    def __init__(self, source: Source, names: list[str], batch_size: int, seed: int | None = None) -> None:
        self.source, self.batch_size, self.seed = source, batch_size, seed
        row = sum(
            dtype(s.dtype).itemsize * math.prod(s.shape) for n, s in source.streams.items() if n in names
        )
        together = max(1, SLOT_BYTES // max(1, row * batch_size))
        self.slot = min(together, len(self)) * batch_size
        self.ring = [
            {n: np.empty((self.slot, *source.streams[n].shape), source.streams[n].dtype) for n in names}
            for _ in range(DEPTH)
        ]

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.source) // self.batch_size)

    def sizes(self) -> list[int]:
        """The sizes that batches have: the full one, and that of a smaller last one."""
        full, rest = divmod(len(self.source), self.batch_size)
        return ([self.batch_size] if full else []) + ([rest] if rest else [])

    def rows(self, epoch: int) -> np.ndarray:
        """The examples in the order of an epoch."""
        count = len(self.source)
        return np.arange(count) if self.seed is None else order(count, self.seed, epoch)

    def batch(self, epoch: int, number: int, names: Iterable[str]) -> Batch:
        """One batch of an epoch again, with these streams, in memory of its own."""
        rows = self.rows(epoch)[number * self.batch_size : (number + 1) * self.batch_size]
        streams = self.source.streams
        arrays = {n: np.empty((len(rows), *streams[n].shape), streams[n].dtype) for n in names}
        self.source.gather(rows, arrays, epoch=epoch)
        return Batch(number, arrays, rows)

    def epoch(self, epoch: int, start: int = 0) -> Generator[Batch, None, None]:
        """The batches of an epoch from batch ``start`` on.  An error of the reading thread is raised here.

        Close the iterator (or exhaust it) before the next is begun: all share one ring of buffers.
        """
        reader = _Reader(self, epoch, self.rows(epoch)[start * self.batch_size :])
        number = start
        try:
            for part, arrays in reader:
                for first in range(0, len(part), self.batch_size):
                    span = slice(first, first + self.batch_size)
                    yield Batch(number, {name: a[span] for name, a in arrays.items()}, part[span])
                    number += 1
        finally:
            reader.close()


Slot = dict[str, np.ndarray]


class _Reader:
    """The thread that fills slots with rows, and the two queues in between."""

    def __init__(self, feed: Feed, epoch: int, rows: np.ndarray) -> None:
        self.source, self.size, self.epoch, self.rows = feed.source, feed.slot, epoch, rows
        self.closed = False
        self.free: SimpleQueue[Slot | None] = SimpleQueue()
        self.filled: SimpleQueue[tuple[np.ndarray, Slot, Slot] | BaseException | None] = SimpleQueue()
        for slot in feed.ring:
            self.free.put(slot)
        self.thread = threading.Thread(target=self._work, name="cortex-feed", daemon=True)
        self.thread.start()

    def _work(self) -> None:
        try:
            for start in range(0, len(self.rows), self.size):
                slot = self.free.get()
                if self.closed or slot is None:
                    return
                rows = self.rows[start : start + self.size]
                arrays = {name: buffer[: len(rows)] for name, buffer in slot.items()}
                self.source.gather(rows, arrays, epoch=self.epoch)
                self.filled.put((rows, arrays, slot))
            self.filled.put(None)
        except BaseException as error:  # raised again where the batches are used
            self.filled.put(error)

    def __iter__(self) -> Iterator[tuple[np.ndarray, Slot]]:
        while (item := self.filled.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            rows, arrays, slot = item
            yield rows, arrays
            self.free.put(slot)

    def close(self) -> None:
        self.closed = True
        self.free.put(None)
        self.thread.join()


def check_sizes(source: Source, batch_size: int, what: str) -> None:
    """Raises `DataError` for data without examples, or with fewer than one batch takes."""
    if len(source) == 0:
        raise DataError(f"{what} has no examples")
    if batch_size > len(source):
        raise DataError(
            f"batch_size is {batch_size}, but {what} has {len(source)} examples; give a batch_size of "
            f"{len(source)} at most"
        )
