"""Weights in the layout that the kernels like best.

Where no run changes them, in evaluation and prediction, they are copied into it once for each version of the
weights.  In training each kernel brings them there itself: the forward, the gradients and the optimiser want
different ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from cortex_compute.primitives.convolution import Conv
from cortex_compute.primitives.elementwise import Copy
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.protocol import ANY, Backend, Layout, Offer, Operand
from cortex_compute.types import contiguous_strides
from cortex_core.graph.matching import Key, cost
from cortex_core.graph.memory import row_major
from cortex_core.graph.schedule import steady
from cortex_core.graph.simplify import rewrite
from cortex_core.graph.value import Graph, Value
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import key


def lay_out_weights(graph: Graph, backend: Backend) -> Graph:
    """The graph with a copy before each product or convolution that gains by another layout."""
    fixed = steady(graph)
    laid: dict[tuple[Key, Layout], Value] = {}

    def rule(node: Node, inputs: list[Value]) -> Sequence[Value] | None:
        if node in fixed or not isinstance(node.primitive, (Gemm, Conv)) or node.inputs[1].node not in fixed:
            return None
        layout = _better(node, inputs, backend)
        if layout is None:
            return None
        x, w, *rest = inputs
        if (key(w), layout) not in laid:
            dense = w if _lies_dense(w) else _copied(w, Copy(), node)
            laid[key(w), layout] = _copied(dense, Copy(layout), node)
        made = Node(Value, node.primitive, [x, laid[key(w), layout], *rest], node.types, node.place)
        return [Value(made, i) for i in range(len(node.types))]

    return rewrite(graph, rule)


def _copied(w: Value, copy: Copy, node: Node) -> Value:
    return Value(Node(Value, copy, [w], (w.type,), w.node.place or node.place))


def _lies_dense(x: Value) -> bool:
    """Whether a value is row-major in the memory that it looks into, as a whole parameter is."""
    strides = _strides(x)
    return strides is not None and row_major(x.shape, strides)


def _strides(x: Value) -> tuple[int, ...] | None:
    """Strides in elements; None for a view that the planner has to copy."""
    if not x.node.primitive.view:
        return contiguous_strides(x.shape)
    (base,) = x.node.inputs
    below = _strides(base)
    placed = None if below is None else x.node.primitive.restride(base.shape, below)
    return None if placed is None else placed[1]


def _better(node: Node, inputs: list[Value], backend: Backend) -> Layout | None:
    """The layout of the second operand that the backend would choose, if that is cheaper than row-major."""
    operands = [Operand(x.type) for x in inputs]
    operands[1] = operands[1]._replace(layout=ANY)
    offer = backend.offer(node.primitive, tuple(operands))
    if not isinstance(offer, Offer) or offer.layouts is None or not offer.layouts[1].key:
        return None
    return offer.layouts[1] if offer.cost < cost(backend, node.primitive, inputs) else None
