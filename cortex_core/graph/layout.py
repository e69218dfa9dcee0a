"""Operands in the layout that the kernels like best.

One that lies otherwise than row-major, such as a transposed image, is copied where the kernels gain more by
it than that costs.  Weights that no run changes, in evaluation and prediction, are copied into the layout
that the backend chooses once for each version of them.  In training each kernel brings them there itself: the
forward, the gradients and the optimiser want different ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cortex_compute.primitives.base import OPAQUE, Primitive
from cortex_compute.primitives.convolution import Conv
from cortex_compute.primitives.elementwise import Copy
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.primitives.views import Broadcast, Slice, Transpose
from cortex_compute.protocol import ANY, ROW_MAJOR, Backend, Layout, Offer, Operand
from cortex_compute.types import contiguous_strides
from cortex_core.graph.matching import Key, cost
from cortex_core.graph.memory import row_major
from cortex_core.graph.schedule import steady
from cortex_core.graph.simplify import rewrite
from cortex_core.graph.value import Graph, Value, is_leaf
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import key


def dense_operands(graph: Graph, backend: Backend) -> Graph:
    """The graph with a row-major copy of each strided operand whose readers are faster with it."""
    copies: dict[Key, Value] = {}
    if not any(_may_turn(node.primitive) for node in graph.nodes()):
        return graph

    def rule(node: Node, inputs: list[Value]) -> Sequence[Value] | None:
        if is_leaf(node) or node.primitive.view or isinstance(node.primitive, Copy):
            return None
        given = [_operand(x) for x in inputs]
        turned = [i for i, operand in enumerate(given) if operand.layout != ROW_MAJOR]
        if not turned or not _gains(
            node, given, [i for i in turned if key(inputs[i]) not in copies], backend
        ):
            return None
        dense = list(inputs)
        for i in turned:
            dense[i] = copies.setdefault(key(inputs[i]), _copied(inputs[i], Copy(), node))
        made = Node(Value, node.primitive, dense, node.types, node.place)
        return [Value(made, i) for i in range(len(node.types))]

    return rewrite(graph, rule)


def _may_turn(primitive: Primitive) -> bool:
    """Whether a view may lie otherwise than row-major: not the piece of a flat array that a parameter is."""
    if isinstance(primitive, Slice):
        return len(primitive.sizes) > 1 or primitive.steps != (1,)
    return isinstance(primitive, (Broadcast, Transpose))


def _gains(node: Node, given: Sequence[Operand], copied: Sequence[int], backend: Backend) -> bool:
    """Whether a kernel over row-major operands, of which some must be copied first, is the cheaper one."""
    if any(operand.type is OPAQUE for operand in given):  # what can read the residual wants it so
        return True
    strided = _cost(backend, node.primitive, given)
    dense = _cost(backend, node.primitive, [Operand(operand.type) for operand in given])
    return dense + sum(_cost(backend, Copy(), [given[i]]) for i in copied) < strided


def _cost(backend: Backend, primitive: Primitive, operands: Sequence[Operand]) -> float:
    offer = backend.offer(primitive, tuple(operands))
    return offer.cost if isinstance(offer, Offer) else math.inf


def _operand(x: Value) -> Operand:
    """A value as it lies."""
    strides = None if x.type is OPAQUE else _strides(x)
    if strides is None or row_major(x.shape, strides):
        return Operand(x.type)
    return Operand(x.type, Layout(strides))


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
    operands = [_operand(x) for x in inputs]
    operands[1] = operands[1]._replace(layout=ANY)
    offer = backend.offer(node.primitive, tuple(operands))
    if not isinstance(offer, Offer) or offer.layouts is None or not offer.layouts[1].key:
        return None
    return offer.layouts[1] if offer.cost < cost(backend, node.primitive, inputs) else None
