"""The settings of eager code that hold for a stretch of it: whether ops are recorded, and who watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ContextDecorator
from contextvars import ContextVar, Token
from typing import Any, NamedTuple


class Mode(NamedTuple):
    """``recording``: ops on tensors that require gradients are recorded.  ``anomaly``: every result is looked
    at for NaN.  ``watch`` is called with each node that is made.
    """

    recording: bool = True
    anomaly: bool = False
    watch: Callable[[Any], None] | None = None


PLAIN = Mode()
MODE: ContextVar[Mode] = ContextVar("MODE", default=PLAIN)


class mode(ContextDecorator):
    """Inside, the named settings are changed; also a decorator."""

    def __init__(self, **changes: Any) -> None:
        self.changes = changes
        self._tokens: list[Token[Mode]] = []

    def __enter__(self) -> None:
        self._tokens.append(MODE.set(MODE.get()._replace(**self.changes)))

    def __exit__(self, *error: object) -> None:
        MODE.reset(self._tokens.pop())


def no_grad() -> mode:
    """Ops inside are not recorded.  A context manager, or a decorator."""
    return mode(recording=False)


def enable_grad() -> mode:
    """Ops inside are recorded, also within `no_grad`."""
    return mode(recording=True)


class set_grad_enabled(mode):
    """Ops are recorded, or not, from here on; as a context manager, to its end."""

    def __init__(self, recording: bool) -> None:
        super().__init__(recording=bool(recording))
        super().__enter__()

    def __enter__(self) -> None:
        """It holds already."""


def is_grad_enabled() -> bool:
    """Whether ops are recorded here."""
    return MODE.get().recording


def detect_anomaly() -> mode:
    """A NaN that appears inside, in a result or in a gradient, is an error that names the op and its line."""
    return mode(anomaly=True)


def user_line() -> str:
    """FILE:LINE of the innermost caller outside of the library."""
    for name, line, module in _frames():
        if module.partition(".")[0] not in ("cortex", "cortex_core", "cortex_compute", "contextlib"):
            return f"{name}:{line}"
    return "an unknown line"


def _frames() -> Iterator[tuple[str, int, str]]:
    import sys

    frame: Any = sys._getframe(2)
    while frame is not None:
        yield frame.f_code.co_filename, frame.f_lineno, frame.f_globals.get("__name__", "")
        frame = frame.f_back
