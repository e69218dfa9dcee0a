"""Who takes what: names become ids, every layer gets its sources, circles and dead ends are found."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from cortex_core.place import Place
from cortex_core.registry import LAYERS, nearest
from cortex_core.spec.description import UNKNOWN_SOURCE, InputNode, Named, owner
from cortex_core.spec.expand import Entry, Reference
from cortex_core.spec.tree import Problems

Sources = Mapping[str, tuple[str, ...]]


class Wiring:
    """Looks names up."""

    def __init__(
        self, inputs: Iterable[InputNode], entries: list[Entry], alias: Mapping[str, str], problems: Problems
    ) -> None:
        self.problems = problems
        self.alias = alias
        self.inputs = {node.name for node in inputs}
        self.entries: dict[str, Entry] = {}
        self.ambiguous = False  # two things have one name: what follows from that is not reported
        for entry in entries:
            self._declare(entry)
        for name in (*self.entries, *alias):
            self._declare_outputs(name)

    def _declare(self, entry: Entry) -> None:
        first = self.entries.get(entry.id)
        self.ambiguous |= first is not None or entry.id in self.inputs or entry.id in self.alias
        node = entry.item.common.get("id") or entry.item.node
        if first is not None:
            line = f" (line {first.place.line})" if first.place.line else ""
            found = f"'{entry.id}' is the id of {first.place.path}{line} already"
            self.problems.at(node, found, "expected another id")
        elif entry.id in self.inputs or entry.id in self.alias:
            what = "an input" if entry.id in self.inputs else "a repeated layer or a block"
            self.problems.at(node, f"'{entry.id}' is the name of {what} already", "expected another id")
        self.entries.setdefault(entry.id, entry)

    def _declare_outputs(self, name: str) -> None:
        """``ID.OUTPUT`` is a name, too."""
        entry = self.entries.get(self.alias.get(name, name))
        if entry is None:
            return
        for output in _outputs(entry):
            full = f"{name}.{output}"
            if full in self.entries or full in self.inputs or full in self.alias:
                other = self.entries.get(full, entry)
                node = other.item.common.get("id") or other.item.node
                self.ambiguous = True
                self.problems.at(node, f"'{full}' is what '{name}' gives already", "expected another id")

    def resolve(self, reference: Reference) -> str:
        """The id, input or ID.OUTPUT that a reference means; UNKNOWN_SOURCE after a report."""
        found = self._resolve(reference)
        if not self._is_whole(found):
            return found
        if reference.node is not None:
            what = f"'{found}' is the same for all examples"
            expected = f"expected a value of each, or '{found}' in a field that takes it"
            self.problems.at(reference.node, what, expected)
        return UNKNOWN_SOURCE

    def _is_whole(self, found: str) -> bool:
        """Whether a value has no batch axis."""
        id_, _, output = found.rpartition(".")
        if found in self.entries or id_ not in self.entries:
            return False
        return output in getattr(self.entries[id_].layer, "whole", ())

    def _resolve(self, reference: Reference) -> str:
        if reference.full:
            return self.alias.get(reference.full, reference.full)
        scope, text = reference.scope, reference.text
        if scope.prefix and (text == "input" or text.startswith("input.")):
            return self._block_input(reference)
        names = self._in_scope(scope.prefix)
        base, dot, output = text.rpartition(".")
        for name, suffix in ((text, ""), (base, dot + output)):
            if name in names:
                full = scope.prefix + name
                full = self.alias.get(full, full)
                return full if not suffix else self._output(reference, full, output)
        self._unknown(reference, names)
        return UNKNOWN_SOURCE

    def resolve_field(self, entry: Entry, name: str, found: Reference | tuple[Reference, ...]) -> Named:
        """The id, or ids, that a field names."""
        if isinstance(found, tuple):
            return tuple(map(self._resolve, found))
        id_ = self._resolve(found)
        if name not in getattr(entry.layer, "takes_whole", ()) or id_ == UNKNOWN_SOURCE:
            return id_
        giver = self.entries.get(id_.rpartition(".")[0])
        if self._is_whole(id_) or (giver is not None and giver.layer is None):
            return id_
        if found.node is not None:
            what = f"'{id_}' differs between examples"
            self.problems.at(found.node, what, "expected ID.table, where ID is an embedding")
        return UNKNOWN_SOURCE

    def _in_scope(self, prefix: str) -> Collection[str]:
        if not prefix:
            return _Names(self.entries, self.alias, self.inputs)
        return _Names(_Under(self.entries, prefix), _Under(self.alias, prefix))

    def _block_input(self, reference: Reference) -> str:
        inputs = reference.scope.inputs
        index = reference.text.removeprefix("input").removeprefix(".")
        if not index and len(inputs) == 1:
            return self._resolve(inputs[0])
        if index.isdigit() and int(index) < len(inputs):
            return self._resolve(inputs[int(index)])
        if reference.node is not None:
            choice = ", ".join(f"input.{i}" for i in range(len(inputs)))
            found = f"the block is given {len(inputs)} value{'s' if len(inputs) != 1 else ''}"
            self.problems.at(reference.node, found, f"expected {choice}")
        return UNKNOWN_SOURCE

    def _output(self, reference: Reference, full: str, output: str) -> str:
        if full == UNKNOWN_SOURCE:
            return full
        entry = self.entries.get(full)
        names = () if entry is None else _outputs(entry)
        if entry is not None and (output in names or entry.layer is None):
            missing = entry.layer.lacks() if hasattr(entry.layer, "lacks") else {}
            if output in missing and reference.node:
                expected = f"expected {missing[output]} in {full}"
                self.problems.at(reference.node, f"'{full}' gives no {output}", expected)
            return f"{full}.{output}"
        if reference.node is not None:
            what = f"'{full}' has no output '{output}'"
            name = reference.text.rpartition(".")[0]
            if reference.scope.prefix + name in self.alias:  # such as u1.7, where u1 is repeated less often
                what = f"there is no '{reference.text}', '{name}' ends with '{full}'"
            expected = f"expected {full}.{' or .'.join(names)}" if names else f"expected '{full}' alone"
            self.problems.at(reference.node, what, expected)
        return UNKNOWN_SOURCE

    def _unknown(self, reference: Reference, names: Iterable[str]) -> None:
        if reference.node is None:
            return
        hint = nearest(reference.text, names)
        inside = bool(reference.scope.prefix)
        expected = "" if hint else "expected the id of a layer or the name of an input"
        if inside and (reference.text in self.entries or reference.text in self.inputs):
            expected, hint = (
                "a block sees its own layers and 'input' only",
                "Hand it in with 'from'",
            )
        elif inside and not hint:
            expected = "expected the id of a layer of the block, or 'input'"
        self.problems.at(reference.node, f"there is no '{reference.text}'", expected, hint)


def _outputs(entry: Entry) -> tuple[str, ...]:
    """What a layer gives beside its value."""
    names: tuple[str, ...] = getattr(LAYERS.get(entry.item.kind), "outputs", ())
    return names


class _Under(Mapping[str, Any]):
    """The names of a mapping that begin with a prefix, without it."""

    def __init__(self, names: Mapping[str, Any], prefix: str) -> None:
        self.names = names
        self.prefix = prefix

    def __getitem__(self, name: str) -> Any:
        return self.names[self.prefix + name]

    def __iter__(self) -> Any:
        cut = len(self.prefix)
        return (name[cut:] for name in self.names if name.startswith(self.prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Names(Collection[str]):
    """Several collections as one, without copying them for each look-up."""

    def __init__(self, *parts: Collection[str]) -> None:
        self.parts = parts

    def __contains__(self, name: object) -> bool:
        return any(name in part for part in self.parts)

    def __iter__(self) -> Any:
        return (name for part in self.parts for name in part)

    def __len__(self) -> int:
        return sum(map(len, self.parts))


def check_arity(entry: Entry, sources: tuple[str, ...], problems: Problems) -> bool:
    """Whether a layer gets as many values as it takes; False after a report."""
    cls = LAYERS.get(entry.item.kind)
    if cls is None or UNKNOWN_SOURCE in sources:
        return True
    wanted = getattr(cls, "inputs", 1)
    count = len(sources)
    allowed = wanted if isinstance(wanted, tuple) else (wanted,)
    if count in allowed or (wanted == "several" and count >= 2):
        return True
    node = entry.item.common.get("from")
    place = entry.place if node is None else node.place(path=(*entry.item.path, "from"))
    given = f"{entry.item.kind} is given {count} value{'s' if count != 1 else ''}"
    expected = "two or more: from: [a, b]" if wanted == "several" else " or ".join(map(str, allowed))
    hint = "add, multiply and concatenate take several" if wanted == 1 else ""
    if count:  # (an empty list is reported as such)
        problems.add(place, given, f"expected {expected}", hint)
    return False


def in_order(entries: Collection[str], sources: Sources) -> list[str]:
    """Ids in an order in which sources come first, else as written.  What waits for a circle is left out."""
    position = {id_: index for index, id_ in enumerate(entries)}
    names = list(entries)
    waiting: dict[str, int] = {}
    consumers: dict[str, list[str]] = {}
    for id_ in names:
        before = {owner(source, entries) for source in sources[id_]} & position.keys()
        waiting[id_] = len(before)
        for source in before:
            consumers.setdefault(source, []).append(id_)
    ready = [position[id_] for id_ in names if not waiting[id_]]
    order: list[str] = []
    while ready:
        id_ = names[heapq.heappop(ready)]
        order.append(id_)
        for consumer in consumers.get(id_, ()):
            waiting[consumer] -= 1
            if not waiting[consumer]:
                heapq.heappush(ready, position[consumer])
    return order


def report_circles(
    stuck: set[str], entries: Mapping[str, Entry], sources: Sources, problems: Problems
) -> None:
    """Each circle once: walking back from what is stuck never ends, so it comes round."""
    position = {id_: index for index, id_ in enumerate(entries)}
    seen: set[str] = set()
    for start in entries:
        walk: list[str] = []
        here = start
        while here in stuck and here not in seen:
            seen.add(here)
            walk.append(here)
            here = next(o for s in sources[here] if (o := owner(s, entries)) in stuck)
        if here in walk:
            circle = walk[walk.index(here) :][::-1]
            first = min(circle, key=position.__getitem__)
            turned = circle[circle.index(first) :] + circle[: circle.index(first)]
            names = " -> ".join([*turned, first])
            place = _named_at(entries[first], turned[-1], sources[first], entries)
            problems.add(place, f"a circle: {names}", "expected layers that do not wait for themselves")


def _named_at(entry: Entry, id_: str, sources: tuple[str, ...], entries: Collection[str]) -> Place:
    """Where a layer names one that it takes; its own place where it takes what stands before it."""
    fields = [found if isinstance(found, tuple) else (found,) for _, found in entry.keywords]
    references = [*entry.sources, *(reference for field in fields for reference in field)]
    index = next(i for i, source in enumerate(sources) if owner(source, entries) == id_)
    node = references[index].node
    if node is not None and index < len(entry.sources):
        return node.place(path=(*entry.item.path, "from"))
    return entry.place if node is None else node.place()


def leaves(order: Iterable[str], sources: Sources, entries: Collection[str]) -> list[str]:
    """The layers that no layer takes."""
    ids = list(order)
    taken = {owner(source, entries) for id_ in ids for source in sources[id_]}
    return [id_ for id_ in ids if id_ not in taken]


def ancestors(wanted: Iterable[str], sources: Sources, entries: Collection[str]) -> set[str]:
    """All layers and inputs that lead to the wanted ones, these included."""
    seen: set[str] = set()
    todo = list(wanted)
    while todo:
        here = owner(todo.pop(), entries)
        if here not in seen:
            seen.add(here)
            todo += sources.get(here, ())
    return seen
