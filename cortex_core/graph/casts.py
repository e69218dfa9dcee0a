"""One cast of a whole segment in the place of one for each parameter: a launch costs more than its bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.types import TensorType
from cortex_core.graph.schedule import storage_root
from cortex_core.graph.simplify import rewrite
from cortex_core.graph.value import Graph, State, Value
from cortex_core.ops.array import Node


def join_casts(graph: Graph) -> Graph:
    """The graph in which parts of one state that are cast to one type are parts of the cast state.

    For devices where the number of launches counts more than what is cast without need.
    """
    casts = {node: found for node in graph.nodes() if (found := _cast_of_part(node)) is not None}
    often = {found for found, n in Counter(casts.values()).items() if n > 1}
    whole: dict[Any, Value] = {}

    def rule(node: Node, inputs: list[Value]) -> Sequence[Value] | None:
        found = casts.get(node)
        if found not in often:
            return None
        root = storage_root(inputs[0])
        if found not in whole:
            to = TensorType(root.shape, node.types[0].dtype)
            whole[found] = Value(Node(Value, node.primitive, [root], (to,), node.place))
        return [_behind(inputs[0], whole[found])]

    return rewrite(graph, rule)


def _cast_of_part(node: Node) -> tuple[State, Elementwise] | None:
    """The state of which a part is cast here, and the cast."""
    p = node.primitive
    if not isinstance(p, Elementwise) or len(node.inputs) != 1 or len(p.code.instructions) != 1:
        return None
    root = storage_root(node.inputs[0]).node.primitive
    is_cast = p.code.instructions[0][0].startswith("cast:") and p.code.results == (("t", 0),)
    return (root, p) if is_cast and isinstance(root, State) else None


def _behind(x: Value, cast: Value) -> Value:
    """The views of ``x`` into a state, into the cast state."""
    views = []
    while x.node.primitive.view:
        views.append(x.node)
        x = x.node.inputs[0]
    for view in reversed(views):
        type = TensorType(view.types[0].shape, cast.dtype)
        cast = Value(Node(Value, view.primitive, [cast], (type,), view.place))
    return cast
