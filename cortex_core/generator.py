"""Where eager random numbers come from: one key, and a number of the draw.

Every draw takes the next stream of the key (seed, 0), so that the same seed and the same calls give the same
numbers, on every backend.  `cortex.trace` puts a source of its own in the place of this one for as long as it
traces; a recomputation (`checkpoint`) puts the one back from which it was computed first.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any, Protocol

import numpy as np


class Source(Protocol):
    """What gives keys: ``next()`` is a key (seed, run), uint64 (2,), and the stream of one draw."""

    def next(self) -> tuple[Any, int]: ...


class Generator:
    """A seed, and how many draws it has given."""

    def __init__(self, seed: int, drawn: int = 0) -> None:
        self.seed, self.drawn = seed, drawn
        self._lock = Lock()

    def next(self) -> tuple[Any, int]:
        with self._lock:  # no two threads get the same draw
            self.drawn += 1
            return np.array([self.seed, 0], np.uint64), self.drawn

    def copy(self) -> Generator:
        """One that gives the same draws from here on."""
        return Generator(self.seed, self.drawn)


_default = Generator(secrets.randbits(64))
_source: ContextVar[Source | None] = ContextVar("source of random keys", default=None)


def manual_seed(seed: int) -> None:
    """Eager random numbers begin anew with ``seed``, a whole number from 0 to 2**64 - 1."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**64:
        raise ValueError(f"manual_seed: {seed!r:.60} is no whole number from 0 to 2**64 - 1")
    _default.seed, _default.drawn = int(seed), 0


def source() -> Source:
    """What the next draw comes from."""
    return _source.get() or _default


def next_key() -> tuple[Any, int]:
    """The key and the stream of the next draw, as `cortex_core.ops.random` takes them."""
    return source().next()


@contextmanager
def drawing_from(other: Source) -> Iterator[None]:
    """Draws inside come from ``other``."""
    token = _source.set(other)
    try:
        yield
    finally:
        _source.reset(token)
