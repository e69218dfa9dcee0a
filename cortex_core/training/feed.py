"""Batches, read ahead by a thread.

The batches of an epoch follow from (seed, epoch) alone, so that a resumed run sees those that an unbroken one
would have seen.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from queue import SimpleQueue
from typing import NamedTuple

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.order import shuffled
from cortex_core.training.pieces import by_length, lengths_of, row_bytes, shapes_of
from cortex_core.training.source import Source

DEPTH = 3  # slots between the thread and the trainer
SLOT_BYTES = 1 << 18  # small batches share a slot of this size
QUICK = 1e-3  # seconds in which a slot should be filled
LENGTHS = 4  # paddings of one source: each needs programs of its own
STREAM = 0x6F72646572  # "order": apart from the number streams of layers and weights
BATCHES = 0x62617463686573  # "batches"


def order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The rows 0 .. count - 1 in the order of an epoch."""
    return shuffled(count, seed, STREAM, epoch)


class Batch(NamedTuple):
    """The arrays of one batch, valid until the next is asked for, and which rows of the data they are.

    ``number`` counts from 0 in its epoch; ``length`` is the padded length of its examples, None where all
    examples of the data have one shape.
    """

    number: int
    arrays: dict[str, np.ndarray]
    rows: np.ndarray
    length: int | None = None

    @property
    def size(self) -> tuple[int, int | None]:
        """How many examples, and their padded length: what a program is made for."""
        return len(self.rows), self.length


class Plan(NamedTuple):
    """The batches of an epoch: number k has ``rows[starts[k] : starts[k + 1]]``, padded to ``lengths[k]``."""

    rows: np.ndarray
    starts: np.ndarray
    lengths: list[int | None]


