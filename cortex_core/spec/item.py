"""One named thing of a description (a layer, a loss, a metric) in any of the four ways to write it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from cortex_core.place import Place
from cortex_core.registry import UNKNOWN, Fault, Invalid, build, nearest, unfold
from cortex_core.spec.tree import Node, Problems, dotted

Path = tuple[str | int, ...]


@dataclass
class Item:
    """A named thing: its kind, and the nodes of its fields by name; ``common`` are those of its place.

    ``kind`` is empty where it could not be read.  ``home`` is the node with the fields, for their keys.
    """

    node: Node
    kind: str
    fields: dict[str, Node]
    common: dict[str, Node]
    home: Node
    place: Place

    @property
    def path(self) -> Path:
        """The path of the item, down to its kind: ``layers[3].dense``."""
        return (*self.node.path, self.kind)

    def fault(self, fault: Fault, problems: Problems) -> None:
        """Reports a fault whose path begins with the name of a field."""
        name = str(fault.path[0]) if fault.path else ""
        node = self.fields.get(name) or self.common.get(name)
        shown = (*self.path, *fault.path)
        if node is None:
            problems.add(replace(self.place, path=dotted(shown)), fault.found, fault.expected, fault.hint)
        elif fault.at_key and len(fault.path) == 1:
            place = self.home.place(at_key=name, path=shown)
            problems.add(place, fault.found, fault.expected, fault.hint)
        else:
            inner = replace(fault, path=fault.path[1:])
            own = node.path[: len(self.node.path)] == self.node.path
            problems.fault(node, inner, path=(*self.path, name) if own else None)

    def adopt(self, fields: Collection[str], common: Collection[str]) -> None:
        """Takes ``idx: a`` for ``id: a``, so that nothing follows from the misspelling, which is reported."""
        known = [*fields, *common]
        for given, node in self.fields.items():
            if given not in fields:
                meant = nearest(given, known)
                name = next((name for name in common if f"'{name}'" in meant), None)
                if name is not None:
                    self.common.setdefault(name, node)

    def build(self, cls: type[Any], common: Collection[str], problems: Problems) -> Any:
        """The instance of a registered class from the fields, or None and the problems."""
        given = {name: UNKNOWN if n.has_unknown() else n.plain() for name, n in self.fields.items()}
        try:
            return build(cls, given, common)
        except Invalid as invalid:
            for fault in invalid.faults:
                self.fault(fault, problems)
        return None

    def common_value(self, name: str, kind: Any, default: Any, problems: Problems) -> Any:
        """A value of ``common``, read by a kind; UNKNOWN where it is wrong."""
        node = self.common.get(name)
        if node is None:
            return default
        if node.has_unknown():
            return UNKNOWN
        try:
            return kind.read(node.plain())
        except Invalid as invalid:
            for fault in invalid.faults:
                self.fault(fault.under(name), problems)
        return UNKNOWN


def read_item(
    node: Node, main_of: Callable[[str], str | None], common: Collection[str], problems: Problems
) -> Item:
    """Unfolds a node into an item; an unreadable one has an empty kind and what common fields it shows."""
    if node.value is UNKNOWN:
        return Item(node, "", {}, {}, node, node.place())
    try:
        written = unfold(node.plain(), main_of)
    except Invalid as invalid:
        for fault in invalid.faults:
            problems.fault(node, fault)
        home = _home(node)
        fields: dict[str, Node] = home.value if home is not None else {}
        return Item(node, "", {}, {k: n for k, n in fields.items() if k in common}, node, node.place())
    home = node.at(written.path)
    if isinstance(node.value, list) and isinstance(node.value[-1].value, dict):
        home = node.value[-1]
    nodes = {name: node.at(written.paths.get(name, (*written.path, name))) for name in written.fields}
    own = {name: n for name, n in nodes.items() if name not in common}
    shared = {name: n for name, n in nodes.items() if name in common}
    return Item(node, written.name, own, shared, home, _kind_place(node, written.name))


def _kind_place(node: Node, kind: str) -> Place:
    path = (*node.path, kind)
    if isinstance(node.value, dict):
        return node.place(at_key=kind)
    return (node.value[0] if isinstance(node.value, list) else node).place(path=path)


def _home(node: Node) -> Node | None:
    """Where the fields of an unreadable item most likely stand."""
    for _, child in node.children():
        if isinstance(child.value, dict):
            return child
    return node if isinstance(node.value, dict) else None
