"""A description as it was written: plain data in which every key and value knows its place."""

from __future__ import annotations

import numbers
import os
from collections.abc import Iterator, Mapping
from typing import Any

from cortex_compute.frozen import frozen
from cortex_core.place import DICT, Place, Problem
from cortex_core.registry import UNKNOWN, Fault, Unknown, named_data

MAX_DEPTH = 64
MAX_NODES = 500_000  # in a file
MAX_VALUES = 5_000_000  # in a dict, which is in memory already


@frozen
class Mark:
    """A spot in a file; no line where there is no file."""

    file: str = DICT
    line: int | None = None
    column: int | None = None


NOWHERE = Mark()


class Node:
    """A value: a scalar, a list of nodes or a mapping of names to nodes; ``keys`` are the keys' own spots."""

    __slots__ = ("key", "keys", "mark", "parent", "scope", "value")

    def __init__(self, value: Any, mark: Mark = NOWHERE, keys: dict[str, Mark] | None = None) -> None:
        self.value = value
        self.mark = mark
        self.keys = keys or {}
        self.parent: Node | None = None
        self.key: str | int = ""
        self.scope: Any = None  # of a value that was put in for $name: where the names in it are looked up
        for key, child in self.children():
            if child.parent is None:  # a value put in for $name stays where it was written
                child.parent, child.key = self, key

    def children(self) -> Iterator[tuple[str | int, Node]]:
        """Names or indices, and the nodes there."""
        if isinstance(self.value, dict):
            yield from self.value.items()
        elif isinstance(self.value, list):
            yield from enumerate(self.value)

    @property
    def path(self) -> tuple[str | int, ...]:
        """The path from the root of the description."""
        keys: list[str | int] = []
        node = self
        while node.parent is not None:
            keys.append(node.key)
            node = node.parent
        return tuple(reversed(keys))

    def place(self, *, at_key: str | None = None, path: tuple[str | int, ...] | None = None) -> Place:
        """Where this stands, or where its key ``at_key`` stands; ``path`` says it in other words."""
        mark = self.mark if at_key is None else self.keys.get(at_key, self.mark)
        own = self.path if at_key is None else (*self.path, at_key)
        return Place(mark.file, mark.line, mark.column, dotted(own if path is None else path))

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def seen_from(self, scope: Any) -> Node:
        """The same value and place; names in it are looked up in ``scope``, wherever it is put in."""
        if self.scope is not None:
            return self
        value: Any = self.value
        if isinstance(value, dict):
            value = {key: child.seen_from(scope) for key, child in value.items()}
        elif isinstance(value, list):
            value = [child.seen_from(scope) for child in value]
        copy = Node(value, self.mark, self.keys)
        copy.parent, copy.key, copy.scope = self.parent, self.key, scope
        return copy

    def moved(self, mark: Mark) -> Node:
        """The same value, all of it at another spot."""
        value: Any = self.value
        if isinstance(value, dict):
            value = {key: child.moved(mark) for key, child in value.items()}
        elif isinstance(value, list):
            value = [child.moved(mark) for child in value]
        return Node(value, mark)

    def has_unknown(self) -> bool:
        """Whether something in here could not be read."""
        return self.value is UNKNOWN or any(child.has_unknown() for _, child in self.children())

    def at(self, path: tuple[str | int, ...]) -> Node:
        """The node at a path from here, or the last one on the way that exists."""
        node = self
        for key in path:
            children: Any = node.value
            inside = key in children if isinstance(children, dict) else False
            if isinstance(children, list) and isinstance(key, int):
                inside = key < len(children)
            if not inside:
                break
            node = children[key]
        return node


def dotted(path: tuple[str | int, ...]) -> str:
    """A path as people write it: ``layers[3].dense.units``."""
    text = ""
    for key in path:
        name = f"[{key}]" if isinstance(key, int) else f".{printable(key)}"
        text += name
    return text.removeprefix(".")


def printable(text: str) -> str:
    """A key, short and on one line."""
    safe = text if text.isprintable() else repr(text)[1:-1]
    return safe if len(safe) <= 60 else safe[:57] + "..."


class Problems:
    """Collects problems; the same one (a block that is used twice) only once."""

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, place: Place, found: str, expected: str = "", hint: str = "") -> None:
        """Adds one."""
        self._found[Problem(place.path, found, expected, hint, place)] = None

    def at(self, node: Node, found: str, expected: str = "", hint: str = "") -> None:
        """Adds one that stands at a value."""
        self.add(node.place(), found, expected, hint)

    def at_key(self, node: Node, key: str, found: str, expected: str = "", hint: str = "") -> None:
        """Adds one that stands at a key of a mapping."""
        self.add(node.place(at_key=key), found, expected, hint)

    def fault(self, node: Node, fault: Fault, path: tuple[str | int, ...] | None = None) -> None:
        """Adds a fault that was found in ``node.plain()``; ``path`` is that of the node in other words."""
        shown = None if path is None else (*path, *fault.path)
        if fault.at_key:
            owner = node.at(fault.path[:-1])
            place = owner.place(at_key=str(fault.path[-1]), path=shown)
        else:
            inner = node.at(fault.path)
            place = inner.place(path=shown or (*node.path, *fault.path))
        self.add(place, fault.found, fault.expected, fault.hint)

    def sorted(self) -> list[Problem]:
        """All, in the order of the file."""
        return sorted(self._found, key=lambda p: (p.place.line or 0, p.place.column or 0))


class TooMuch(Exception):
    """The data is deeper or larger than any description."""


def from_python(data: object, problems: Problems) -> Node:
    """The tree of a dict (or of any nested plain data).  Registered instances count as their data."""
    try:
        return _node(data, 0, [0], problems)
    except TooMuch as error:
        problems.add(Place(), str(error))
        return Node(UNKNOWN)


def _node(data: Any, depth: int, count: list[int], problems: Problems) -> Node:
    count[0] += 1
    if depth > MAX_DEPTH:
        raise TooMuch(f"the data nests deeper than {MAX_DEPTH} levels (or contains itself)")
    if count[0] > MAX_VALUES:
        raise TooMuch(f"the data has more than {MAX_VALUES:,} values")
    if isinstance(data, Mapping):
        return Node({str(key): _node(value, depth + 1, count, problems) for key, value in data.items()})
    if isinstance(data, (list, tuple)):
        return Node([_node(value, depth + 1, count, problems) for value in data])
    if data is None or isinstance(data, (bool, int, float, Unknown)):
        return Node(data)
    if isinstance(data, str):
        return Node(str(data).encode("utf-8", "replace").decode())
    if hasattr(data, "kind") and hasattr(type(data), "__dataclass_fields__"):
        return _node(named_data(data), depth, count, problems)
    if isinstance(data, os.PathLike):
        return Node(os.fspath(data))
    if isinstance(data, numbers.Integral):
        return Node(int(data))
    if isinstance(data, numbers.Real):
        return Node(float(data))
    if getattr(data, "shape", None) == () and hasattr(data, "item"):
        return Node(data.item())
    return Node(data)
