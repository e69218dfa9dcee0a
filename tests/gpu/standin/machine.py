"""The machine that the stand-in plays: its memory, its streams of deferred work, its counters and failures.

Work is run only when somebody waits for it, and streams that need not wait for each other advance in a random
order: a missing wait gives wrong numbers.
"""

from __future__ import annotations

import random
import threading
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from weakref import WeakValueDictionary, finalize

import numpy as np

from tests.gpu.standin.errors import (
    CAPTURE_IMPLICIT,
    CAPTURE_UNSUPPORTED,
    INSUFFICIENT_DRIVER,
    INVALID,
    INVALID_HANDLE,
    NO_DEVICE,
    CUDARuntimeError,
)  # fmt: skip

ALIGNMENT = 512  # bytes, as CuPy's pool
POISON = 0xFF


class Block:
    """A piece of memory that has an address: of the device, or page-locked memory of the host."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        room = np.full(nbytes + ALIGNMENT, POISON, np.uint8)
        start = -room.ctypes.data % ALIGNMENT
        self.bytes = room[start : start + nbytes]
        self.address = room.ctypes.data + start


class Blocks:
    """The live blocks of one kind, found by any address inside."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._blocks: WeakValueDictionary[int, Block] = WeakValueDictionary()

    def new(self, nbytes: int) -> Block:
        block = Block(nbytes)
        insort(self._starts, block.address)
        self._blocks[block.address] = block
        finalize(block, self._forget, block.address).atexit = False
        return block

    def _forget(self, address: int) -> None:
        k = bisect_right(self._starts, address) - 1
        if k >= 0 and self._starts[k] == address and address not in self._blocks:
            del self._starts[k]

    def find(self, address: int, nbytes: int = 0) -> Block | None:
        """The block in which ``nbytes`` from an address lie."""
        k = bisect_right(self._starts, address) - 1
        block = self._blocks.get(self._starts[k]) if k >= 0 else None
        inside = block is not None and address + nbytes <= block.address + max(block.nbytes, 1)
        return block if inside else None


class Work(NamedTuple):
    """Something in a stream's queue: ``ready`` says whether it may run; ``blocks`` stay alive until then."""

    run: Callable[[], None]
    blocks: Sequence[Block] = ()
    ready: Callable[[], bool] = lambda: True


class Queue:
    """A stream's pending work; while it captures, what is enqueued is recorded in ``captured``."""

    def __init__(self) -> None:
        self.pending: deque[Work] = deque()
        self.captured: list[Work] | None = None
        self.thread, self.valid = 0, True  # who captures, and whether nothing forbidden was tried meanwhile


@dataclass
class Machine:
    """What tests may set and read.

    ``missing``: "driver" or "device" where the machine has none.  ``memory``: bytes of device memory.
    """

    seed: int = 0
    missing: str = ""
    count: int = 1
    capability: tuple[int, int] = (8, 0)
    memory: int = 1 << 32
    used: int = 0
    allocations: int = 0
    synchronisations: int = 0
    launches: int = 0
    device: Blocks = field(default_factory=Blocks)
    pinned: Blocks = field(default_factory=Blocks)
    empty: set[int] = field(
        default_factory=set
    )  # addresses of arrays without elements, which may lie anywhere
    queues: dict[int, Queue] = field(default_factory=lambda: {0: Queue()})
    lock: Any = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.thread = threading.local()

    # Streams.

    def queue(self, stream: int) -> Queue:
        """The queue of a stream, by CUDA's pointer."""
        self.present()
        if stream not in self.queues:
            raise CUDARuntimeError(INVALID_HANDLE, f"no stream has the address {stream}")
        return self.queues[stream]

    def outside_capture(self, status: int = CAPTURE_UNSUPPORTED) -> None:
        """An error where this thread captures a stream, whose capture fails with it."""
        me = threading.get_ident()
        inside = [q for q in self.queues.values() if q.captured is not None and q.thread == me]
        for queue in inside:
            queue.valid = False
        if inside:
            raise CUDARuntimeError(status)

    def enqueue(self, stream: int, work: Work) -> None:
        """Defers work; in a capturing stream it is recorded instead."""
        with self.lock:
            queue = self.queue(stream)
            if queue.captured is not None:
                queue.captured.append(work)
                return
            if stream == 0:
                self.outside_capture(CAPTURE_IMPLICIT)
            queue.pending.append(work)

    def drain(self, done: Callable[[], bool]) -> None:
        """Runs pending work, of whatever stream, until a condition holds."""
        with self.lock:
            self.outside_capture()
            self.synchronisations += 1
            while not done():
                able = [q for q in self.queues.values() if q.pending and q.pending[0].ready()]
                if not able:
                    raise RuntimeError("the streams wait for each other, or for an event that nobody records")
                queue = self.random.choice(able)
                for _ in range(self.random.randint(1, 8)):
                    if queue.pending and queue.pending[0].ready():
                        work = queue.pending.popleft()  # which keeps its memory until it has run
                        work.run()

    def synchronize(self, stream: int | None = None) -> None:
        """Waits for a stream, or for all."""
        queues = list(self.queues.values()) if stream is None else [self.queue(stream)]
        self.drain(lambda: not any(q.pending for q in queues))

    # Memory.

    def present(self) -> None:
        """An error where there is no GPU."""
        if self.missing:
            raise CUDARuntimeError(INSUFFICIENT_DRIVER if self.missing == "driver" else NO_DEVICE)

    def touched(self, addresses: Iterable[int]) -> list[Block]:
        """The blocks that a kernel with these pointers touches; an error for the host's memory."""
        return [self.inside(a) for a in addresses if a not in self.empty or self.device.find(a)]

    def inside(self, address: int, nbytes: int = 0) -> Block:
        """The device memory at an address; an error if it is none."""
        block = self.device.find(address, nbytes)
        if block is None:
            raise CUDARuntimeError(INVALID, f"{nbytes} bytes at {address:#x} are no memory of the device")
        return block


MACHINE = Machine()


def reset(**facts: Any) -> Machine:
    """The machine as new, with the given fields."""
    MACHINE.__init__(**facts)  # type: ignore[misc]
    return MACHINE
