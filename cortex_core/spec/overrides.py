"""Overrides: ``train.optimizer.adam.learning_rate=0.01`` replaces one value of a description."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cortex_core.place import OVERRIDE, Place
from cortex_core.registry import (
    INITIALIZERS,
    LAYERS,
    LOSSES,
    METRICS,
    OPTIMIZERS,
    SCHEDULES,
    UNKNOWN,
    Registry,
    nearest,
)
from cortex_core.spec.read import parse
from cortex_core.spec.tree import Mark, Node, Problems, dotted

_STEP = re.compile(r"\.?([A-Za-z_][\w/\-]*)|\.?\[?(\d{1,9})\]?")
_MARK = Mark(OVERRIDE)
_REGISTRIES = {
    "layers": LAYERS,
    "activation": LAYERS,
    "loss": LOSSES,
    "metrics": METRICS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
}

Path = tuple[str | int, ...]


def apply_overrides(root: Node, overrides: Sequence[str], problems: Problems) -> Node:
    """The tree with values replaced.  What names nothing is reported at ``<override>``."""
    for text in overrides:
        path, value = _parse(text, problems)
        if path and value is not None and isinstance(root.value, dict):
            _set(root, path, value, problems)
    return root


def _parse(text: str, problems: Problems) -> tuple[Path, Node | None]:
    name, equals, written = text.partition("=")
    if not equals:
        place = Place(OVERRIDE, None, None, "")
        problems.add(place, f"{text!r:.60} has no '='", "expected PATH=VALUE")
        return (), None
    path = parse_path(name.strip())
    if not path:
        place = Place(OVERRIDE, None, None, "")
        problems.add(place, f"{name!r:.60} is no path", "expected one such as train.epochs or layers[0]")
        return (), None
    faults = Problems()
    value = parse(written, OVERRIDE, faults) if written.strip() else Node(None)
    for fault in faults.sorted():
        problems.add(Place(OVERRIDE, None, None, dotted(path)), fault.found, fault.expected, fault.hint)
        return (), None
    _mark_all(value)
    return path, value


def parse_path(text: str) -> Path:
    """``layers[3].dense.units`` as names and indices; empty where it is no path."""
    path: list[str | int] = []
    at = 0
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None or step.end() == at:
            return ()
        path.append(step[1] if step[1] is not None else int(step[2]))
        at = step.end()
    return tuple(path)


def _mark_all(node: Node) -> None:
    node.mark = _MARK
    node.keys = dict.fromkeys(node.keys, _MARK)
    for _, child in node.children():
        _mark_all(child)


def _set(root: Node, path: Path, value: Node, problems: Problems) -> None:
    """Walks down, makes mappings of short forms on the way, and puts the value in.

    A key that is not there is added: whether it may be there is judged with the rest of the description.
    """
    here = root
    for depth, key in enumerate(path):
        last = depth == len(path) - 1
        if isinstance(key, int):
            inside = _item(here, key, path[:depth], problems)
            if inside is None:
                return
            if last:
                _put(here, key, value)
            here = inside
            continue
        if not _open(here, key, path[:depth], problems):
            return
        if last:
            _put(here, key, value)
        elif key not in here.value or here.value[key].value is None:
            _put(here, key, Node({}, _MARK))
        here = here.value[key]


def _put(owner: Node, key: str | int, value: Node) -> None:
    owner.value[key] = value
    value.parent, value.key = owner, key
    if isinstance(key, str):
        owner.keys = {**owner.keys, key: _MARK}


def _item(node: Node, index: int, path: Path, problems: Problems) -> Node | None:
    if isinstance(node.value, list) and index < len(node.value):
        inside: Node = node.value[index]
        return inside
    place = Place(OVERRIDE, None, None, dotted((*path, index)))
    if isinstance(node.value, list):
        count = len(node.value)
        expected = f"expected an index from 0 to {count - 1}" if count else "it is empty"
        problems.add(place, f"{dotted(path)} has {count} item{'s' if count != 1 else ''}", expected)
    else:
        problems.add(place, f"{dotted(path)} is no list", "expected a name")
    return None


def _open(node: Node, key: str, path: Path, problems: Problems) -> bool:
    """Makes the node a mapping that may have ``key``; False after a report."""
    registry = _registry(path)
    if registry is not None and node.value is not None:
        _unfold(node, registry)
        names = list(node.value) if isinstance(node.value, dict) else []
        if len(names) == 1 and key not in names:
            hint = nearest(key, names) or f"Write {dotted(path)}={{{key}: ...}} to replace it"
            place = Place(OVERRIDE, None, None, dotted((*path, key)))
            problems.add(place, f"{dotted(path)} is '{names[0]}', not '{key}'", "", hint)
            return False
    elif len(path) > 1 and (outer := _registry(path[:-1])) is not None and isinstance(path[-1], str):
        _unfold_main(node, outer, path[-1])
    if node.value is None:
        node.value = {}
    if isinstance(node.value, dict):
        return True
    if node.value is not UNKNOWN:
        place = Place(OVERRIDE, None, None, dotted((*path, key)))
        problems.add(place, f"{dotted(path)} has no fields", "expected a path to one value")
    return False


def _registry(path: Path) -> Registry | None:
    """What is named at a path, such as an optimiser at ``train.optimizer``."""
    if not path:
        return None
    if isinstance(path[-1], int):
        return _REGISTRIES.get(str(path[-2])) if len(path) > 1 else None
    if path[-1].endswith("_initializer"):
        return INITIALIZERS
    return _REGISTRIES.get(path[-1]) if path[-1] not in ("layers", "metrics") else None


def _unfold(node: Node, registry: Registry) -> None:
    """``adam`` becomes ``{adam: }``, ``[dense, 3, {...}]`` becomes ``{dense: {units: 3, ...}}``."""
    if isinstance(node.value, str):
        name, inner = node.value, Node(None, node.mark)
    elif isinstance(node.value, list) and node.value and isinstance(node.value[0].value, str):
        name, inner = node.value[0].value, Node({}, node.mark)
        rest = node.value[1:]
        if rest and isinstance(rest[-1].value, dict):
            inner = rest.pop()
        main = getattr(registry.get(name), "main", None)
        if rest and main:
            inner.value[main] = rest[0]
            rest[0].parent, rest[0].key = inner, main
    else:
        return
    node.value, node.keys = {name: inner}, {name: node.mark}
    inner.parent, inner.key = node, name


def _unfold_main(node: Node, registry: Registry, name: str) -> None:
    """``{dense: 500}`` becomes ``{dense: {units: 500}}``."""
    main = getattr(registry.get(name), "main", None)
    if main and node.value is not None and not isinstance(node.value, dict):
        inner = Node(node.value, node.mark)
        node.value, node.keys = {main: inner}, {main: node.mark}
        inner.parent, inner.key = node, main
