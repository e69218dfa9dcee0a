"""Which nodes of the graphs of several traces are the same one, and the sizes of values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from cortex_core.exchange.to_onnx.unsaid import FIX, Unsaid, at_once
from cortex_core.graph.value import Constant, Graph, Value, is_leaf
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import topological

Size = tuple[int, ...]
"""A size, or a place along an axis: one number for each trace."""


class Twins:
    """Which nodes of the graphs are the same one, and the sizes of values.

    Raises `SpecError` where the graphs differ in more than sizes.
    """

    def __init__(self, graphs: Sequence[Graph]) -> None:
        self.outputs = graphs[0].outputs
        orders = [topological(graph.nodes()) for graph in graphs]
        self.order = orders[0]
        self._of: dict[Node, tuple[Node, ...]] = {}
        if len({len(order) for order in orders}) > 1:
            at_once([_differs(node) for node in _of_other_counts(orders)])
        for nodes in zip(*orders):
            self._of[nodes[0]] = nodes
            if not self._equal(nodes):
                at_once([_differs(nodes[0])])

    def of(self, node: Node) -> tuple[Node, ...]:
        """A node of the first graph, and those of the others that it is there."""
        return self._of[node]

    def shape(self, x: Value) -> tuple[Size, ...]:
        """The sizes of the axes of a value of the first graph."""
        return tuple(zip(*(node.types[x.index].shape for node in self._of[x.node])))

    def _equal(self, nodes: tuple[Node, ...]) -> bool:
        first = nodes[0]
        if len({type(node.primitive) for node in nodes}) > 1 or len({len(node.inputs) for node in nodes}) > 1:
            return False
        if is_leaf(first) and not isinstance(first.primitive, Constant):
            return len({node.primitive for node in nodes}) == 1
        for operands in zip(*(node.inputs for node in nodes)):
            if len({x.index for x in operands}) > 1 or self._of.get(operands[0].node) != tuple(
                x.node for x in operands
            ):
                return False
        kinds = {tuple((t.rank, t.dtype) for t in node.types) for node in nodes}
        return len(kinds) == 1


def fixed(nodes: tuple[Node, ...]) -> bool:
    """Whether a constant is the same in all graphs."""
    arrays = [node.primitive.array for node in nodes]
    return all(np.array_equal(arrays[0], other, equal_nan=other.dtype.kind == "f") for other in arrays[1:])


def _of_other_counts(orders: Sequence[Sequence[Node]]) -> list[Node]:
    """A node of each place that has another number of nodes in one graph than in another."""
    counts = [Counter(str(node.place) for node in order) for order in orders]
    found = {str(node.place): node for order in orders for node in order}
    return [node for place, node in found.items() if len({count[place] for count in counts}) > 1]


def _differs(node: Node) -> Unsaid:
    return Unsaid("it is computed in another way for other lengths or batches", node, FIX)
