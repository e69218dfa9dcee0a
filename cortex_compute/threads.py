"""How many threads compute: one number that governs BLAS and OpenMP together.

Two pools of threads in one process hinder each other, since each spins while the other one works: NumPy's
OpenBLAS beside GNU OpenMP costs up to a hundredfold.  So once a backend with OpenMP threads is there, BLAS
rests at one thread, and has the others only while a program of the NumPy backend runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from numbers import Integral
from threading import Lock
from typing import Any

from cortex_compute.errors import BackendError

MOST = 1024  # far more, and OpenMP finds no memory for their stacks


class Threads:
    """The number, and who has it.  There is one, for the process."""

    def __init__(self) -> None:
        self.chosen: int | None = None
        self.openmp = False  # whether a backend with OpenMP threads is there
        self._blas: list[Any] = []
        self._running = 0  # programs that have BLAS with all threads
        self._lock = Lock()

    @property
    def count(self) -> int:
        return self.chosen or default()

    def apply(self) -> None:
        """Sets the libraries that are loaded now, OpenMP's only for the calling thread."""
        from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

        libraries = ThreadpoolController().lib_controllers
        with self._lock:
            self._blas = [x for x in libraries if x.user_api == "blas"]
            for x in libraries:
                if x.user_api != "blas" and self.chosen:
                    x.set_num_threads(self.count)
            if self.chosen or self.openmp:
                self._set_blas(1 if self.openmp and not self._running else self.count)

    def _set_blas(self, n: int) -> None:
        """Under the lock.  From version 3.8 on threadpoolctl heeds the first thread that sets OpenBLAS, and
        no other one; here any thread may run a program."""
        for library in self._blas:
            let_go = getattr(library, "clear_controlling_thread", None)
            if let_go is not None:
                let_go(force=True)
            library.set_num_threads(n)
            if let_go is not None:
                let_go()

    @contextmanager
    def blas(self) -> Iterator[None]:
        """Inside, BLAS has all threads where it rests at one."""
        with self._lock:
            self._running += 1
            if self._running == 1:
                self._set_blas(self.count)
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1
                if not self._running:
                    self._set_blas(1)


THREADS = Threads()


def threads() -> int:
    """How many threads compute: what `set_threads` said, else OMP_NUM_THREADS, else one for each core that
    this process may use.
    """
    return THREADS.count


def set_threads(n: int) -> None:
    """Sets the number of threads for the rest of the process.

    Programs that are compiled already keep what their kernels were built for.
    """
    if isinstance(n, bool) or not isinstance(n, Integral) or not 1 <= n <= MOST:
        raise BackendError(f"threads is {n!r:.40}: expected a whole number from 1 to {MOST}")
    THREADS.chosen = n
    THREADS.apply()


def rest_blas() -> None:
    """Says that OpenMP threads are there: BLAS rests at one thread from here on."""
    THREADS.openmp = True
    THREADS.apply()


@cache
def default() -> int:
    """OMP_NUM_THREADS, else the cores that this process may use; read once, as OpenMP does."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # a list holds nested levels
    if first.isdigit() and int(first):
        return min(int(first), MOST)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
