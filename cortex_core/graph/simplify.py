"""Rewrites that keep every bit, or every bit but rounding: the same graph with fewer nodes.

One walk in topological order.  Each node is rebuilt over its new operands, offered to the rules below, and
looked up among the nodes already made (common subexpressions).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cortex_compute.expression import Builder, linearize, results
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.primitives.views import Broadcast, Reshape, Transpose
from cortex_compute.types import bfloat16, broadcast
from cortex_core.graph.turn import behind
from cortex_core.graph.value import Constant, Graph, Value, constant, is_leaf
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import key, topological

Turn = Callable[[Primitive, Sequence[Value]], "tuple[Primitive, list[Value], Primitive] | None"]
"""What `behind` says of an op."""
FOLD_LIMIT = 4096  # elements; a larger constant is better computed than stored


def rewrite(
    graph: Graph,
    rule: Callable[[Node, list[Value]], Sequence[Value] | None],
    after: Mapping[Node, Sequence[Node]] | None = None,
) -> Graph:
    """The graph with every node replaced by what ``rule(node, new_operands)`` says; None: the same node.

    ``after`` names nodes that must be replaced before a node is.  Once one node is new, all behind it are
    made anew, so that the order of creation, by which a program may be scheduled, stays what it was.
    """
    done: dict[tuple[int, int], Value] = {}
    renewed = False
    for node in topological(graph.nodes(), after):
        inputs = [done[key(x)] for x in node.inputs]
        new: Sequence[Value] | None = rule(node, inputs)
        if new is None:
            kept = node
            if inputs and (renewed or any(key(a) != key(b) for a, b in zip(inputs, node.inputs))):
                kept = Node(Value, node.primitive, inputs, node.types, node.place)
            new = [Value(kept, i) for i in range(len(node.types))]
        renewed = renewed or (bool(inputs) and new[0].node is not node)
        for i, value in enumerate(new):
            done[id(node), i] = value
    return graph.with_roots([done[key(x)] for x in graph.roots])


def simplify(graph: Graph, further: Turn | None = None) -> Graph:
    """Folds constants, joins views, moves transposes on, looks through broadcasts, and merges equal nodes.

    ``further`` says behind which ops transposes move that stay where they are in programs.
    """
    seen: dict[Any, list[Value]] = {}

    def rule(node: Node, inputs: list[Value]) -> Sequence[Value] | None:
        if isinstance(node.primitive, Constant):
            return None
        if is_leaf(node):  # one leaf for each name
            return seen.setdefault(node.primitive, [Value(node)])
        return applied(node.primitive, inputs, node)

    def applied(primitive: Primitive, inputs: list[Value], node: Node) -> list[Value]:
        """The results of a primitive, in the place of ``node`` or of a part of it."""
        if primitive.view:
            joined = _joined(primitive, inputs[0])
            if joined is not None:
                return [joined]
        elif isinstance(primitive, Elementwise):
            primitive, inputs = _elementwise(primitive, inputs)
        turned = behind(primitive, inputs, lambda p, x: applied(p, [x], node)[0])
        if turned is None and further is not None:
            turned = further(primitive, inputs)
        if turned is not None:
            primitive, inputs, back = turned
            return [applied(back, [y], node)[0] for y in applied(primitive, inputs, node)]
        known = [k for k in map(literal, inputs) if k is not None]
        if len(known) == len(inputs) and not primitive.view:
            folded = _fold(primitive, known, node)
            if folded is not None:
                return folded
        k = (primitive, *map(key, inputs))
        found = seen.get(k)
        if found is None:
            same = primitive is node.primitive and all(key(a) == key(b) for a, b in zip(inputs, node.inputs))
            types = node.types if same else primitive.infer(*(x.type for x in inputs))
            made = node if same else Node(Value, primitive, inputs, types, node.place)
            found = seen[k] = [Value(made, i) for i in range(len(made.types))]
        return found

    return rewrite(graph, rule)


def _joined(p: Primitive, x: Value) -> Value | None:
    """A view of a view as one; None where there is nothing to join."""
    if isinstance(p, Reshape):
        return _reshape(p, x)
    return _view(p, x) if isinstance(p, (Transpose, Broadcast)) else None


def _reshape(p: Reshape, x: Value) -> Value | None:
    while isinstance(x.node.primitive, Reshape):
        x = x.node.inputs[0]
    if x.shape == p.shape:
        return x
    if isinstance(x.node.primitive, Constant):
        return constant(x.node.primitive.array.reshape(p.shape))
    return Value(Node(Value, p, [x], p.infer(x.type), x.node.place))


def _view(p: Primitive, x: Value) -> Value | None:
    inner = x.node.primitive
    if isinstance(p, Transpose):
        if isinstance(inner, Transpose):
            axes = tuple(inner.axes[a] for a in p.axes)
            source = x.node.inputs[0]
            if axes == tuple(range(len(axes))):
                unturned: Value = source
                return unturned
            joined = Transpose(axes)
            return Value(Node(Value, joined, [source], joined.infer(source.type), x.node.place))
        return None
    assert isinstance(p, Broadcast)
    if isinstance(inner, Broadcast):
        source = x.node.inputs[0]
        return Value(Node(Value, p, [source], p.infer(source.type), x.node.place))
    if x.type.size == 1 and isinstance(inner, Reshape):  # a broadcast scalar, whatever its shape
        source = x.node.inputs[0]
        if not source.shape:
            return Value(Node(Value, p, [source], p.infer(source.type), x.node.place))
    return None


def _elementwise(p: Elementwise, inputs: list[Value]) -> tuple[Elementwise, list[Value]]:
    """Operands that only repeat are looked through, equal ones joined, constant scalars made literals."""
    shape = broadcast(x.shape for x in inputs)
    operands = list(inputs)
    for i, x in enumerate(operands):
        if not isinstance(x.node.primitive, Broadcast):
            continue
        source = x.node.inputs[0]
        others = [y.shape for j, y in enumerate(operands) if j != i]
        if broadcast([source.shape, *others]) == shape:
            operands[i] = source
    literals = {
        i: x.node.primitive.array.item()
        for i, x in enumerate(operands)
        if isinstance(x.node.primitive, Constant) and x.type.size == 1 and x.dtype.kind != "bool"
    }
    distinct = {key(x): x for i, x in enumerate(operands) if i not in literals}
    if len(distinct) == len(operands):
        return (p, operands)
    kept = list(distinct.values())
    if not kept or broadcast(x.shape for x in kept) != shape:
        return p, operands
    joined = _substitute(p, operands, literals, {k: i for i, k in enumerate(distinct)})
    before = [t.dtype for t in p.infer(*(x.type for x in operands))]
    try:
        after = [t.dtype for t in joined.infer(*(x.type for x in kept))]
    except TypeError:
        return p, operands
    return (joined, kept) if after == before else (p, operands)


def _substitute(
    p: Elementwise, operands: list[Value], literals: dict[int, Any], number: dict[Any, int]
) -> Elementwise:
    builder = Builder()
    new = [
        builder.literal(literals[i]) if i in literals else builder.operand(number[key(x)])
        for i, x in enumerate(operands)
    ]
    built = linearize(results(builder, p.code, p.literals, new), len(number))
    return Elementwise(built.code, built.literals)


def literal(x: Value) -> np.ndarray | None:
    """The numbers of a value that is known now: a constant, or a constant that repeats."""
    if isinstance(x.node.primitive, Broadcast):
        inner = literal(x.node.inputs[0])
        return None if inner is None else np.broadcast_to(inner, x.shape)
    return x.node.primitive.array if isinstance(x.node.primitive, Constant) else None


def _fold(p: Primitive, known: list[np.ndarray], node: Node) -> list[Value] | None:
    """The results of a primitive over known numbers, computed now."""
    from cortex_core.machine import using
    from cortex_core.ops.apply import apply
    from cortex_core.tensor import Tensor, no_grad

    if p.residual or any(t.size > FOLD_LIMIT for t in node.types) or any(a.size > FOLD_LIMIT for a in known):
        return None
    if any(t.dtype is bfloat16 for t in node.types):  # of which NumPy has no arrays
        return None
    with no_grad(), using("numpy"):  # the same numbers, whatever the program runs on
        out = apply(p, *map(Tensor, known))
    return [constant(y.data) for y in (out if isinstance(out, tuple) else (out,))]
