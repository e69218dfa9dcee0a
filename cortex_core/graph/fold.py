"""Batch norm of a prediction goes into the convolution or product before it.

There the statistics are weights as the kernel is: (x * w + b - mean) factor + shift is x * (w factor) plus
(b - mean) factor + shift, and both are computed once for each version of the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cortex_compute.expression import Code, build
from cortex_compute.frozen import frozen
from cortex_compute.primitives.convolution import Conv
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.primitives.matrix import Gemm
from cortex_core.graph.matching import consumers
from cortex_core.graph.schedule import steady
from cortex_core.graph.simplify import rewrite
from cortex_core.graph.value import Graph, Value
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import key

ADDED = build(lambda x, b: x + b, 2).code
SCALED = build(lambda x, mean, factor: (x - mean) * factor, 3).code
AFFINE = build(lambda x, mean, factor, shift: (x - mean) * factor + shift, 4).code


@frozen
class Product:
    """A convolution or matrix product with weights, and what is added to it for each channel."""

    node: Node
    bias: Value | None


def fold(graph: Graph) -> Graph:
    """The graph with every such normalisation folded."""
    fixed, readers = steady(graph), consumers(graph)

    def product(x: Value) -> Product | None:
        """What ``x`` is, where only the normalisation reads it."""
        if len(readers[key(x)]) != 1:
            return None
        p = x.node.primitive
        if isinstance(p, (Conv, Gemm)):
            turned = isinstance(p, Gemm) and p.transpose_b
            return Product(x.node, None) if x.node.inputs[1].node in fixed and not turned else None
        if isinstance(p, Elementwise) and p.code == ADDED:
            inner = product(x.node.inputs[0])
            bias = x.node.inputs[1]
            per_channel = bias.node in fixed and bias.shape == x.shape[-1:]
            return Product(inner.node, bias) if inner and inner.bias is None and per_channel else None
        return None

    def rule(node: Node, inputs: list[Value]) -> Sequence[Value] | None:
        p = node.primitive
        if not isinstance(p, Elementwise) or p.code not in (SCALED, AFFINE):
            return None
        vectors = node.inputs[1:]
        if any(v.node not in fixed or v.shape != node.types[0].shape[-1:] for v in vectors):
            return None
        found = product(node.inputs[0])
        if found is None or found.node.types[0] != node.types[0]:
            return None
        return [_folded(node, found, inputs, shift=inputs[3] if p.code == AFFINE else None)]

    return rewrite(graph, rule)


def _folded(node: Node, found: Product, inputs: list[Value], shift: Value | None) -> Value:
    _, mean, factor, *_ = inputs
    made = inputs[0].node.inputs[0].node if found.bias is not None else inputs[0].node
    bias = inputs[0].node.inputs[1] if found.bias is not None else None
    x, w = made.inputs[:2]
    scaled = _pointwise(build(lambda w, f: w * f, 2).code, [w, factor], node)
    offset = [mean, factor] if bias is None else [bias, mean, factor]
    offset += [] if shift is None else [shift]
    added = _pointwise(_offset_code(bias is not None, shift is not None), offset, node)
    y = Value(Node(Value, made.primitive, [x, scaled], made.types, made.place))
    return _pointwise(ADDED, [y, added], node)


def _offset_code(bias: bool, shift: bool) -> Code:
    def formula(*operands: Any) -> Any:
        rest = list(operands)
        b = rest.pop(0) if bias else None
        mean, factor = rest[:2]
        moved = (-mean if b is None else b - mean) * factor
        return moved + rest[2] if shift else moved

    return build(formula, 2 + bias + shift).code


def _pointwise(code: Code, operands: list[Value], node: Node) -> Value:
    p = Elementwise(code)
    return Value(Node(Value, p, operands, p.infer(*(x.type for x in operands)), node.place))
