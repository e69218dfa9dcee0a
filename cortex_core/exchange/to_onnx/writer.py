"""The nodes and initializers of an ONNX graph while it is written, before the library makes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cortex_compute.types import DType

SMALL = 64
"""Elements: equal constants with no more of them are written once."""


@dataclass
class Written:
    """One node."""

    op: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


@dataclass
class Body:
    """The graph inside a node: the names and types of what it takes and gives."""

    name: str
    nodes: list[Written]
    inputs: list[tuple[str, DType]]
    outputs: list[tuple[str, DType]]


@dataclass
class Writer:
    """Nodes in order, and initializers by name.

    Names are unique in the whole model.  ``where`` is what the names of nodes begin with.
    """

    taken: set[str] = field(default_factory=set)
    initializers: dict[str, np.ndarray] = field(default_factory=dict)
    nodes: list[Written] = field(default_factory=list)
    where: str = ""
    constants: dict[Any, str] = field(default_factory=dict)

    def inner(self) -> Writer:
        """What writes the nodes of a graph inside this one, which sees its names."""
        return Writer(self.taken, self.initializers, [], self.where, self.constants)

    def unique(self, name: str) -> str:
        """A name that nothing has yet, which from now on is taken."""
        found, count = name, 1
        while found in self.taken:
            count += 1
            found = f"{name}:{count}"
        self.taken.add(found)
        return found

    def emit(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output; gives its name."""
        return self.several(op, inputs, 1, **attributes)[0]

    def several(self, op: str, inputs: Sequence[str], count: int, **attributes: Any) -> list[str]:
        """A node with ``count`` outputs; gives their names."""
        name = self.unique("/".join(part for part in (self.where, op) if part))
        outputs = [name, *(self.unique(f"{name}.{i}") for i in range(1, count))]
        given = {k: v for k, v in attributes.items() if v is not None}
        self.nodes.append(Written(op, name, [*inputs], outputs, given))
        return outputs

    def constant(self, array: Any) -> str:
        """The name of a constant."""
        array = np.asarray(array)
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size <= SMALL else None
        if key is None or key not in self.constants:
            shown = f"constant/{array.item()!r}" if array.size == 1 else "constant"
            name = self.initializer(shown, array)
            if key is None:
                return name
            self.constants[key] = name
        return self.constants[key]

    def initializer(self, name: str, array: np.ndarray) -> str:
        """Keeps an array under this name, or one like it where that is taken."""
        found = self.unique(name)
        self.initializers[found] = array
        return found

    def rename(self, old: str, new: str) -> bool:
        """Gives an output of a node another name everywhere; false where no node of this graph made it."""
        if not any(old in node.outputs for node in self.nodes):
            return False
        for node in every(self.nodes):
            node.inputs = [new if name == old else name for name in node.inputs]
            node.outputs = [new if name == old else name for name in node.outputs]
        return True

    def prune(self, outputs: Sequence[str]) -> None:
        """Leaves out nodes and initializers that nothing reads."""
        needed = set(outputs)
        kept: list[Written] = []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                kept.append(node)
                needed.update(name for inner in every([node]) for name in inner.inputs)
        self.nodes = kept[::-1]
        self.initializers = {name: a for name, a in self.initializers.items() if name in needed}


def every(nodes: Sequence[Written]) -> Iterator[Written]:
    """The nodes, and those of the graphs inside them."""
    for node in nodes:
        yield node
        for value in node.attributes.values():
            if isinstance(value, Body):
                yield from every(value.nodes)
