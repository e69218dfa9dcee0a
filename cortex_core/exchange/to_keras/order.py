"""The order in which Keras lists the layers of a graph, by which it numbers their weights.

It goes from the outputs backwards, and sorts by depth: how many calls there are, at most, from a layer to an
output; layers of one depth stand as they were met.  As `map_graph` in `keras.src.ops.function`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cortex_core.exchange.to_keras.graph import Layer, Tensor

Node = tuple[str, int]
"""The name of a layer, and which of its calls."""


def listed(layers: Mapping[str, Layer], outputs: Sequence[Tensor]) -> list[Layer]:
    """The layers that lead to the outputs, as Keras lists them."""
    nodes, met = _walked(layers, outputs)
    depths: dict[Node, int] = {}
    deepest: dict[str, int] = {}
    for node in reversed(nodes):
        name = node[0]
        deepest[name] = max(depths.setdefault(node, 0), deepest.get(name, 0))
        depths[node] = deepest[name]
        for parent in _parents(layers, node):
            depths[parent] = max(depths[node] + 1, depths.get(parent, 0))
    return [layers[name] for name in sorted(deepest, key=lambda name: (-deepest[name], met[name]))]


def _walked(layers: Mapping[str, Layer], outputs: Sequence[Tensor]) -> tuple[list[Node], dict[str, int]]:
    """The calls behind those that they take from, and when each layer was met first."""
    done: dict[Node, None] = {}
    met: dict[str, int] = {}
    for output in outputs:
        ahead = [_entered(layers, (output.layer, output.call), met)] if _node(output) not in done else []
        while ahead:
            node, parents = ahead[-1]
            parent = next((p for p in parents if p not in done), None)
            if parent is not None:
                ahead.append(_entered(layers, parent, met))
            else:
                ahead.pop()
                done[node] = None
    return [*done], met


def _entered(layers: Mapping[str, Layer], node: Node, met: dict[str, int]) -> tuple[Node, Iterator[Node]]:
    met.setdefault(node[0], len(met))
    return node, _parents(layers, node)


def _parents(layers: Mapping[str, Layer], node: Node) -> Iterator[Node]:
    name, number = node
    return map(_node, layers[name].calls[number].tensors())


def _node(x: Tensor) -> Node:
    return x.layer, x.call
