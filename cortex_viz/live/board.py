"""What the pages of a training show, and what they ask of it: the two places where threads meet."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from cortex_compute.errors import CheckpointError, CortexError


class Board:
    """Named entries, each with the number of its last change.  One thread writes, any number read.

    A reader asks for what has changed since a number that it was given.  However slow it is, it gets the
    latest of each entry; nothing is queued for it, and the writer waits for nobody.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._entries: dict[str, tuple[int, Any]] = {}
        self._version = 0
        self._closed = False

    def put(self, entries: Mapping[str, Any]) -> None:
        """Sets those of the entries that differ from what is there; all at once, for every reader."""
        with self._changed:
            new = {k: v for k, v in entries.items() if k not in self._entries or self._entries[k][1] != v}
            if new:
                self._version += 1
                self._entries.update({k: (self._version, v) for k, v in new.items()})
                self._changed.notify_all()

    def read(self, since: int = 0) -> tuple[int, dict[str, Any]]:
        """The number of the last change, and the entries that changed after number ``since``."""
        with self._changed:
            since = since if since <= self._version else 0  # a number of another training says nothing here
            return self._version, {k: v for k, (at, v) in self._entries.items() if at > since}

    def wait(self, since: int, seconds: float) -> bool:
        """Until there is more than number ``since``, the board is closed, or the time is up; whether more may
        come."""
        with self._changed:
            self._changed.wait_for(lambda: self._version > since or self._closed, seconds)
            return not self._closed

    def close(self) -> None:
        """Nothing more will be put: whoever waits is told."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Wishes:
    """What pages ask of a training: said by any thread, done by the trainer's, between two steps."""

    def __init__(self) -> None:
        self.pending = self._stop = self._over = False
        self._lock = threading.Lock()
        self._asked: Future[str] | None = None

    def stop(self) -> bool:
        """Asks for the end of the training; whether there still is one."""
        with self._lock:
            if not self._over:
                self.pending = self._stop = True
            return not self._over

    def checkpoint(self) -> Future[str]:
        """Asks for a checkpoint, the same for all who ask before it is there: where it lies, once it is
        written, or the `CortexError` or OSError that kept it from being written."""
        with self._lock:
            wish: Future[str] = self._asked or Future()
            if self._over:
                wish.set_exception(CheckpointError("the training is over"))
            else:
                self._asked, self.pending = wish, True
            return wish

    def grant(self, save: Callable[[], str], stop: Callable[[], None]) -> None:
        """Does what was asked for.

        A checkpoint that fails is its askers' to know: the training goes on.  What else ends it in the
        middle, as Ctrl-C does, leaves them waiting for `end`.
        """
        with self._lock:
            self.pending, wish, stopping = False, self._asked, self._stop
        if wish is not None:
            try:
                wish.set_result(save())
            except (CortexError, OSError) as error:
                wish.set_exception(error)
            with self._lock:
                self._asked = None
        if stopping:
            stop()

    def end(self) -> None:
        """The training is over: nothing is granted any more, and nobody waits."""
        with self._lock:
            self._over, wish, self._asked = True, self._asked, None
        if wish is not None and not wish.done():
            wish.set_exception(CheckpointError("the training is over"))
