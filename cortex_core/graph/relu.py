"""ReLU where it costs least, in the forward and in its gradient alike.

1. Into the batch norm before it: BatchNorm and its ReLU become BatchNormRelu, and their gradients
   BatchNormReluGrad.
2. Behind the max pooling after it, on a quarter of the elements:  max_pool(relu(x)) = relu(max_pool(x)), with
   the same winners wherever a gradient passes.  (Where a NaN wins a window, no gradient passes then, while
   before the element that the backend took for the winner could have got one.)  Only where there is a
   gradient: without one, a ReLU in the epilogue of the product before it is free.

The gradient of a ReLU is known by its code, which the scalar table makes: the *gate*, select(y > 0, g, 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from cortex_compute.expression import Code, Gradient
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.primitives.normalization import (
    BatchNorm,
    BatchNormGrad,
    BatchNormRelu,
    BatchNormReluGrad,
)
from cortex_compute.primitives.pooling import MaxPool, MaxPoolGrad
from cortex_compute.protocol import Backend, Offer, Operand
from cortex_compute.types import float32
from cortex_core.graph.matching import Key, consumers, cost
from cortex_core.graph.simplify import rewrite
from cortex_core.graph.value import Graph, Value
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import key

RELU = Elementwise(Code(1, [("relu", ("a", 0))], [("t", 0)]))
_BACK = Gradient(RELU.code, (), [float32]).of(0)
assert _BACK is not None
assert _BACK.used == (1, 2), "the gradient of a ReLU is made of its result and g"
GATE = Elementwise(_BACK.code, _BACK.literals)

Readers = dict[Key, list[Node]]


def join_relus(graph: Graph, backend: Backend) -> Graph:
    """Both rewrites, where the backend offers what they make for no more than what was there."""
    return _behind_pools(_into_batch_norms(graph, backend), backend)


def _run(primitive: Primitive, inputs: Sequence[Value], node: Node) -> tuple[Value, ...]:
    return Value.run(primitive, inputs, node.place)


def _reader(readers: Readers, x: Value) -> Node | None:
    """The one that reads a value, if there is but one."""
    found = readers.get(key(x), [])
    return found[0] if len(found) == 1 else None


# 1. Into the batch norm before it.


def _into_batch_norms(graph: Graph, backend: Backend) -> Graph:
    readers = consumers(graph)
    norms: set[Node] = set()
    relus: set[Node] = set()
    gradients: set[Node] = set()
    for node in graph.nodes():
        if type(node.primitive) is BatchNorm:
            relu = _reader(readers, Value(node))
            found = _norm_gradients(node, relu, readers)
            if relu is not None and found is not None and _pays(backend, node, relu, found):
                norms.add(node)
                relus.add(relu)
                gradients.update(found)

    def rule(node: Node, inputs: list[Value]) -> Any:
        if node in norms:
            return _run(BatchNormRelu(node.primitive.epsilon), inputs, node)[:3]
        if node in relus:
            return inputs
        if node in gradients:
            *first, gated = inputs
            y, g = gated.node.inputs
            residual = Value(y.node, 3)
            return _run(BatchNormReluGrad(node.primitive.epsilon), [*first, y, residual, g], node)
        return None

    return rewrite(graph, rule) if norms else graph


def _norm_gradients(norm: Node, relu: Node | None, readers: Readers) -> list[Node] | None:
    """The gradients of a batch norm, if a ReLU alone reads its y and they are of what that lets through."""
    if relu is None or relu.primitive != RELU:
        return None
    found = [n for n in readers.get((id(norm), 1), ()) if type(n.primitive) is BatchNormGrad]
    for n in found:
        gated = n.inputs[4]
        fits = (
            [key(x) for x in n.inputs[:4]] == [*map(key, norm.inputs[:2]), (id(norm), 1), (id(norm), 2)]
            and n.primitive.epsilon == norm.primitive.epsilon
            and _is_gate(gated, Value(relu))
            and _reader(readers, gated) is n
        )
        if not fits:
            return None
    return found


def _is_gate(gated: Value, y: Value) -> bool:
    """Whether a value is g where y > 0, else 0, for a g of y's type."""
    if gated.node.primitive != GATE:
        return False
    first, g = gated.node.inputs
    return key(first) == key(y) and bool(g.type == y.type)


def _pays(backend: Backend, norm: Node, relu: Node, gradients: Sequence[Node]) -> bool:
    """Whether the backend offers the fused nodes, the gradients with the residual that the forward keeps."""
    y = Value(relu)
    forward = BatchNormRelu(norm.primitive.epsilon)
    offer = backend.offer(forward, tuple(Operand(x.type) for x in norm.inputs))
    if not isinstance(offer, Offer):
        return False
    together, residual = offer.cost, Operand(forward.infer(*(x.type for x in norm.inputs))[3])
    apart = cost(backend, norm.primitive, norm.inputs) + cost(backend, RELU, relu.inputs)
    for n in gradients:
        *first, gated = n.inputs
        operands = [*(Operand(x.type) for x in (*first, y)), residual._replace(layout=offer.residual_layout)]
        back = backend.offer(BatchNormReluGrad(norm.primitive.epsilon), (*operands, Operand(y.type)))
        if not isinstance(back, Offer):
            return False
        together += back.cost
        apart += cost(backend, n.primitive, n.inputs) + cost(backend, GATE, gated.node.inputs)
    return together <= apart


# 2. Behind the max pooling after it.


class Pooled(NamedTuple):
    """A ReLU that is read by a max pooling, its gradient, and the gate of that, alone."""

    relu: Node
    pool: Node
    gradient: Node
    gate: Node


def _behind_pools(graph: Graph, backend: Backend) -> Graph:
    readers = consumers(graph)
    part_of: dict[Node, str] = {}
    for node in graph.nodes():
        if node.primitive == RELU:
            found = _pooled(node, readers)
            if found is not None and _smaller(backend, found):
                part_of.update({n: name for name, n in found._asdict().items()})

    def rule(node: Node, inputs: list[Value]) -> Any:
        part = part_of.get(node)
        if part == "relu":
            return inputs
        if part == "pool":
            largest, residual = _run(node.primitive, inputs, node)
            return [*_run(RELU, [largest], node), residual]
        if part == "gradient":
            x, y, residual, g = inputs
            (largest,) = y.node.inputs
            (gated,) = _run(GATE, [y, g], node)
            return _run(node.primitive, [x, largest, residual, gated], node)
        return [inputs[1]] if part == "gate" else None

    return rewrite(graph, rule) if part_of else graph


def _pooled(relu: Node, readers: Readers) -> Pooled | None:
    r = Value(relu)
    by_type = {type(n.primitive): n for n in readers.get(key(r), ())}
    pool, gradient = by_type.get(MaxPool), by_type.get(MaxPoolGrad)
    gate = by_type.get(Elementwise)
    if pool is None or gradient is None or gate is None or len(readers[key(r)]) != 3:
        return None
    d = Value(gradient)
    fits = (
        [key(x) for x in gradient.inputs[:3]] == [key(r), (id(pool), 0), (id(pool), 1)]
        and _is_gate(Value(gate), r)
        and key(gate.inputs[1]) == key(d)
        and _reader(readers, d) is gate
    )
    return Pooled(relu, pool, gradient, gate) if fits else None


def _smaller(backend: Backend, found: Pooled) -> bool:
    y, g = Value(found.pool), found.gradient.inputs[3]
    behind = cost(backend, RELU, [y]) + cost(backend, GATE, [y, g])
    before = cost(backend, RELU, found.relu.inputs) + cost(backend, GATE, found.gate.inputs)
    return behind <= before
