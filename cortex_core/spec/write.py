"""Canonical data as YAML that people like to read, and that reads back to the same data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cortex_core.spec.read import scalar

WIDTH = 100
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./\-]*")
# What YAML 1.1, which other programs may read, takes for something else than text.
_AMBIGUOUS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def to_yaml(data: Mapping[str, Any]) -> str:
    """A description as YAML: one line for each layer, input and option where it fits in 100 columns."""
    return "".join(f"{line}\n" for key, value in data.items() for line in _section(key, value))


def _section(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        yield f"{_text(key)}:"
        for name, inner in value.items():
            yield from _wrapped(f"  {_text(name)}: ", inner)
    elif isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
        yield f"{_text(key)}:"
        for item in value:
            yield from _item(item)
    else:
        yield from _wrapped(f"{_text(key)}: ", value)


def _item(item: Any) -> Iterator[str]:
    if isinstance(item, Mapping) and len(item) == 1:
        ((name, inner),) = item.items()
        yield from _wrapped(f"  - {_text(name)}: ", inner)
    else:
        yield from _wrapped("  - ", item)


def _wrapped(head: str, value: Any, deeper: int = 6, closed: int = 0) -> Iterator[str]:
    """``head`` and the value in flow style; a mapping or list that is too long goes on in the next lines.

    ``closed``: how many characters the caller puts behind the last line.
    """
    line = head + flow(value)
    if len(line) + closed <= WIDTH or not isinstance(value, (Mapping, list, tuple)) or not value:
        yield line
        return
    brackets = "{}" if isinstance(value, Mapping) else "[]"
    line, indent = head + brackets[0], " " * (len(head) - len(head.lstrip()) + deeper)
    parts = list(_parts(value))
    for index, (label, inner) in enumerate(parts):
        end, behind = (brackets[1], closed) if index == len(parts) - 1 else (",", 0)
        part = label + flow(inner) + end
        if line.strip() and len(line) + len(part) + 1 + behind > WIDTH and line != head + brackets[0]:
            yield line.rstrip()
            line = indent
        gap = "" if line.endswith((brackets[0], indent)) else " "
        if len(line) + len(part) + behind > WIDTH:
            start, step = f"{line}{gap}{label}", 4 if line == indent else deeper + 2
            *lines, part = _wrapped(start, inner, step, len(end) + behind)
            yield from lines
            part, line, gap = part + end, "", ""
        line += gap + part
    yield line


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What stands between the brackets: for each part what comes before it, and the part."""
    if isinstance(value, Mapping):
        return ((f"{_text(key)}: ", inner) for key, inner in value.items())
    return (("", inner) for inner in value)


def flow(value: Any) -> str:
    """A value in one line, as an override takes it: `train.data={table: people.csv}`."""
    if isinstance(value, Mapping):
        return f"{{{_joined(value)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{_joined(value)}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return _number(value) if isinstance(value, (int, float)) else _text(value)


def _joined(value: Any) -> str:
    return ", ".join(label + flow(inner) for label, inner in _parts(value))


def _number(value: float) -> str:
    text = repr(value)
    mantissa, e, exponent = text.partition("e")
    # YAML 1.1 reads an exponent only behind a point and with a sign.
    return f"{mantissa}{'' if '.' in mantissa else '.0'}e{exponent}" if e else text


def _text(value: str) -> str:
    if _PLAIN.fullmatch(value) and value.lower() not in _AMBIGUOUS and isinstance(scalar(value), str):
        return value
    return f'"{"".join(map(_character, value))}"'


def _character(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
