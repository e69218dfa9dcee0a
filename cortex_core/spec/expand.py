"""Unfolds the list of layers: blocks, repetition, ids; what each layer takes is still a name."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Union

from cortex_compute.frozen import frozen
from cortex_core.place import Place
from cortex_core.registry import (
    CONSTRAINTS,
    LAYERS,
    UNKNOWN,
    Fault,
    Invalid,
    Named,
    fields_of,
    nearest,
    sources_of,
)
from cortex_core.registry.faults import shown
from cortex_core.registry.kinds import Flag, Kind, Limits, Real, Schema, Whole
from cortex_core.spec.blocks import COMMON, Block, Environment, glimpse, substitute
from cortex_core.spec.description import ALL, UNKNOWN_SOURCE, Constraint, Penalty
from cortex_core.spec.item import Item, read_item
from cortex_core.spec.standard import NAMES
from cortex_core.spec.tree import Node, Problems

_SHARE = "expected the id of a layer, or {kernel: ID/kernel}"
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./\-]{0,199}")


@frozen
class Identifier(Kind):
    """The name of a layer or an input."""

    words = "a name of letters, digits, _ and -"

    def read(self, value: Any) -> str:
        if value == "input":
            raise Invalid([Fault((), "'input' means the input of a block", "expected another name")])
        if isinstance(value, (bool, float)) or not isinstance(value, (str, int)):
            hint = f'Write "{str(value).lower()}" in quotes' if isinstance(value, (bool, float)) else ""
            raise self.refuse(value, hint)
        if not _ID.fullmatch(str(value)):
            meant = re.sub(r"[^A-Za-z0-9_]+", "_", str(value)).strip("_")
            raise self.refuse(str(value), f"Write {meant}" if _ID.fullmatch(meant) else "")
        return str(value)

    def schema(self) -> Schema:
        return {"type": ["string", "integer"], "pattern": f"^{_ID.pattern}$"}


@frozen
class Scope:
    """Where a name is looked up: inside one block, or at the top (no prefix)."""

    prefix: str = ""
    inputs: tuple[Reference, ...] = ()


@frozen
class Reference:
    """A name in ``from``, seen from its scope.  ``full`` is given where it is known already."""

    text: str
    scope: Scope
    node: Node | None = None
    full: str = ""


Make = Callable[[str, tuple[Reference, ...]], str]
Keywords = tuple[tuple[str, Union[Reference, tuple[Reference, ...]]], ...]


@dataclass
class Entry:
    """One layer after unfolding.  ``keywords``: the values that its fields name."""

    id: str
    item: Item
    layer: Any
    sources: tuple[Reference, ...]
    keywords: Keywords
    trainable: bool
    learning_rate: float
    penalties: tuple[Penalty, ...]
    constraints: tuple[Constraint, ...] = ()
    shared: tuple[Shared, ...] = ()
    loss: Node | None = None
    place: Place = field(default_factory=Place)


@frozen
class Shared:
    """``id``, a layer or a block, gives its parameters to ``taker``, and to what lies in there; both are full
    ids.  With names, ``taker``'s ``parameter`` is the one that is called ``given``.
    """

    id: str
    taker: str
    node: Node
    parameter: str = ALL
    given: str = ALL

    def inside(self, id_: str) -> Shared:
        """The same for a layer under the taker."""
        return replace(self, id=self.id + id_[len(self.taker) :], taker=id_)


@frozen
class Inherited:
    """What a block hands to the layers inside; ``shared``: the block whose parameters they have."""

    trainable: bool = True
    learning_rate: float = 1.0
    shared: Shared | None = None


NOTHING = Inherited()


class Expander:
    """Unfolds lists of layers into ``entries``; ``alias`` says which layer the id of a block stands for."""

    def __init__(self, blocks: Mapping[str, Block], problems: Problems) -> None:
        self.blocks = blocks
        self.problems = problems
        self.entries: list[Entry] = []
        self.alias: dict[str, str] = {}
        self.used: set[str] = set()
        self._layers = Named(LAYERS, "layer")

    def main_of(self, kind: str) -> str | None:
        """The main field of a layer; blocks have none."""
        if kind in self.blocks:
            return None
        try:
            return self._layers.main_of(kind)
        except Invalid as invalid:
            raise Invalid(self._with_blocks(kind, fault) for fault in invalid.faults) from None

    def _with_blocks(self, kind: str, fault: Fault) -> Fault:
        hint = nearest(kind, [*LAYERS, *self.blocks, *NAMES])
        return Fault(fault.path, fault.found, fault.expected if not hint else "", hint)

    def unfold(
        self,
        nodes: list[Node],
        scope: Scope,
        environment: Environment | None = None,
        inherited: Inherited = NOTHING,
    ) -> str:
        """Unfolds one list; returns the id of its last layer."""
        items = []
        for node in nodes:
            put_in = substitute(node, environment, self.problems)
            item = read_item(put_in, self.main_of, COMMON, self.problems)
            item.adopt(self._fields(item.kind), COMMON)
            items.append(item)
        ids = self._ids(items, scope)
        previous = scope.inputs if len(scope.inputs) == 1 else ()
        last = ""
        for item, id_ in zip(items, ids):
            sources = self._sources(item, scope, previous)
            last = self._repeat(item, id_, sources, scope, inherited)
            previous = (Reference(last, scope, full=last),)
        return last

    def _fields(self, kind: str) -> Collection[str]:
        if kind in self.blocks:
            return self.blocks[kind].parameters
        return fields_of(LAYERS[kind]) if kind in LAYERS else ()

    def _ids(self, items: list[Item], scope: Scope) -> list[str]:
        """Full ids: the given ones, and kind, kind_2, ... for the others."""
        given = [item.common_value("id", Identifier(), None, self.problems) for item in items]
        taken = {name for name in given if isinstance(name, str)}
        counts: dict[str, int] = {}
        ids = []
        for item, name in zip(items, given):
            kind = item.kind or self._guess(item.node)
            while not isinstance(name, str):
                counts[kind] = counts.get(kind, 0) + 1
                candidate = kind if counts[kind] == 1 else f"{kind}_{counts[kind]}"
                name = None if candidate in taken else candidate
            ids.append(scope.prefix + name)
        return ids

    def _guess(self, node: Node) -> str:
        """The kind that an unreadable item most likely has: others may refer to it."""
        kind = glimpse(node)[0]
        meant = nearest(kind, [*LAYERS, *self.blocks]).split("'")
        return meant[1] if len(meant) > 1 else kind or "unknown"

    def _sources(self, item: Item, scope: Scope, previous: tuple[Reference, ...]) -> tuple[Reference, ...]:
        node = item.common.get("from")
        if node is None:
            if not previous and item.kind:
                self._no_source(item, scope)
            return previous or (Reference("", scope, full=UNKNOWN_SOURCE),)
        names: list[Node] = node.value if isinstance(node.value, list) else [node]
        if not names:
            self.problems.at(node, "this is an empty list", "expected the ids that the layer takes")
        return tuple(self._reference(name, scope) for name in names)

    def _no_source(self, item: Item, scope: Scope) -> None:
        names = [f"input.{i}" if scope.prefix else source.text for i, source in enumerate(scope.inputs)]
        expected = f"expected 'from' with one of {', '.join(names)}"
        self.problems.add(item.place, f"there are {len(names)} inputs that this could take", expected)

    def _keywords(self, item: Item, layer: Any, scope: Scope) -> Keywords:
        """References in fields, such as ``mask: words.mask``, each with the node in which it stands."""
        found: list[tuple[str, Reference | tuple[Reference, ...]]] = []
        for path, named in sources_of(layer):
            node = self._field(item, path, named)
            names = node.value if isinstance(node.value, list) else [node]
            references = tuple(self._reference(name, scope) for name in names)
            found.append((path[-1], references if isinstance(named, tuple) else references[0]))
        return tuple(found)

    def _field(self, item: Item, path: tuple[str, ...], named: str | tuple[str, ...]) -> Node:
        """The node of a field, which may be that of a layer inside, written in any way; or of a default."""
        inner = item
        for name in path[:-1:2]:
            if name not in inner.fields:
                return _default(item, path[-1], named)
            inner = read_item(inner.fields[name], self.main_of, COMMON, self.problems)
        return inner.fields.get(path[-1]) or _default(item, path[-1], named)

    def _reference(self, node: Node, scope: Scope) -> Reference:
        scope = node.scope or scope
        if isinstance(node.value, int) and not isinstance(node.value, bool):
            return Reference(str(node.value), scope, node)
        if isinstance(node.value, str) and node.value:
            return Reference(node.value, scope, node)
        if node.value is not UNKNOWN:
            self.problems.at(node, shown(node.plain()), "expected the id of a layer or the name of an input")
        return Reference("", scope, node, full=UNKNOWN_SOURCE)

    def _repeat(
        self, item: Item, id_: str, sources: tuple[Reference, ...], scope: Scope, inherited: Inherited
    ) -> str:
        times = item.common_value("repeat", Whole(Limits(minimum=1)), None, self.problems)
        inherited = self._inherit(item, id_, scope, inherited)
        maker = self._block if item.kind in self.blocks else self._layer
        make = maker(item, scope, inherited)
        if not isinstance(times, int):
            return make(id_, sources)
        last = id_
        for index in range(times):
            last = make(f"{id_}.{index}", sources)
            sources = (Reference(last, Scope(), full=last), *sources[1:])
        self.alias[id_] = last
        return last

    def _inherit(self, item: Item, id_: str, scope: Scope, outer: Inherited) -> Inherited:
        trainable = item.common_value("trainable", Flag(), True, self.problems)
        rate = item.common_value("learning_rate", Real(Limits(minimum=0)), 1.0, self.problems)
        rate = 1.0 if rate is UNKNOWN else rate
        shared = self._shared(item, id_, scope) or outer.shared
        return Inherited(outer.trainable and trainable is not False, outer.learning_rate * rate, shared)

    def _shared(self, item: Item, id_: str, scope: Scope) -> Shared | None:
        """``share: ID``, of a layer or a block; what these parameters are like is said where they belong."""
        node = item.common.get("share")
        if node is None or node.has_unknown() or isinstance(node.value, dict):
            return None
        if not isinstance(node.value, (str, int)) or isinstance(node.value, bool) or node.value == "":
            self.problems.at(node, shown(node.plain()), _SHARE)
            return None
        for name in ("trainable", "learning_rate", "penalty", "constraint"):
            if name in item.common:
                expected = f"expected it on '{node.value}', whose parameters these are"
                item.fault(Fault((name,), f"{name} beside share", expected, "", True), self.problems)
        return Shared((node.scope or scope).prefix + str(node.value), id_, node)

    def _shared_by_name(self, item: Item, scope: Scope) -> list[tuple[str, str, str, Node]]:
        """``share: {kernel: other/kernel}``."""
        node = item.common.get("share")
        if node is None or node.has_unknown() or not isinstance(node.value, dict):
            return []
        found = []
        for parameter, inner in node.value.items():
            id_, _, given = str(inner.value).rpartition("/")
            if isinstance(inner.value, str) and id_ and given:
                found.append((parameter, (inner.scope or scope).prefix + id_, given, inner))
            else:
                self.problems.at(inner, shown(inner.plain()), "expected a layer and its parameter: ID/kernel")
        if not node.value:
            self.problems.at(node, "this is an empty mapping", _SHARE)
        return found

    def _layer(self, item: Item, scope: Scope, inherited: Inherited) -> Make:
        """A function that adds one layer under an id."""
        cls = LAYERS.get(item.kind)
        layer = None if cls is None else item.build(cls, COMMON, self.problems)
        keywords = () if layer is None else self._keywords(item, layer, scope)
        penalties, constraints = self._penalties(item), self._constraints(item)
        by_name = self._shared_by_name(item, scope)
        self._expect_own(item, constraints, {own: of for own, of, *_ in by_name})
        if cls is not None and not hasattr(cls, "parameters"):
            inherited, penalties, constraints = Inherited(), (), ()
            for name in ("trainable", "learning_rate", "penalty", "constraint", "share"):
                if name in item.common:
                    fault = Fault(
                        (name,), f"{item.kind} has no parameters", "nothing is learned here", "", True
                    )
                    item.fault(fault, self.problems)

        def make(id_: str, sources: tuple[Reference, ...]) -> str:
            learned = inherited.trainable, inherited.learning_rate, penalties
            entry = Entry(id_, item, layer, sources, keywords, *learned, constraints)
            entry.shared = tuple(Shared(of, id_, node, own, given) for own, of, given, node in by_name)
            if inherited.shared is not None:  # (then a twin of this layer shares by name, too)
                entry.shared = (inherited.shared.inside(id_),)
            loss = item.common.get("loss")
            entry.loss, entry.place = None if loss is None else loss.seen_from(scope), item.place
            self.entries.append(entry)
            return id_

        return make

    def _block(self, item: Item, outer: Scope, inherited: Inherited) -> Make:
        """A function that unfolds one use of a block under an id."""
        block = self.blocks[item.kind].used_at(item.node, item.place)
        self.used.add(block.name)
        self._check_arguments(item, block)
        environment = block.bind(item.fields, outer)
        takes = block.takes

        def make(id_: str, sources: tuple[Reference, ...]) -> str:
            if takes > 1 and len(sources) != takes:
                given = f"{block.name} is given {len(sources)} value{'s' if len(sources) != 1 else ''}"
                example = ", ".join("abcdefgh"[:takes])
                self.problems.add(item.place, given, f"expected {takes}: from: [{example}]")
                self.alias[id_] = UNKNOWN_SOURCE
                return UNKNOWN_SOURCE
            scope = Scope(f"{id_}/", sources)
            last = self.unfold(block.layers, scope, environment, inherited)
            self.alias[id_] = last or UNKNOWN_SOURCE
            return self.alias[id_]

        return make

    def _check_arguments(self, item: Item, block: Block) -> None:
        hints = ""
        for name in item.fields:
            if name not in block.parameters:
                hint = nearest(name, [*block.parameters, *COMMON])
                hints += hint
                expected = "" if hint else f"expected {', '.join(block.parameters) or 'no parameters'}"
                item.fault(Fault((name,), "unknown parameter", expected, hint, at_key=True), self.problems)
        for name in ("penalty", "constraint", "loss"):
            if name in item.common:
                fault = Fault((name,), f"a block has no {name}", "expected it on a layer inside", "", True)
                item.fault(fault, self.problems)
        if "share" in item.common and isinstance(item.common["share"].value, dict):
            found = "a block shares all of its parameters"
            item.fault(Fault(("share",), found, "expected the id of such a block"), self.problems)
        for name in block.required:
            if name not in item.fields and f"'{name}'" not in hints:
                item.fault(Fault((), f"'{name}' is missing", "the block requires it"), self.problems)

    def _penalties(self, item: Item) -> tuple[Penalty, ...]:
        """``penalty: {l2: 0.001}`` is on the kernel; ``{bias: {l1: 0.1}}`` names the parameter."""
        node = item.common.get("penalty")
        if node is None or node.has_unknown():
            return ()
        if not isinstance(node.value, dict) or not node.value:
            found = "this is no mapping of l1, l2 or parameters"
            item.fault(
                Fault(("penalty",), found, "expected {l2: 0.001} or {kernel: {l2: 0.001}}"), self.problems
            )
            return ()
        found_: list[Penalty] = []
        for name, inner in node.value.items():
            if name in ("l1", "l2"):
                found_ += self._penalty(item, "kernel", name, inner, ("penalty", name))
            elif isinstance(inner.value, dict) and inner.value:
                for kind, value in inner.value.items():
                    found_ += self._penalty(item, name, kind, value, ("penalty", name, kind))
            else:
                found = f"'{name}' is neither l1 nor l2, and as a parameter it has no mapping"
                fault = Fault(
                    ("penalty", name), found, "expected {l2: 0.001} or {kernel: {l2: 0.001}}", "", True
                )
                item.fault(fault, self.problems)
        once = {(p.parameter, p.kind): p for p in found_}
        if len(once) < len(found_):
            expected = "expected it once: l1 and l2 without a parameter are on the kernel"
            item.fault(Fault(("penalty",), "the kernel has the same penalty twice", expected), self.problems)
        return tuple(once[key] for key in sorted(once))

    def _constraints(self, item: Item) -> tuple[Constraint, ...]:
        """``constraint: {kernel: {max_norm: 2}}``."""
        node = item.common.get("constraint")
        if node is None or node.has_unknown():
            return ()
        if not isinstance(node.value, dict) or not node.value:
            expected = "expected parameters and what holds for them: {kernel: {max_norm: 2}}"
            item.fault(Fault(("constraint",), "this is no mapping of parameters", expected), self.problems)
            return ()
        found = []
        for name, inner in node.value.items():
            try:
                rule = Named(CONSTRAINTS, "constraint").read(inner.plain())
            except Invalid as invalid:
                for fault in invalid.faults:
                    item.fault(fault.under("constraint", name), self.problems)
            else:
                found.append(Constraint(name, rule, inner.place()))
        return tuple(sorted(found, key=lambda c: c.parameter))

    def _expect_own(self, item: Item, constraints: tuple[Constraint, ...], owners: Mapping[str, str]) -> None:
        """A parameter is constrained where it belongs: ``owners`` are other layers that have it."""
        for constraint in constraints:
            if constraint.parameter in owners:
                owner = owners[constraint.parameter]
                found = f"the {constraint.parameter} belongs to '{owner}'"
                fault = Fault(("constraint", constraint.parameter), found, f"expected it on '{owner}'")
                item.fault(fault, self.problems)

    def _penalty(
        self, item: Item, parameter: str, kind: str, node: Node, path: tuple[str, ...]
    ) -> list[Penalty]:
        if kind not in ("l1", "l2"):
            item.fault(Fault(path, f"unknown penalty '{kind}'", "expected l1 or l2", "", True), self.problems)
            return []
        try:
            value = Real(Limits(minimum=0)).read(node.plain())
        except Invalid as invalid:
            for fault in invalid.faults:
                item.fault(fault.under(*path), self.problems)
            return []
        return [Penalty(parameter, kind, value, node.place())]


def _default(item: Item, name: str, named: str | tuple[str, ...]) -> Node:
    """A node for what the class of a layer names by itself."""
    home = item.home
    made = Node(named if isinstance(named, str) else [Node(one, home.mark) for one in named], home.mark)
    made.parent, made.key = home, name
    return made
