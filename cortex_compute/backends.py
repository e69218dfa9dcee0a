"""Finds backends and chooses one.

A backend is an entry point of the group ``cortex.backends``: a function without arguments that makes it.
NumPy's is known without one, so that the package works from a source tree.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from inspect import signature
from typing import NamedTuple

from cortex_compute import choices
from cortex_compute.errors import AskedForError, BackendError
from cortex_compute.protocol import Backend
from cortex_compute.threads import threads

GROUP = "cortex.backends"
BUILT_IN = {
    "cupy": "cortex_gpu:create",
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
    """The backend of this name; ``auto`` is the fastest on the CPU that is present.

    ``NAME:1`` is the backend on its second device.  Each is made once, and anew for another number of threads
    or other `choices`.

    A `BackendError` says why a backend cannot be had, and which ones can.
    """
    if not isinstance(name, str):
        raise BackendError(f"backend is {name!r:.40}; expected a name: {', '.join(_known())}, or auto")
    if name == "auto":
        name = next((n for n in FASTEST_FIRST if _present(n)), FASTEST_FIRST[-1])
    kind, colon, device = name.partition(":")
    place = BUILT_IN.get(kind) or _known().get(kind)  # asking what is installed takes a while
    if place is None:
        raise BackendError(_unknown(kind, bool(colon)))
    if colon and not device.isdecimal():
        raise BackendError(f"backend {name!r}: after the colon stands the number of a device, from 0")
    try:
        return _create(place, threads(), choices.given(), *([int(device)] if device else []))
    except Exception as error:  # a missing library, an unfit driver: whatever it is, the backend is absent
        usable = [row.name for row in available() if row.present]
        raise BackendError(f"backend {name}: {error}; usable here: {', '.join(usable) or 'none'}") from error


def _unknown(kind: str, numbered: bool) -> str:
    if kind == "auto":
        return "'auto' has no device of a number: name the backend, as in cupy:1"
    from difflib import get_close_matches

    known = _known()
    near = get_close_matches(kind.lower(), known, 1) or ["cupy"] * (kind.lower() in ("cuda", "gpu"))
    meant = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown backend {kind!r}; known are {', '.join(known)}, and auto.{meant}"


def expect_choices(backend: Backend, **given: object) -> None:
    """A `BackendError` for a choice, other than the default, that this backend does not have."""
    for choice, value in given.items():
        default = getattr(choices.Choices(), choice)
        if value not in (None, default) and choice not in backend.choices:
            raise BackendError(
                f"{choice} is a choice of the backend cupy; {backend.name} has none such: leave it out, or "
                "ask for cupy"
            )


def available() -> list[Row]:
    """All known backends, present or not."""
    return [_row(name) for name in _known()]


def _known() -> dict[str, str]:
    """Name -> ``module:function``: what is built in, and what else is installed."""
    from importlib.metadata import entry_points

    return BUILT_IN | {e.name: e.value for e in entry_points(group=GROUP) if e.name not in BUILT_IN}


@cache
def _create(place: str, threads: int, given: object, *device: int) -> Backend:
    module, _, function = place.partition(":")
    create: Callable[..., Backend] = getattr(import_module(module), function)
    if device and not signature(create).parameters:
        raise BackendError("it has one device, without a number")
    return create(*device)


@cache
def _present(name: str) -> bool:
    try:
        _create(BUILT_IN[name], threads(), choices.given())
    except AskedForError:
        raise
    except Exception:  # see get
        return False
    return True


def _row(name: str) -> Row:
    try:
        backend = _create(_known()[name], threads(), choices.given())
        return Row(name, True, backend.describe())
    except Exception as error:  # see get
        kind = "" if isinstance(error, BackendError) else f"{type(error).__name__}: "
        return Row(name, False, {}, f"{kind}{error}")
