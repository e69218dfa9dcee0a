"""What is wrong with a value: faults, and values as clauses of a message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Union

from cortex_compute.frozen import frozen

Path = tuple[Union[str, int], ...]


class Unknown:
    """The value of what could not be read; nothing that follows from it is reported."""

    def __repr__(self) -> str:
        return "unknown"


UNKNOWN = Unknown()


@frozen
class Fault:
    """One mistake, at ``path`` inside the value that was read; ``at_key`` points at the key itself."""

    path: Path
    found: str
    expected: str = ""
    hint: str = ""
    at_key: bool = False

    def under(self, *path: str | int) -> Fault:
        """The same fault, seen from further outside."""
        return replace(self, path=(*path, *self.path))


class Invalid(Exception):
    """Data that a kind cannot read; ``faults`` says why (none, where it follows from an UNKNOWN value)."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{'.'.join(map(str, f.path))}: {f.found}" for f in self.faults))


def shown(value: object) -> str:
    """A value as a short clause of a message: ``'five' is text``."""
    if value is None:
        return "there is no value (null)"
    if isinstance(value, bool):
        return f"{str(value).lower()} is a truth value"
    if isinstance(value, str):
        return f"{clipped(value)} is text"
    if isinstance(value, Mapping):
        return "this is a mapping"
    if isinstance(value, (list, tuple)):
        return f"this is a list of {len(value)}" if len(value) != 1 else "this is a list of one"
    if isinstance(value, (int, float)):
        return f"{clipped(value)} is a number"
    return f"this is a {type(value).__name__}"


def clipped(value: object) -> str:
    """``repr`` of a value, cut to one short line."""
    if isinstance(value, int) and value.bit_length() > 128:
        return "a number of more than 38 digits"
    text = repr(value[:60] if isinstance(value, str) else value)
    return text if len(text) <= 62 else text[:58] + "...'"
