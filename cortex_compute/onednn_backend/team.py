"""The team of OpenMP threads that oneDNN's kernels are made for and run on.

oneDNN asks OpenMP for its number of threads when a primitive is made and, where the primitive does not fix
it, when it runs; that number belongs to the calling thread.  A team does not outlive a fork: in the child its
threads are gone, and the next kernel would wait for them for ever.  One thread waits for nobody.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from functools import partial

from cortex_compute.errors import BackendError
from cortex_compute.numpy_backend.streams import quiet
from cortex_compute.onednn_backend.library import Library


class Fork:
    """Whether this process has had a team, and whether it is a child that has lost it."""

    had = lost = False

    @classmethod
    def in_child(cls) -> None:
        cls.lost = cls.had


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Fork.in_child)


class Team:
    """``size`` threads of one library."""

    def __init__(self, library: Library, size: int) -> None:
        self.size = size if library.openmp else 1
        self.gather = partial(library.set_threads, self.size)  # tells OpenMP, for the calling thread

    def settings(self) -> AbstractContextManager[None]:
        """Gathers the team for what this thread launches.  The context is what NumPy's share needs."""
        if Fork.lost and self.size > 1:
            raise BackendError(
                "this process was forked after oneDNN had started threads, which are gone in the child: "
                "start it with the method 'spawn', or before the first step, or set_threads(1) in it"
            )
        if self.size > 1:
            Fork.had = True
        self.gather()
        return quiet()
