"""What exporters write out in several nodes, as the one operator that it is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.from_onnx.model import Graph, Node, Tensor

GELU_SINCE, SWISH_SINCE = 20, 24
CLOSE = 1e-3
"""How near, relatively, a written root of 2 is to it: some files hold it in 16 bits."""


def plainer(graph: Graph) -> Graph:
    """The graph with Gelu for x (1 + erf(x / sqrt(2))) / 2, as it is written out before opset 20, and Swish
    for x sigmoid(x), before opset 24."""
    found = dict(_Formulas(graph).all())
    if not found:
        return graph
    return replace(graph, nodes=[found.get(id(node), node) for node in graph.nodes])


class _Formulas:
    """Finds the nodes that end such a formula."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.makers = {name: node for node in graph.nodes for name in node.outputs}
        self.consumers = graph.consumers()

    def all(self) -> Iterator[tuple[int, Node]]:
        """By the id of the last node of each formula the node that stands for it."""
        for node in self.graph.nodes:
            if node.op == "Erf" and not node.domain:
                x = self._divided(node.inputs[0])
                last = x and self._last(node, x)
                if last:
                    yield id(last), Node("Gelu", "", last.name, (x,), last.outputs, {}, GELU_SINCE)
            if node.op == "Sigmoid" and not node.domain:
                last = self._only(node, "Mul")
                if last and {*last.inputs} == {*node.inputs, *node.outputs}:
                    yield id(last), Node("Swish", "", last.name, node.inputs, last.outputs, {}, SWISH_SINCE)

    def _divided(self, name: str) -> str:
        """x, where the value is x / sqrt(2)."""
        node = self.makers.get(name)
        if node is None or node.op not in ("Div", "Mul") or len(node.inputs) != 2:
            return ""
        x, number = self._with_number(node)
        wanted = math.sqrt(2) if node.op == "Div" else math.sqrt(0.5)
        swapped = node.op == "Div" and x != node.inputs[0]
        return x if number and not swapped and abs(number / wanted - 1) < CLOSE else ""

    def _last(self, erf: Node, x: str) -> Node | None:
        """The node that gives the whole product, whatever the order of its factors is."""
        node = self._only(erf, "Add")
        if node is None or self._with_number(node)[1] != 1:
            return None
        left = {"x", "half"}
        while left:
            before, node = node, self._only(node, "Mul")
            if node is None:
                return None
            other = next((name for name in node.inputs if name != before.outputs[0]), "")
            left -= self._factors(other, x)
            if not self._factors(other, x) or (node.outputs[0] in self.graph.outputs and left):
                return None
        return node

    def _factors(self, name: str, x: str) -> set[str]:
        """Which of the factors x and 1/2 a value holds."""
        if name == x:
            return {"x"}
        if self._number(name) == 0.5:
            return {"half"}
        node = self.makers.get(name)
        halved = node is not None and node.op == "Mul" and self._with_number(node) == (x, 0.5)
        return {"x", "half"} if halved else set()

    def _only(self, node: Node, op: str) -> Node | None:
        """The node of this operator that alone takes what another gives."""
        takers = self.consumers.get(node.outputs[0], [])
        alone = len(takers) == 1 and node.outputs[0] not in self.graph.outputs
        return takers[0] if alone and takers[0].kind == op and len(takers[0].inputs) == 2 else None

    def _with_number(self, node: Node) -> tuple[str, float | None]:
        """The other input of a node, and the number that one of the two is."""
        for name, other in (node.inputs, node.inputs[::-1]) if len(node.inputs) == 2 else ():
            number = self._number(name)
            if number is not None:
                return other, number
        return "", None

    def _number(self, name: str) -> float | None:
        tensor = self.graph.tensors.get(name)
        maker = self.makers.get(name)
        if tensor is None and maker is not None and maker.op == "Constant":
            told = maker.attributes.get("value", maker.attributes.get("value_float"))
            if isinstance(told, float):
                return told
            tensor = told if isinstance(told, Tensor) else None
        if tensor is None or any(n != 1 for n in tensor.dims):
            return None
        try:
            return float(tensor.array.reshape(()))
        except (Unfit, ValueError):
            return None
