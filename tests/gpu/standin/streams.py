"""cupy.cuda.stream and graph: streams, events, capture."""

from __future__ import annotations

import threading
import time
from itertools import count
from typing import Any

from tests.gpu.standin.errors import (
    CAPTURE_INVALIDATED,
    CAPTURE_ISOLATION,
    CAPTURE_UNSUPPORTED,
    CAPTURED_EVENT,
    INVALID_HANDLE,
    CUDARuntimeError,
)  # fmt: skip
from tests.gpu.standin.machine import MACHINE, Queue, Work

_addresses = count(0x5000, 0x10)
_spent = [0.0]  # seconds


def spend(seconds: float) -> None:
    """For work that says how long it took: events see that it is later."""
    _spent[0] += seconds


class Event:
    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        MACHINE.present()
        self.ptr = next(_addresses)
        self.recorded = self.reached = 0  # how often
        self.captured_in: Queue | None = None
        self.timing, self.time = not disable_timing, 0.0

    def record(self, stream: Any = None) -> None:
        stream = get_current_stream() if stream is None else stream
        with MACHINE.lock:
            queue = MACHINE.queue(stream.ptr)
            self.captured_in = None if queue.captured is None else queue
            if self.captured_in is not None:
                return
            self.recorded += 1
            number = self.recorded

            def reach() -> None:
                self.reached, self.time = number, time.perf_counter() + _spent[0]

            MACHINE.enqueue(stream.ptr, Work(reach))

    def synchronize(self) -> None:
        self._outside()
        number = self.recorded
        MACHINE.drain(lambda: self.reached >= number)

    @property
    def done(self) -> bool:
        self._outside()
        MACHINE.outside_capture()
        return self.reached >= self.recorded

    def _outside(self) -> None:
        if self.captured_in is not None:
            raise CUDARuntimeError(CAPTURED_EVENT)


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    """Milliseconds."""
    if not (start_event.timing and end_event.timing and start_event.reached and end_event.reached):
        raise CUDARuntimeError(INVALID_HANDLE)
    return 1e3 * (end_event.time - start_event.time)


class Graph:
    """What was captured, to be enqueued as one piece of work."""

    def __init__(self, works: list[Work]) -> None:
        self._works = works

    @property
    def nodes(self) -> int:
        """How many pieces of work there are; the stand-in's own."""
        return len(self._works)

    def launch(self, stream: Any = None) -> None:
        stream = get_current_stream() if stream is None else stream
        MACHINE.outside_capture()
        MACHINE.launches += 1
        MACHINE.enqueue(stream.ptr, Work(self._run, tuple(b for w in self._works for b in w.blocks)))

    def _run(self) -> None:
        for work in self._works:
            work.run()

    def upload(self, stream: Any = None) -> None:
        """Nothing to prepare."""


class Stream:
    """A stream; those that are not ``non_blocking`` all share the legacy stream's order."""

    null: Stream

    def __init__(
        self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: int | None = None
    ) -> None:
        self.ptr, self.is_non_blocking = 0, non_blocking
        if not null:
            MACHINE.present()
            self.ptr = next(_addresses)
            MACHINE.queues[self.ptr] = Queue() if non_blocking else MACHINE.queues[0]

    def __del__(self) -> None:
        queue = MACHINE.queues.get(self.ptr) if self.ptr else None
        if queue is not None and self.is_non_blocking:  # what is pending is still done, as in CUDA
            name = self.ptr
            queue.pending.append(Work(lambda: MACHINE.queues.pop(name, None) and None))
        elif queue is not None:
            MACHINE.queues.pop(self.ptr, None)

    def __enter__(self) -> Stream:
        _stack().append(self)
        return self

    def __exit__(self, *error: object) -> None:
        _stack().pop()

    def use(self) -> Stream:
        _stack()[-1] = self
        return self

    def synchronize(self) -> None:
        MACHINE.synchronize(self.ptr)

    @property
    def done(self) -> bool:
        MACHINE.outside_capture()
        return not MACHINE.queue(self.ptr).pending

    def record(self, event: Event | None = None) -> Event:
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        with MACHINE.lock:
            queue = MACHINE.queue(self.ptr)
            if event.captured_in is not (None if queue.captured is None else queue):
                raise CUDARuntimeError(CAPTURE_ISOLATION)
            if queue.captured is None:
                number = event.recorded
                MACHINE.enqueue(self.ptr, Work(lambda: None, ready=lambda: event.reached >= number))

    def begin_capture(self, mode: int | None = None) -> None:
        queue = MACHINE.queue(self.ptr)
        if queue is MACHINE.queues[0]:
            raise CUDARuntimeError(CAPTURE_UNSUPPORTED, "the legacy stream cannot be captured")
        if queue.captured is not None:
            raise CUDARuntimeError(CAPTURE_UNSUPPORTED)
        queue.captured, queue.thread, queue.valid = [], threading.get_ident(), True

    def is_capturing(self) -> bool:
        return MACHINE.queue(self.ptr).captured is not None

    def end_capture(self) -> Graph:
        queue = MACHINE.queue(self.ptr)
        if queue.captured is None:
            raise CUDARuntimeError(CAPTURE_UNSUPPORTED, "nothing is being captured")
        works, queue.captured = queue.captured, None
        if not queue.valid:
            raise CUDARuntimeError(CAPTURE_INVALIDATED)
        return Graph(works)


Stream.null = Stream(null=True)


def _stack() -> list[Stream]:
    """The current streams of this thread, the innermost last."""
    thread = MACHINE.thread
    if not hasattr(thread, "streams"):
        thread.streams = [Stream.null]
    return thread.streams


def get_current_stream(device_id: int = -1) -> Stream:
    return _stack()[-1]


def current_ptr() -> int:
    return get_current_stream().ptr