class Feed:
    """The batches of a source, epoch after epoch.

    ``names``: the streams to read.  ``seed`` None leaves the rows in their order.  A batch has examples of
    one padded length.  No example is left out: the last batch (of each length) may be smaller.  ``waited``
    counts the seconds in which batches were waited for.

    With ``side_by_side`` the examples are parts of one long sequence, in order, of which a batch reads as
    many places side by side as it has examples: example i of a batch goes on where example i of the batch
    before ended.  What is left over at the end is not read.

    The thread reads several small batches at once, where that is quick: to wake another thread costs as much
    as a small step.
    """

    def __init__(
        self,
        source: Source,
        names: list[str],
        batch_size: int,
        seed: int | None = None,
        side_by_side: bool = False,
    ) -> None:
        self.source, self.names, self.batch_size, self.seed = source, names, batch_size, seed
        self.groups = by_length(source)
        self.side_by_side = side_by_side
        if side_by_side:
            length, rows = self.groups[0]
            if len(self.groups) > 1 or len(rows) < batch_size:
                needs = f"{batch_size} examples (batch_size) of one length at least"
                raise DataError(f"a stateful layer needs {needs}; there are {len(source)}")
            self.groups = [(length, rows[: len(rows) // batch_size * batch_size])]
        if len(self.groups) > LENGTHS:
            raise DataError(f"the data has examples of {len(self.groups)} padded lengths; {LENGTHS} at most")
        longest = self.groups[-1][0]
        row = row_bytes(source, names, longest)
        self.together = min(max(1, SLOT_BYTES // max(1, row * batch_size)), len(self))
        count = min(self.together * batch_size, len(source))
        self.ring = [
            {
                name: np.empty(count * math.prod(shape), source.streams[name].dtype)
                for name, shape in shapes_of(source, names, longest).items()
            }
            for _ in range(DEPTH)
        ]
        self.waited = 0.0
        self._planned: tuple[int, Plan] | None = None

    def __len__(self) -> int:
        """Batches in an epoch."""
        return sum(-(-len(rows) // self.batch_size) for _, rows in self.groups)

    @property
    def examples(self) -> int:
        """Examples in an epoch."""
        return sum(len(rows) for _, rows in self.groups)

    def sizes(self) -> list[tuple[int, int | None]]:
        """The sizes that batches have, each with the padded length of the examples: the full one, and that of
        a smaller last one."""
        found = []
        for length, rows in self.groups:
            full, rest = divmod(len(rows), self.batch_size)
            found += [(n, length) for n in ([self.batch_size] if full else []) + ([rest] if rest else [])]
        return found

    def plan(self, epoch: int) -> Plan:
        """The batches of an epoch."""
        if self._planned is None or self._planned[0] != epoch:
            self._planned = epoch, self._plan(epoch)
        return self._planned[1]

    def _plan(self, epoch: int) -> Plan:
        count, size = len(self.source), self.batch_size
        if self.side_by_side:
            rows = np.arange(self.examples).reshape(size, -1).T.reshape(-1)
        else:
            rows = np.arange(count) if self.seed is None else order(count, self.seed, epoch)
        batches: list[np.ndarray] = []
        lengths: list[int | None] = []
        of = lengths_of(self.source)
        for length, _ in self.groups:
            mixed = rows if of is None else rows[of[rows] == length]
            cut = [mixed[start : start + size] for start in range(0, len(mixed), size)]
            batches += cut
            lengths += [length] * len(cut)
        if len(self.groups) > 1 and self.seed is not None:
            turns = shuffled(len(batches), self.seed, BATCHES, epoch)
            batches, lengths = [batches[i] for i in turns], [lengths[i] for i in turns]
        starts = np.cumsum([0, *map(len, batches)])
        return Plan(np.concatenate([np.empty(0, np.intp), *batches]), starts, lengths)

    def examples_before(self, epoch: int, number: int) -> int:
        """How many examples the batches of an epoch before batch ``number`` have."""
        return int(self.plan(epoch).starts[number]) if number else 0

    def batch(self, epoch: int, number: int, names: Iterable[str]) -> Batch:
        """One batch of an epoch again, with these streams, in memory of its own."""
        rows, starts, lengths = self.plan(epoch)
        part, length = rows[starts[number] : starts[number + 1]], lengths[number]
        shapes = shapes_of(self.source, list(names), length)
        arrays = {n: np.empty((len(part), *s), self.source.streams[n].dtype) for n, s in shapes.items()}
        self.source.gather(part, arrays, epoch=epoch)
        return Batch(number, arrays, part, length)

    def epoch(self, epoch: int, start: int = 0) -> Generator[Batch, None, None]:
        """The batches of an epoch from batch ``start`` on.  An error of the reading thread is raised here.

        Close the iterator (or exhaust it) before the next is begun: all share one ring of buffers.
        """
        began = time.perf_counter()
        plan = self.plan(epoch)
        reader = _Reader(self, epoch, plan, start)
        self.waited += time.perf_counter() - began
        try:
            for first, last, arrays in reader:
                base = plan.starts[first]
                for number in range(first, last):
                    span = slice(plan.starts[number] - base, plan.starts[number + 1] - base)
                    rows = plan.rows[plan.starts[number] : plan.starts[number + 1]]
                    part = {name: array[span] for name, array in arrays.items()}
                    yield Batch(number, part, rows, plan.lengths[number])
        finally:
            reader.close()


Slot = dict[str, np.ndarray]
Filled = tuple[int, int, Slot, Slot]  # batches from, batches to, their arrays, and the slot that these lie in


class _Reader:
    """The thread that fills slots with batches, and the two queues in between."""

    def __init__(self, feed: Feed, epoch: int, plan: Plan, start: int) -> None:
        self.feed, self.epoch, self.plan, self.start = feed, epoch, plan, start
        self.closed = False
        self.free: SimpleQueue[Slot | None] = SimpleQueue()
        self.filled: SimpleQueue[Filled | BaseException | None] = SimpleQueue()
        for slot in feed.ring:
            self.free.put(slot)
        self.thread = threading.Thread(target=self._work, name="cortex-feed", daemon=True)
        self.thread.start()

    def _work(self) -> None:
        try:
            first, together = self.start, 1  # the trainer waits for the first batch, and for that one only
            while first < len(self.plan.lengths):
                last = self._run(first, together)
                slot = self.free.get()
                if self.closed or slot is None:
                    return
                began = time.perf_counter()
                arrays = self._fill(slot, first, last)
                self.filled.put((first, last, arrays, slot))
                quick = time.perf_counter() - began < QUICK
                together = min(2 * together, self.feed.together) if quick else max(1, together // 2)
                first = last
            self.filled.put(None)
        except BaseException as error:  # raised again where the batches are used
            self.filled.put(error)

    def _run(self, first: int, most: int) -> int:
        """The end of the batches from ``first`` on, ``most`` at most, that have one length."""
        lengths = self.plan.lengths
        last = first + 1
        while last < min(first + most, len(lengths)) and lengths[last] == lengths[first]:
            last += 1
        return last

    def _fill(self, slot: Slot, first: int, last: int) -> Slot:
        rows = self.plan.rows[self.plan.starts[first] : self.plan.starts[last]]
        shapes = shapes_of(self.feed.source, self.feed.names, self.plan.lengths[first])
        arrays = {n: slot[n][: len(rows) * math.prod(s)].reshape(len(rows), *s) for n, s in shapes.items()}
        self.feed.source.gather(rows, arrays, epoch=self.epoch)
        return arrays

    def __iter__(self) -> Iterator[tuple[int, int, Slot]]:
        while True:
            began = time.perf_counter()
            item = self.filled.get()
            self.feed.waited += time.perf_counter() - began
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            first, last, arrays, slot = item
            yield first, last, arrays
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
