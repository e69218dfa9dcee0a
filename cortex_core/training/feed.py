"""Batches, read ahead by a thread.

The order of an epoch follows from (seed, epoch) alone, so that a resumed run sees the batches that an
unbroken one would have seen.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.training.source import Source

DEPTH = 4  # batches between the thread and the trainer
STREAM = 0x6F72646572  # "order": apart from the number streams of layers and weights


def order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The rows 0 .. count - 1 in the order of an epoch: Philox with key (seed, "order") and the epoch as
    counter.

    Made from the generator's raw words, which NumPy keeps the same in all versions (it does not promise that
    of ``permutation``).
    """
    words = np.random.Philox(key=[seed, STREAM], counter=[0, 0, epoch, 0]).random_raw(count)
    return np.argsort(words, kind="stable")


@dataclass(frozen=True)
class Batch:
    """The arrays of one batch, valid until the next is asked for; ``index`` counts from 0 in its epoch."""

    index: int
    arrays: dict[str, np.ndarray]
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


class Feed:
    """The batches of a source, epoch after epoch.  The last, smaller batch of an epoch is kept.

    ``names``: the streams to read.  ``seed`` None leaves the rows in their order.
    """

    def __init__(self, source: Source, names: list[str], batch_size: int, seed: int | None = None) -> None:
        self.source, self.batch_size, self.seed = source, batch_size, seed
        size = min(batch_size, len(source))
        self._ring = [
            {n: np.empty((size, *source.streams[n].shape), source.streams[n].dtype) for n in names}
            for _ in range(DEPTH)
        ]

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.source) // self.batch_size)

    def sizes(self) -> list[int]:
        """The sizes that batches have: the full one, and that of a smaller last one."""
        full, rest = divmod(len(self.source), self.batch_size)
        return ([self.batch_size] if full else []) + ([rest] if rest else [])

    def epoch(self, epoch: int, start: int = 0) -> Generator[Batch, None, None]:
        """The batches of an epoch from batch ``start`` on.  An error of the reading thread is raised here.

        Close the iterator (or exhaust it) before the next is begun: all share one ring of buffers.
        """
        count = len(self.source)
        rows = np.arange(count) if self.seed is None else order(count, self.seed, epoch)
        reader = _Reader(self, epoch, rows, start)
        try:
            yield from reader
        finally:
            reader.close()


class _Reader:
    """The thread that fills buffers, and the two queues in between."""

    def __init__(self, feed: Feed, epoch: int, rows: np.ndarray, start: int) -> None:
        self.source, self.size, self.epoch, self.rows = feed.source, feed.batch_size, epoch, rows
        self.start, self.closed = start, False
        self.free: SimpleQueue[Mapping[str, np.ndarray] | None] = SimpleQueue()
        self.filled: SimpleQueue[tuple[Batch, Any] | BaseException | None] = SimpleQueue()
        for buffers in feed._ring:
            self.free.put(buffers)
        self.thread = threading.Thread(target=self._work, name="cortex-feed", daemon=True)
        self.thread.start()

    def _work(self) -> None:
        try:
            for index in range(self.start, -(-len(self.rows) // self.size)):
                buffers = self.free.get()
                if self.closed or buffers is None:
                    return
                rows = self.rows[index * self.size : (index + 1) * self.size]
                arrays = {name: buffer[: len(rows)] for name, buffer in buffers.items()}
                self.source.gather(rows, arrays, epoch=self.epoch)
                self.filled.put((Batch(index, arrays, rows), buffers))
            self.filled.put(None)
        except BaseException as error:  # raised again where the batches are used
            self.filled.put(error)

    def __iter__(self) -> Iterator[Batch]:
        while (item := self.filled.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]
            self.free.put(item[1])

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
