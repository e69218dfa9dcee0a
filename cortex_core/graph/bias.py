"""A bias' gradient from the kernel that makes the weights' gradient: both read the whole of g.

The sum of g over all axes but the last, beside ConvKernelGrad(x, g) or the product A g, becomes that node's
second output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.convolution import ConvKernelGrad
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.primitives.reduce import Reduce
from cortex_compute.primitives.views import Reshape
from cortex_compute.protocol import Backend
from cortex_core.graph.matching import Key, cost
from cortex_core.graph.simplify import rewrite
from cortex_core.graph.value import Graph, Value
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import key, topological


def join_bias_gradients(graph: Graph, backend: Backend) -> Graph:
    """Sums into the products that read the same g, where the backend offers it for no more than both apart.

    Where a product depends on such a sum, which only strange graphs do, all stay as they are.
    """
    order = topological(graph.nodes())
    products: dict[tuple[Key, int], Node] = {}
    for node in order:
        if _with_sums(node) is not None:
            products.setdefault(_columns(node.inputs[1]), node)
    product_of: dict[Node, Node] = {}
    for node in order:
        if _sums_columns(node):
            product = products.get(_columns(node.inputs[0]))
            if product is not None and _pays(backend, product, node):
                product_of[node] = product
    after = {total: [product] for total, product in product_of.items()}
    try:
        topological(order, after)
    except ValueError:
        return graph
    made: dict[Node, tuple[Value, ...]] = dict.fromkeys(product_of.values(), ())

    def rule(node: Node, inputs: list[Value]) -> Sequence[Value] | None:
        if node in made:
            primitive = _with_sums(node)
            assert primitive is not None
            made[node] = Value.run(primitive, inputs, node.place)
            return made[node][:1]
        return made[product_of[node]][1:] if node in product_of else None

    return rewrite(graph, rule, after) if made else graph


def _with_sums(node: Node) -> Primitive | None:
    """The primitive that gives the sums of its second operand's columns as well."""
    p = node.primitive
    if isinstance(p, ConvKernelGrad):
        return replace(p, bias=True)
    if isinstance(p, Gemm) and p.epilogue is None and not p.transpose_b:
        return replace(p, sums=True) if all(x.ndim == 2 for x in node.inputs) else None
    return None


def _sums_columns(node: Node) -> bool:
    p = node.primitive
    if not isinstance(p, Reduce) or p.kind != "sum" or p.body is not None or p.keepdims:
        return False
    rank = node.inputs[0].ndim
    return rank > 1 and p.axes == tuple(range(rank - 1))


def _columns(x: Value) -> tuple[Key, int]:
    """What identifies the rows of a value's last axis, whatever shape the other axes have."""
    columns = x.shape[-1]
    while isinstance(x.node.primitive, Reshape):
        x = x.node.inputs[0]
    return key(x), columns


def _pays(backend: Backend, product: Node, total: Node) -> bool:
    primitive = _with_sums(product)
    assert primitive is not None
    apart = cost(backend, product.primitive, product.inputs) + cost(backend, total.primitive, total.inputs)
    return cost(backend, primitive, product.inputs) <= apart
