"""What a report takes from summary.json, checked: a file of another form is an error with its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cortex_compute.errors import CheckpointError


def check_summary(summary: Mapping[str, Any], path: Path) -> None:
    """Raises `CheckpointError` where an entry is not what a run writes; each may be absent."""
    for name, (is_one, expected) in ENTRIES.items():
        if summary.get(name) is not None and not is_one(summary[name]):
            told = f"{name} is {summary[name]!r:.80}; expected {expected}"
            raise CheckpointError(f"{path / 'summary.json'} is damaged: {told}. Train again, or remove it")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_best(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _is_number(value.get("epoch"))
        and _is_text(value.get("monitor"))
        and (value.get("value") is None or _is_number(value["value"]))
    )


def _is_data(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    counts, notes = value.get("examples", {}), value.get("notes", [])
    return _are_numbers(counts) and isinstance(notes, list) and all(map(_is_text, notes))


def _are_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(x is None or _is_number(x) for x in value.values())


NUMBER, TEXT = (_is_number, "a number"), (_is_text, "text")
ENTRIES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "parameters": NUMBER,
    "seconds": NUMBER,
    "epochs": NUMBER,
    "best": (_is_best, "epoch, monitor and value"),
    "stopped": TEXT,
    "backend": TEXT,
    "command": TEXT,
    "command_why": TEXT,
    "memory": (_are_numbers, "numbers of bytes"),
    "data": (_is_data, "examples (numbers by part) and notes (texts)"),
    "environment": (lambda value: isinstance(value, dict), "facts by name"),
}
