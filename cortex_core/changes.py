"""What watches over eager numbers: changes in place, so that no gradient reads what is gone, and NaN.

A change is kept by the memory that it touched, shared by all views of it, with a serial number from the
counter that numbers nodes: a node recorded before the change that now reads that memory reads wrong numbers.
Nothing is stored when an op is recorded.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextvars import ContextVar, Token
from typing import Any, NoReturn

import numpy as np

from cortex_compute.errors import GradientError, NotFiniteError
from cortex_core.modes import user_line
from cortex_core.ops.array import Node, next_serial


class Change:
    """The last change of a piece of memory: when, and the line that made it."""

    __slots__ = ("line", "owner", "serial")
    line: str
    owner: Any
    serial: int


CHANGES: dict[int, Change] = {}
"""By the id of the array that owns the memory, as long as that lives."""

READING: ContextVar[Node | None] = ContextVar("the node whose gradient is computed", default=None)


class Reading:
    """Inside, the gradient rule of a node runs; None: code that reads what it makes itself."""

    __slots__ = ("_node", "_token")

    def __init__(self, node: Node | None) -> None:
        self._node = node

    def __enter__(self) -> None:
        self._token: Token[Node | None] = READING.set(self._node)

    def __exit__(self, *error: object) -> None:
        READING.reset(self._token)


def owner(array: Any) -> Any:
    """The array whose memory this one lies in; over another library's memory it is the first array."""
    base = array.base
    return base if isinstance(base, np.ndarray) else array


def apart(array: Any, others: Sequence[Any]) -> Any:
    """``array``, or a copy where it may share memory with one of ``others``."""
    return array.copy() if any(np.may_share_memory(array, other) for other in others) else array


def note(array: Any, line: str = "") -> int:
    """Says that the memory of ``array`` has new numbers, by the user's ``line`` if that is known; the serial
    number of this change.
    """
    whole = owner(array)
    key = id(whole)
    change = CHANGES.get(key)
    if change is None:
        change = CHANGES[key] = Change()
        change.owner = weakref.ref(whole, lambda _: CHANGES.pop(key, None))
    change.serial, change.line = next_serial(), line or user_line()
    return change.serial


def check(operands: Sequence[Any]) -> None:
    """Raises where an operand's numbers have changed since it was made, or since the node was recorded whose
    gradient reads them.
    """
    node = READING.get()
    for x in operands:
        if node is not None and x._extra is not None and x._extra.gone:
            _refuse(x, x._extra.gone)
        array = x._data
        if array is None:
            continue
        base = array.base
        change = CHANGES.get(id(base if isinstance(base, np.ndarray) else array))
        if change is None:
            continue
        seen = -1 if x._extra is None else x._extra.seen
        made = seen if x.node is None else x.node.serial
        if node is not None:
            if change.serial > node.serial and made < change.serial:
                _refuse(x, change.line)
        elif x.node is not None and max(made, seen) < change.serial:
            raise GradientError(
                f"this tensor, {x.type}, shares memory with one that was changed in place at {change.line}; "
                "take the view again after the change, or change a clone()"
            )


def _refuse(x: Any, line: str) -> NoReturn:
    raise GradientError(
        f"backward needs the old numbers of a tensor {x.type} that was changed in place at {line}; "
        "change a clone() of it, or write the result into a new tensor"
    )


def look_for_nan(primitive: Any, operands: Sequence[Any], buffers: Sequence[Any], node: Node | None) -> None:
    """Raises where a result holds NaN; a node is told its line, for the gradient that comes later."""
    line = user_line()
    if node is not None and node.place is None:
        node.place = line  # type: ignore[assignment]
    for array in buffers:
        if array.dtype.kind == "f" and np.isnan(array).any():
            forward = READING.get()
            if forward is None:
                raise NotFiniteError(f"NaN in the result of {primitive}, at {line}{_cause(operands)}")
            made = forward.place or "a line that was run without detect_anomaly()"
            raise NotFiniteError(f"NaN in the gradient of {forward.primitive}, made at {made}")


def _cause(operands: Sequence[Any]) -> str:
    bad = [f"operand {i}" for i, x in enumerate(operands) if not np.isfinite(x._data).all()]
    return f"; not finite already: {', '.join(bad)}" if bad else "; its operands are finite"
