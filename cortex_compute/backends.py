"""Finds backends and chooses one.

A backend is an entry point of the group ``cortex.backends``: a function without arguments that makes it.
NumPy's is known without one, so that the package works from a source tree.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import NamedTuple

from cortex_compute.errors import AskedForError, BackendError
from cortex_compute.protocol import Backend
from cortex_compute.threads import threads

GROUP = "cortex.backends"
BUILT_IN = {
    "onednn": "cortex_compute.onednn_backend:create",
    "numpy": "cortex_compute.numpy_backend:create",
}
FASTEST_FIRST = ("onednn", "numpy")


class Row(NamedTuple):
    """A line of ``cortex backends``: the backend's facts, or why it is absent."""

    name: str
    present: bool
    facts: dict[str, str]
    reason: str = ""


def get(name: str = "auto") -> Backend:
    """The backend of this name; ``auto`` is the fastest that is present.

    Each is made once, and anew for another number of threads.

    A `BackendError` says why a backend cannot be had, and which ones can.
    """
    if name == "auto":
        name = next((n for n in FASTEST_FIRST if _present(n)), FASTEST_FIRST[-1])
    place = BUILT_IN.get(name) or _known().get(name)  # asking what is installed takes a while
    if place is None:
        raise BackendError(f"unknown backend {name!r}; known are {', '.join(_known())}, and auto")
    try:
        return _create(place, threads())
    except Exception as error:  # a missing library, an unfit driver: whatever it is, the backend is absent
        usable = [row.name for row in available() if row.present]
        raise BackendError(f"backend {name}: {error}; usable here: {', '.join(usable) or 'none'}") from error


def available() -> list[Row]:
    """All known backends, present or not."""
    return [_row(name) for name in _known()]


def _known() -> dict[str, str]:
    """Name -> ``module:function``: what is built in, and what else is installed."""
    from importlib.metadata import entry_points

    return BUILT_IN | {e.name: e.value for e in entry_points(group=GROUP) if e.name not in BUILT_IN}


@cache
def _create(place: str, threads: int) -> Backend:
    module, _, function = place.partition(":")
    create: Callable[[], Backend] = getattr(import_module(module), function)
    return create()


@cache
def _present(name: str) -> bool:
    try:
        _create(BUILT_IN[name], threads())
    except AskedForError:
        raise
    except Exception:  # see get
        return False
    return True


def _row(name: str) -> Row:
    try:
        backend = _create(_known()[name], threads())
        return Row(name, True, backend.describe())
    except Exception as error:  # see get
        kind = "" if isinstance(error, BackendError) else f"{type(error).__name__}: "
        return Row(name, False, {}, f"{kind}{error}")
