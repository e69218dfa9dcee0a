"""The nodes of a graph that its outputs need, each behind those that it takes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from heapq import heappop, heappush
from itertools import islice

from cortex_compute.errors import SpecError
from cortex_core.exchange.from_onnx.model import Graph, Node

MOST_TOLD = 20


def ordered(graph: Graph) -> Graph:
    """The graph with the nodes that lead to its outputs alone, in an order in which they can be computed.

    Raises `SpecError` where values are given twice, lacking, or made of themselves.
    """
    given = [*(port.name for port in graph.inputs), *graph.tensors]
    makers = {name: node for node in graph.nodes for name in filter(None, node.outputs)}
    made = [*given, *(name for node in graph.nodes for name in filter(None, node.outputs))]
    _refuse("several nodes or inputs give {}", (name for name, n in Counter(made).items() if n > 1))
    known = set(made)
    lacking = [
        f"{name!r:.60} (of {node.called})"
        for node in graph.nodes
        for name in node.inputs
        if name not in known | {""}
    ]
    _refuse(
        "nothing gives {}", [*lacking, *(f"the output {n!r:.60}" for n in graph.outputs if n not in known)]
    )
    needed = _needed(graph.outputs, makers)
    nodes = _sorted([node for node in graph.nodes if id(node) in needed], makers)
    return replace(graph, nodes=_constants_first(graph, nodes))


def _refuse(told: str, names: Iterable[str]) -> None:
    found = [*islice(dict.fromkeys(names), MOST_TOLD + 1)]
    if found:
        more = ", and more" if len(found) > MOST_TOLD else ""
        raise SpecError(told.format(", ".join(found[:MOST_TOLD]) + more))


def _needed(outputs: Iterable[str], makers: dict[str, Node]) -> set[int]:
    """The ids of the nodes that lead to the outputs."""
    found: set[int] = set()
    left = [*outputs]
    while left:
        node = makers.get(left.pop())
        if node is not None and id(node) not in found:
            found.add(id(node))
            left += node.inputs
    return found


def _constants_first(graph: Graph, nodes: list[Node]) -> list[Node]:
    """Those that depend on no input stand ahead: their numbers are known before a node that could use them,
    such as a convolution of which a later node adds the bias."""
    computed = {port.name for port in graph.inputs}
    for node in nodes:
        if not computed.isdisjoint(node.inputs):
            computed.update(filter(None, node.outputs))
    return sorted(nodes, key=lambda node: not computed.isdisjoint(node.inputs))


def _sorted(nodes: list[Node], makers: dict[str, Node]) -> list[Node]:
    """In the order of the file as far as that can be.  Raises `SpecError` for circles."""
    places = {id(node): place for place, node in enumerate(nodes)}
    waits: list[int] = []
    takers: dict[int, list[int]] = {}  # by the place of a node
    for place, node in enumerate(nodes):
        before = {places[id(makers[name])] for name in node.inputs if name in makers}
        waits.append(len(before))
        for maker in before:
            takers.setdefault(maker, []).append(place)
    ready = [place for place, count in enumerate(waits) if not count]  # a heap, for it is sorted
    found: list[Node] = []
    while ready:
        place = heappop(ready)
        found.append(nodes[place])
        for taker in takers.get(place, ()):
            waits[taker] -= 1
            if not waits[taker]:
                heappush(ready, taker)
    circle = (node.called for node, count in zip(nodes, waits) if count)
    _refuse("these nodes take what they give, or follow such: {}", circle)
    return found
