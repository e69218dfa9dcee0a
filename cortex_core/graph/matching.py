"""What a fusion looks at before it proposes: who reads a value, and what the backend asks for a node."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cortex_compute.primitives.base import Primitive
from cortex_compute.protocol import Backend, Offer, Operand
from cortex_core.graph.value import Graph, Value
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import key

Key = tuple[int, int]

ROOT = Node(Value, Primitive(), (), ())  # stands for "read at the end"


def consumers(graph: Graph) -> dict[Key, list[Node]]:
    """Who reads each value, once for each operand; a root counts as a reader of its own."""
    found: dict[Key, list[Node]] = {}
    for node in graph.nodes():
        for x in node.inputs:
            found.setdefault(key(x), []).append(node)
    for root in graph.roots:
        found.setdefault(key(root), []).append(ROOT)
    return found


def cost(backend: Backend, primitive: Primitive, inputs: Sequence[Value]) -> float:
    """Seconds that the backend estimates; infinite where it refuses."""
    offer = backend.offer(primitive, tuple(Operand(x.type) for x in inputs))
    return offer.cost if isinstance(offer, Offer) else math.inf
