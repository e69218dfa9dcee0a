"""The nodes of a graph, translated one by one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cortex_compute.primitives.views import Broadcast
from cortex_core.exchange.to_onnx.at import At, row_of
from cortex_core.exchange.to_onnx.constants import varying
from cortex_core.exchange.to_onnx.sizes import Sizes
from cortex_core.exchange.to_onnx.spoken import Before, ChannelsFirst, Recurrent, Walk
from cortex_core.exchange.to_onnx.twins import Twins, fixed
from cortex_core.exchange.to_onnx.unsaid import Unsaid
from cortex_core.exchange.to_onnx.writer import Writer
from cortex_core.graph.value import Constant, Input, State, Value, is_leaf
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import ancestors, key

Arrays = Mapping[str, np.ndarray]
Found = tuple[dict[str, str], list[Unsaid]]
OWN = (ChannelsFirst, Recurrent, Walk, Before)


def translate(twins: Twins, writer: Writer, sizes: Sizes, given: Mapping[str, str], arrays: Arrays) -> Found:
    """Writes what the outputs of a graph need; gives their names, and all that cannot be said.

    ``given`` names the tensors that the inputs are, ``arrays`` holds the states.
    """
    return Translation(twins, writer, sizes, given, arrays).run()


class Translation:
    """One graph on its way.  What follows from weights and constants alone becomes an initializer, where
    something reads it."""

    def __init__(
        self, twins: Twins, writer: Writer, sizes: Sizes, given: Mapping[str, str], arrays: Arrays
    ) -> None:
        self.twins, self.writer, self.sizes = twins, writer, sizes
        self.given, self.arrays = given, arrays
        self.names: dict[tuple[int, int], str | None] = {}
        self.known: set[Node] = set()
        self.problems: list[Unsaid] = []
        self._numbers: dict[Node, tuple[np.ndarray, ...]] = {}

    def run(self) -> Found:
        for node in self.twins.order:
            if self._is_known(node):
                self.known.add(node)
            elif not isinstance(node.primitive, Constant):  # which are put where they are read
                self._put(node)
        found = {}
        for name, x in self.twins.outputs.items():
            try:
                found[name] = self.name(x)
            except Unsaid as unsaid:
                self.problems.append(unsaid)
        return found, self.problems

    def name(self, x: Value) -> str:
        """What a value is called; a known one becomes an initializer.  Raises `Unsaid` for a result that its
        translator does not give."""
        if key(x) not in self.names and x.node in self.known:
            self.names[key(x)] = self.writer.initializer(self._stem(x.node), self.numbers(x))
        elif key(x) not in self.names and isinstance(x.node.primitive, Constant):
            arrays = [twin.primitive.array for twin in self.twins.of(x.node)]
            self.names[key(x)] = varying(self.writer, self.sizes, arrays)
        name = self.names.get(key(x))
        if name is None:
            raise Unsaid(f"result {x.index} of {x.node.primitive.name} is read", x.node)
        return name

    def numbers(self, x: Value) -> np.ndarray:
        """The numbers of a known value."""
        if x.node not in self._numbers:
            self._numbers[x.node] = self._computed(x.node)
        return self._numbers[x.node][x.index]

    def _put(self, node: Node) -> None:
        self.writer.where = node.place.path if node.place is not None else ""
        try:
            if is_leaf(node):
                names: list[str | None] = [self._leaf(node)]
            else:
                names = self._translated(node)
        except Unsaid as unsaid:
            unsaid.node = unsaid.node or node
            self.problems.append(unsaid)
            names = [self.writer.unique("unsaid") for _ in node.types]  # so that what follows is looked at
        for i, name in enumerate(names):
            self.names[id(node), i] = name
            if name is not None:
                self.sizes.note(name, self.twins.shape(Value(node, i)))

    def _leaf(self, node: Node) -> str:
        p = node.primitive
        if isinstance(p, Input):
            return self.given[p.name]
        raise Unsaid(f"{p.name} is carried from batch to batch")

    def _translated(self, node: Node) -> list[str | None]:
        row = row_of(node.primitive)
        if row is None:
            raise Unsaid(f"ONNX has no {node.primitive.name}")
        at = At(node, self)
        at.expect_fixed(row.free)
        found = row.translate(at)
        return [found] if isinstance(found, str) else [*found]

    def _is_known(self, node: Node) -> bool:
        p = node.primitive
        if is_leaf(node):
            twins = self.twins.of(node)
            return fixed(twins) if isinstance(p, Constant) else isinstance(p, State) and p.name in self.arrays
        if (
            isinstance(p, (Broadcast, *OWN))
            or p.residual
            or not all(x.node in self.known for x in node.inputs)
        ):
            return False
        return len({twin.primitive for twin in self.twins.of(node)}) == 1

    def _computed(self, node: Node) -> tuple[np.ndarray, ...]:
        from cortex_core.machine import using
        from cortex_core.ops.apply import apply
        from cortex_core.tensor import Tensor, no_grad

        p = node.primitive
        if is_leaf(node):
            return (p.array if isinstance(p, Constant) else self.arrays[p.name],)
        with no_grad(), using("numpy"):
            out = apply(p, *(Tensor(self.numbers(x)) for x in node.inputs))
        return tuple(y.numpy() for y in (out if isinstance(out, tuple) else (out,)))

    def _stem(self, node: Node) -> str:
        """The name of the one parameter that known numbers are made of, else where they are made."""
        states = [n.primitive.name for n in ancestors([Value(node)]) if isinstance(n.primitive, State)]
        if len(states) == 1:
            return str(states[0])
        return f"{node.place.path}/numbers" if node.place is not None else "numbers"
