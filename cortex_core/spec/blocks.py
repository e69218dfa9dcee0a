"""Blocks: reusable pieces with parameters, and how many layers they unfold to, before any is unfolded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cortex_core.place import Place
from cortex_core.registry import LAYERS, UNKNOWN, Invalid, nearest
from cortex_core.registry.faults import shown
from cortex_core.spec.arithmetic import EXPECTED, FORMULA, compute, number
from cortex_core.spec.tree import Mark, Node, Problems

MAX_LAYERS = 100_000
MAX_NESTING = 64
MAX_USES = 20_000  # of blocks with different arguments: each is counted by itself
FIELDS = ("parameters", "optional", "layers")
COMMON = ("id", "from", "trainable", "learning_rate", "penalty", "constraint", "share", "loss", "repeat")

Environment = Mapping[str, Node]


@dataclass
class Block:
    """A reusable piece: its parameters with defaults, and its layers, in which ``$name`` is a parameter.

    A parameter whose default is null is required, unless it is ``optional``: then it may be null.  A
    ``standard`` one is not of the description.
    """

    name: str
    node: Node
    parameters: dict[str, Node] = field(default_factory=dict)
    layers: list[Node] = field(default_factory=list)
    optional: frozenset[str] = frozenset()
    standard: bool = False

    @property
    def required(self) -> list[str]:
        """The parameters that each use must give."""
        nulls = [name for name, default in self.parameters.items() if default.value is None]
        return [name for name in nulls if name not in self.optional]

    def used_at(self, node: Node, place: Place) -> Block:
        """The block as one use of it sees it: all of a standard one stands where it is used."""
        if not self.standard:
            return self
        made = self.node.moved(Mark(place.file, place.line, place.column))
        made.parent, made.key = node, self.name
        parameters, layers = made.value["parameters"].value, made.value["layers"].value
        return replace(self, node=made, parameters=parameters, layers=layers)

    @property
    def takes(self) -> int:
        """How many values it is given, by the names in it: ``input.1`` is of two."""
        found = re.findall(r"'input\.(\d{1,3})'", repr(self.node.plain()))
        return max(map(int, found), default=0) + 1

    def bind(self, fields: Mapping[str, Node], scope: Any = None) -> dict[str, Node]:
        """What each parameter stands for; UNKNOWN where a required one is missing.

        Names in ``fields`` are looked up in ``scope``, those in defaults inside the block.
        """
        bound = {}
        for name, default in self.parameters.items():
            if name in fields:
                bound[name] = fields[name].seen_from(scope)
            else:
                bound[name] = Node(UNKNOWN) if name in self.required else default
        return bound


def read_blocks(node: Node | None, problems: Problems) -> dict[str, Block]:
    """The section ``blocks``."""
    if node is None or node.value is UNKNOWN:
        return {}
    if not isinstance(node.value, dict):
        problems.at(node, "this is no mapping", "expected names and their blocks")
        return {}
    for name in node.value:
        if name in LAYERS:
            problems.at_key(node, name, f"'{name}' is a layer already", "expected another name")
    blocks = {name: _read_block(name, inner, problems) for name, inner in node.value.items()}
    return {name: block for name, block in blocks.items() if name not in LAYERS}


def _read_block(name: str, node: Node, problems: Problems) -> Block:
    block = Block(name, node)
    if not isinstance(node.value, dict):
        problems.at(node, "this is no mapping", "expected parameters and layers")
        return block
    for key in node.value:
        if key not in FIELDS:
            hint = nearest(key, FIELDS)
            problems.at_key(node, key, "unknown field", "" if hint else f"expected {', '.join(FIELDS)}", hint)
    parameters, layers = node.value.get("parameters"), node.value.get("layers")
    if parameters is not None:
        block.parameters = _read_parameters(parameters, problems)
    if "optional" in node.value:
        block.optional = _read_optional(node.value["optional"], block.parameters, problems)
    if layers is not None and isinstance(layers.value, list) and layers.value:
        block.layers = layers.value
    elif layers is not None:
        problems.at(layers, "this is no list of layers", "expected one layer at least")
    elif not problems:
        problems.at_key(node.parent or node, name, "'layers' is missing", "expected a list of layers")
    return block


def _read_parameters(node: Node, problems: Problems) -> dict[str, Node]:
    if not isinstance(node.value, dict):
        problems.at(node, "this is no mapping", "expected names and defaults (null: required)")
        return {}
    for name in node.value:
        if name in COMMON:
            found = f"'{name}' is a field that every layer has"
            problems.at_key(node, name, found, "expected another name for the parameter")
    return dict(node.value)


def _read_optional(node: Node, parameters: Mapping[str, Node], problems: Problems) -> frozenset[str]:
    if not isinstance(node.value, list):
        problems.at(node, "this is no list", "expected the names of parameters that may be null")
        return frozenset()
    names: set[str] = set()
    for item in node.value:
        name = item.value
        if not isinstance(name, str):
            problems.at(item, shown(item.plain()), "expected the name of a parameter")
            continue
        if name not in parameters:
            hint = nearest(name, parameters)
            expected = "" if hint else f"expected some of {', '.join(parameters) or 'the parameters'}"
            problems.at(item, f"the block has no parameter '{name}'", expected, hint)
        elif parameters[name].value is not None:
            problems.at(item, f"'{name}' has a default", "expected those whose default is null")
        elif name in names:
            problems.at(item, f"'{name}' is here already", "expected it once")
        names.add(name)
    return frozenset(names)


def substitute(node: Node, environment: Environment | None, problems: Problems | None) -> Node:
    """The node with parameters in place of ``$name``; what is put in keeps its own place in the file.

    What is computed of them, as in ``$name * 2``, stands where the formula stands.
    """
    if isinstance(node.value, str) and node.value.startswith("$") and len(node.value) > 1:
        formula = FORMULA.fullmatch(node.value)
        if formula is not None and node.value[1:] not in (environment or ()):
            return _computed(node, formula, environment, problems)
        return _parameter(node, node.value[1:], environment, problems)
    changed = {key: substitute(child, environment, problems) for key, child in node.children()}
    if all(changed[key] is child for key, child in node.children()):
        return node
    value: Any = changed if isinstance(node.value, dict) else list(changed.values())
    copy = Node(value, node.mark, node.keys)
    copy.parent, copy.key = node.parent, node.key
    return copy


def _parameter(node: Node, name: str, environment: Environment | None, problems: Problems | None) -> Node:
    if environment is not None and name in environment:
        return environment[name]
    if problems is not None and environment is None:
        problems.at(node, f"'${name}' stands outside a block", "expected a value")
    elif problems is not None and len(name.split()) > 1:
        problems.at(node, f"'${name}' is neither a parameter nor a formula", EXPECTED)
    elif problems is not None:
        hint = nearest(name, environment or ())
        expected = "" if hint else f"expected one of {', '.join(environment or ()) or 'the parameters'}"
        problems.at(node, f"the block has no parameter '{name}'", expected, hint)
    return _instead(node, UNKNOWN)


def _computed(
    node: Node, formula: re.Match[str], environment: Environment | None, problems: Problems | None
) -> Node:
    """The number that a formula gives; UNKNOWN where something in it is."""
    left, right = _parameter(node, formula["left"], environment, problems).value, formula["right"]
    if left is UNKNOWN:
        return _instead(node, UNKNOWN)
    try:
        if right.startswith("$"):
            other = _parameter(node, right[1:], environment, problems).value
        else:
            other = number(right)
        value = UNKNOWN if other is UNKNOWN else compute(node.value, left, formula["sign"], other)
    except Invalid as invalid:
        value = UNKNOWN
        if problems is not None:
            for fault in invalid.faults:
                problems.at(node, fault.found, fault.expected)
    return _instead(node, value)


def _instead(node: Node, value: Any) -> Node:
    """Another value at the same place."""
    made = Node(value, node.mark)
    made.parent, made.key = node.parent, node.key
    return made


class Endless(Exception):
    """Blocks that unfold to nobody knows what; ``names`` is the circle of them, if there is one."""

    def __init__(self, reason: str, names: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.names = names


class Counter:
    """Counts the layers that a description unfolds to, by arithmetic, each call of a block once."""

    def __init__(self, blocks: Mapping[str, Block]) -> None:
        self.blocks = blocks
        self.known: dict[tuple[str, str], int] = {}
        self.active: list[str] = []

    def of(self, item: Node, environment: Environment | None) -> int:
        """How many layers one item of a list unfolds to.  Raises Endless."""
        item = substitute(item, environment, None)
        kind, fields = glimpse(item)
        repeat = fields["repeat"].value if "repeat" in fields else 1
        times = repeat if isinstance(repeat, int) and repeat > 1 else 1
        block = self.blocks.get(kind)
        return times * (1 if block is None else self._of_block(block, block.bind(fields)))

    def _of_block(self, block: Block, environment: Environment) -> int:
        key = (block.name, repr([node.plain() for node in environment.values()]))
        if key in self.known:
            return self.known[key]
        if block.name in self.active:
            names = [*self.active[self.active.index(block.name) :], block.name]
            raise Endless(f"the block contains itself: {' -> '.join(names)}", names)
        if len(self.active) >= MAX_NESTING:
            raise Endless(f"blocks nest deeper than {MAX_NESTING} levels")
        if len(self.known) >= MAX_USES:
            raise Endless(f"blocks are used in more than {MAX_USES:,} different ways")
        self.active.append(block.name)
        total = sum(self.of(item, environment) for item in block.layers)
        self.active.pop()
        self.known[key] = total
        return total


def glimpse(item: Node) -> tuple[str, dict[str, Node]]:
    """The kind and the fields of an item, as far as they can be seen without judging it."""
    value = item.value
    if isinstance(value, str):
        return value, {}
    if isinstance(value, dict) and len(value) == 1:
        ((kind, inner),) = value.items()
        return kind, inner.value if isinstance(inner.value, dict) else {}
    if isinstance(value, list) and value and isinstance(value[0].value, str):
        return value[0].value, value[-1].value if isinstance(value[-1].value, dict) else {}
    return "", {}


def size_problems(layers: list[Node], blocks: Mapping[str, Block], problems: Problems) -> bool:
    """Reports blocks that contain themselves, and what unfolds to too much; True if there is any."""
    counter = Counter(blocks)
    total = 0
    largest: tuple[int, Node | None] = (0, None)
    for item, environment in all_items(layers, blocks):
        try:
            count = counter.of(item, environment)
        except Endless as endless:
            _report(endless, blocks, item, problems)
            return True
        if environment is None:
            total += count
            largest = max(largest, (count, item), key=lambda pair: pair[0])
    if total > MAX_LAYERS and largest[1] is not None:
        found = f"the description unfolds to {total:,} layers, of which {largest[0]:,} come from here"
        problems.at(largest[1], found, f"expected {MAX_LAYERS:,} in all at most")
        return True
    return False


def all_items(layers: list[Node], blocks: Mapping[str, Block]) -> Iterator[tuple[Node, Environment | None]]:
    """The layers of the description, and those of each block with its defaults (it may be unused)."""
    yield from ((item, None) for item in layers)
    for block in blocks.values():
        yield from ((item, block.bind({})) for item in block.layers)


def _report(endless: Endless, blocks: Mapping[str, Block], item: Node, problems: Problems) -> None:
    block = blocks.get(endless.names[0]) if endless.names else None
    if block is not None and not block.standard:
        problems.at_key(block.node.parent or block.node, block.name, str(endless))
    else:
        problems.at(item, str(endless), "expected fewer")
