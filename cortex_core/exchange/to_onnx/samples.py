"""A network traced at several sizes of its batch and of its axes of any length.

Shapes are static in a graph.  What differs between the traces is what depends on such a size: a *size* is a
tuple, with one number for each trace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cortex_compute.errors import CortexError, SpecError
from cortex_compute.frozen import frozen
from cortex_compute.types import TensorType, dtype
from cortex_core.declared import free_length
from cortex_core.exchange.to_onnx.unsaid import Unsaid, at_once
from cortex_core.graph.value import Constant, Graph, Value, is_leaf, state_value
from cortex_core.network import Network
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import topological
from cortex_core.step import predict_graph
from cortex_core.trace import Declaration, has_free_axes

Size = tuple[int, ...]
BATCH = "batch"
BATCHES = (1009, 2003, 4001)
"""Primes, and large: no product of other sizes is a multiple of them, and nothing so large is folded."""
LENGTHS = ((13, 12, 14), (24, 26, 25), (38, 37, 36), (49, 50, 48), (60, 61, 62), (74, 72, 73))
"""For each axis of any length its sizes in the traces.  Each has all rests of a division by 2 and by 3, which
windows and padding may depend on; and no two are as far from each other in all traces."""
UNITS = (1, 2, 4, 8, 16, 32, 64)
"""What lengths are multiplied by: some networks halve them, and join the halves again."""
SHORTEST = 4
"""Lengths near 1 are taken for what is repeated."""
FIX = "fix the lengths: `cortex surgery MODEL --resize-input SHAPE -o FIXED.cortex`"


@frozen
class Samples:
    """Graphs of one structure.  ``names`` says what the axes of the inputs are called whose size is free."""

    graphs: tuple[Graph, ...]
    names: dict[tuple[str, int], str]


def sampled(network: Network, raw: bool, say: Callable[[Graph], Graph]) -> Samples:
    """The prediction graph of a network at several sizes, each as ``say`` puts it."""

    def by_name(name: str, declaration: Declaration, layer: Any) -> Value:
        return state_value(name, network.declared[name].type)

    error: CortexError | None = None
    for names, types in _attempts(network):
        try:
            return Samples(tuple(say(predict_graph(network, given, raw, by_name)) for given in types), names)
        except CortexError as wrong:
            error = wrong
    if error is None:
        raise SpecError(f"{network.name}: there are more than {len(LENGTHS)} axes of any length; {FIX}")
    if not has_free_axes(network.description):
        raise error
    raise SpecError(f"{network.name}: no three lengths were found that it takes ({error}); {FIX}")


Attempt = tuple[dict[tuple[str, int], str], list[dict[str, TensorType]]]


def _attempts(network: Network) -> Iterator[Attempt]:
    """Names and sizes of the axes: each axis by itself, then all of one length, as some networks need it."""
    inputs = network.description.inputs
    free = [(x.name, i + 1) for x in inputs for i, n in enumerate(x.shape) if n is None]
    if not free:
        yield _attempt(network, {}, {})
        return
    ladders: list[Sequence[Size]] = [[tuple(unit * n for n in each) for each in LENGTHS] for unit in UNITS]
    length = free_length(network.description)  # which may be limited, as of positions that are learned
    ladders.append([(length, length - 1, length - 2)] if length > SHORTEST else [])
    apart = {axis: f"{axis[0]}_length" if _alone(axis, free) else f"{axis[0]}_axis{axis[1]}" for axis in free}
    for ladder in ladders:
        if len(ladder) >= len(free):
            yield _attempt(network, apart, dict(zip(free, ladder)))
    for ladder in ladders if len(free) > 1 else ():
        if ladder:
            yield _attempt(network, dict.fromkeys(free, "length"), dict.fromkeys(free, ladder[0]))


def _alone(axis: tuple[str, int], free: Sequence[tuple[str, int]]) -> bool:
    return sum(name == axis[0] for name, _ in free) == 1


def _attempt(
    network: Network, names: dict[tuple[str, int], str], lengths: Mapping[tuple[str, int], Size]
) -> Attempt:
    count = 3 if lengths else 2
    types = []
    for k in range(count):
        given = {}
        for x in network.description.inputs:
            shape = (lengths[x.name, i + 1][k] if n is None else n for i, n in enumerate(x.shape))
            given[x.name] = TensorType((BATCHES[k], *shape), dtype(x.dtype))
        types.append(given)
    batch = {(x.name, 0): BATCH for x in network.description.inputs}
    return {**batch, **names}, types


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
    return Unsaid(
        "it is computed in another way for other lengths or batches",
        node,
        FIX,
    )
