"""Two streams: one runs each launch at once, the other on a worker thread.

The second exists so that an ordering mistake shows on a machine without a GPU.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any

import numpy as np

from cortex_compute.protocol import Event, Launch, Stream
from cortex_compute.threads import THREADS

Settings = Callable[[], AbstractContextManager[None]]

BUFFER = 256  # elements; NumPy takes buffers of this size for each operand whose axes it cannot join


@contextmanager
def _set() -> Iterator[None]:
    """NumPy says nothing of infinities and NaN, and allocates next to nothing."""
    with np.errstate(all="ignore"):
        before = np.setbufsize(BUFFER)
        try:
            yield
        finally:
            np.setbufsize(before)


def _kept() -> tuple[ContextVar[Any], Any] | None:
    """The context variable that NumPy 2 keeps its settings in, and what `_set` makes of it.

    Setting that is one assignment.  None for NumPy 1, which keeps them elsewhere.
    """

    def inside() -> dict[ContextVar[Any], Any]:
        with _set():
            return dict(copy_context())

    before = dict(copy_context())
    changed = [(k, v) for k, v in copy_context().run(inside).items() if before.get(k) is not v]
    return changed[0] if len(changed) == 1 else None


KEPT = _kept()


class _Quiet:
    """`_set`, by one assignment."""

    __slots__ = ("_token",)
    variable, value = KEPT or (None, None)

    def __enter__(self) -> None:
        assert self.variable is not None
        self._token = self.variable.set(self.value)

    def __exit__(self, *error: object) -> None:
        assert self.variable is not None
        self.variable.reset(self._token)


quiet: Settings = _Quiet if KEPT else _set


def settings() -> AbstractContextManager[None]:
    """What NumPy's kernels need of the thread that they run in: quiet, and all threads for BLAS."""
    return _with_blas() if THREADS.openmp else quiet()


@contextmanager
def _with_blas() -> Iterator[None]:
    with THREADS.blas(), quiet():
        yield


def _in_order(calls: Sequence[Launch], stream: Stream) -> None:
    for call in calls:
        call(stream)


class InlineStream:
    """Runs each launch before it returns."""

    def __init__(self, settings: Settings = settings) -> None:
        self.active = settings  # a context for launches, which run in this thread

    def launch(self, call: Callable[[], None]) -> None:
        call()

    def copy(self, source: np.ndarray, destination: np.ndarray) -> None:
        np.copyto(destination, source)

    def fetch(self, array: np.ndarray) -> np.ndarray:
        return array.copy()

    def joined(self, calls: Sequence[Launch]) -> Launch:
        return partial(_in_order, calls)

    def record(self) -> DoneEvent:
        return DoneEvent()

    tail = record

    def wait(self, event: Event) -> None:
        event.synchronize()

    def synchronize(self) -> None:
        """Nothing is ever pending."""

    def close(self) -> None:
        """Nothing to end."""


class DoneEvent:
    """An event that has happened."""

    def synchronize(self) -> None:
        """Returns at once."""


class ThreadEvent(threading.Event):
    """An event that the worker sets; waiting for it raises the error of a launch before it."""

    error: BaseException | None = None

    def synchronize(self) -> None:
        self.wait()
        if self.error is not None:
            raise self.error


class WorkerStream:
    """Runs launches in order on a thread of its own.

    After an error in one no more are run until synchronize(), which raises it; so do the events after it.
    """

    def __init__(self, settings: Settings = settings) -> None:
        self.active = settings  # where kernels are built; the worker enters it for each launch
        self._queue: queue.SimpleQueue[Callable[[], None] | ThreadEvent | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="cortex-stream", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (call := self._queue.get()) is not None:
            if isinstance(call, ThreadEvent):
                call.error = self._error
                call.set()
            elif self._error is None:
                try:
                    with self.active():
                        call()
                except BaseException as error:  # handed to whoever synchronizes
                    self._error = error

    def launch(self, call: Callable[[], None]) -> None:
        self._queue.put(call)

    def copy(self, source: np.ndarray, destination: np.ndarray) -> None:
        self._queue.put(lambda: np.copyto(destination, source))

    def fetch(self, array: np.ndarray) -> np.ndarray:
        made = np.empty(array.shape, array.dtype)
        self.copy(array, made)
        return made

    def joined(self, calls: Sequence[Launch]) -> Launch:
        return partial(_in_order, calls)

    def record(self) -> ThreadEvent:
        event = ThreadEvent()
        self._queue.put(event)
        return event

    tail = record

    def wait(self, event: Event) -> None:
        self._queue.put(event.synchronize)

    def synchronize(self) -> None:
        self.record().wait()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def close(self) -> None:
        """Ends the thread after what was launched."""
        self._queue.put(None)
        self._thread.join()
