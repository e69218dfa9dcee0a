"""The order of axes in which inputs and states are best given: that in which all readers would have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cortex_compute.primitives.views import Transpose
from cortex_core.graph.matching import consumers
from cortex_core.graph.simplify import rewrite, simplify
from cortex_core.graph.value import Graph, Input, Leaf, Value, input_value, is_leaf
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import key
from cortex_core.ops.views import transpose

Axes = tuple[int, ...]


def wanted_orders(graph: Graph) -> dict[Leaf, Axes]:
    """The axes of each leaf that all its readers turn in the same way, in the order that they want."""
    simple = simplify(graph)
    readers = consumers(simple)
    found: dict[Leaf, Axes] = {}
    for node in simple.nodes():
        views = {x.primitive for x in readers[key(Value(node))]} if is_leaf(node) else set()
        if len(views) == 1 and isinstance(view := views.pop(), Transpose):
            found[node.primitive] = view.axes
    return found


def turn_inputs(graph: Graph) -> tuple[Graph, dict[str, Axes]]:
    """The graph with its inputs as its readers want them; the order of axes in which each is to be given."""
    wanted = {x.name: axes for x, axes in wanted_orders(graph).items() if isinstance(x, Input)}
    given: dict[str, Value] = {}
    for x in graph.inputs:
        if x.node.primitive.name in wanted:
            name = x.node.primitive.name
            type = Transpose(wanted[name]).infer(x.type)[0]
            given[name] = input_value(name, type, x.node.place)

    def rule(node: Node, inputs: list[Value]) -> Sequence[Value] | None:
        if not isinstance(node.primitive, Input) or node.primitive.name not in given:
            return None
        axes = wanted[node.primitive.name]
        return [transpose(given[node.primitive.name], [axes.index(a) for a in range(len(axes))])]

    inputs = tuple(given.get(x.node.primitive.name, x) for x in graph.inputs)
    return replace(rewrite(graph, rule), inputs=inputs), wanted
