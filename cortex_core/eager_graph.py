"""The graph of eager code as an object: nodes and edges to look at, and a context that gives it back.

`graph_of` takes a picture: plain data, which holds no tensor and keeps no memory.  `AutogradGraph` watches
the nodes that are made in a stretch of code, weakly.  Every walk is a loop: a chain may be as long as it
likes, and a circle that somebody made by hand is found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, NamedTuple
from weakref import WeakSet

import numpy as np

from cortex_compute.errors import GradientError
from cortex_compute.expression import Code, Literal, Ref
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.elementwise import Elementwise
from cortex_core.autograd import release
from cortex_core.explain import NAMES
from cortex_core.inplace import settled
from cortex_core.modes import MODE, mode
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import ancestors, key, topological
from cortex_core.tensor import Tensor, emptied

CYCLE = "Cycle detected in autograd graph"


@dataclass(frozen=True)
class GraphNode:
    """One operation, or a leaf: a tensor that no recorded operation made.

    ``operation`` is "leaf" for those.  ``shape`` and ``dtype`` are those of the (first) result.  ``detail``
    is what the operation was given besides tensors, or the formula of pointwise code; ``place`` the line that
    it came from, where that is known (a description, or code under `detect_anomaly`).  ``value`` and
    ``gradient`` are texts, filled where `graph_of` was asked for values and they are still there.
    """

    id: int
    operation: str
    shape: tuple[int, ...]
    dtype: str
    name: str = ""
    detail: str = ""
    place: str = ""
    requires_grad: bool = True
    value: str = ""
    gradient: str = ""

    @property
    def is_leaf(self) -> bool:
        """Whether no operation made it."""
        return self.operation == "leaf"


class Edge(NamedTuple):
    """Result ``output`` of the node ``source`` is operand ``argument`` of the node ``target``."""

    source: int
    target: int
    argument: int
    output: int


class EagerGraph:
    """What some tensors were computed from.  Ids count from 0 in topological order: outputs before inputs,
    leaves last.
    """

    def __init__(
        self, nodes: Sequence[GraphNode], edges: Sequence[Edge], outputs: Sequence[int], cyclic: bool
    ):
        self.nodes = tuple(nodes)
        self.edges = tuple(edges)
        self.outputs = tuple(outputs)
        self._cyclic = cyclic

    def topological(self) -> tuple[GraphNode, ...]:
        """All nodes, each before those that it was computed from.

        Raises `GradientError` (a RuntimeError) for a circle, which has no such order.
        """
        if self._cyclic:
            raise GradientError(CYCLE)
        return self.nodes

    def check_cycle(self) -> bool:
        """Whether an operation depends on its own result; only changes of ``node.inputs`` by hand do that."""
        return self._cyclic

    def to_dict(self) -> dict[str, Any]:
        """Lists, dicts, numbers and texts, as JSON takes them."""
        nodes = [{**asdict(node), "shape": list(node.shape)} for node in self.nodes]
        return {"nodes": nodes, "edges": [e._asdict() for e in self.edges], "outputs": list(self.outputs)}

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[GraphNode]:
        return iter(self.nodes)

    def __getitem__(self, id: int) -> GraphNode:
        return self.nodes[id]

    def __repr__(self) -> str:
        leaves = sum(node.is_leaf for node in self.nodes)
        return f"<EagerGraph: operations {len(self) - leaves}, leaves {leaves}, edges {len(self.edges)}>"


Names = Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]


def graph_of(*outputs: Tensor, names: Names = (), values: bool = False) -> EagerGraph:
    """The operations and leaves that ``outputs`` were computed from.

    Also after `backward`, which gives the numbers back but not the structure.  ``names`` maps names to
    tensors, leaves or results: a dict, or what ``model.named_parameters()`` gives.  With ``values`` small
    arrays are written down, and gradients, as far as they are there (`retain_grad`, ``retain_graph=True``).
    """
    for x in outputs:
        if not isinstance(x, Tensor):
            raise TypeError(f"graph_of takes Tensors, got {type(x).__name__}")
    nodes, cyclic = _in_order(settled(outputs))
    named = {key(y): (name, x) for name, x in dict(names).items() for y in (x, emptied(x))}
    operands = [x for node in nodes for x in node.inputs]
    leaves = {id(x): x for x in (*outputs, *operands) if x.node is None}
    ids = {id(source): i for i, source in enumerate((*nodes, *leaves.values()))}
    known: dict[tuple[int, int], Tensor] = {}
    for x in (*operands, *outputs, *(x for _, x in named.values())):
        if key(x) not in known or known[key(x)].grad is None:
            known[key(x)] = x

    def told(k: tuple[int, int]) -> dict[str, Any]:
        name = named[k][0] if k in named else ""
        x = known.get(k)
        if x is None or not values:
            return {"name": name}
        return {"name": name, "value": _short(_numbers(x)), "gradient": _short(_numbers(x.grad))}

    made = [_operation(ids[id(node)], node, told((id(node), 0))) for node in nodes]
    made += [_leaf(ids[id(x)], x, told(key(x))) for x in leaves.values()]
    edges = [
        Edge(ids[id(x) if x.node is None else id(x.node)], ids[id(node)], argument, x.index)
        for node in nodes
        for argument, x in enumerate(node.inputs)
    ]
    return EagerGraph(made, edges, [ids[id(x) if x.node is None else id(x.node)] for x in outputs], cyclic)


def _in_order(nodes: set[Node]) -> tuple[list[Node], bool]:
    """Outputs before inputs, and whether there is a circle (then the latest come first)."""
    try:
        return topological(nodes)[::-1], False
    except ValueError:
        return sorted(nodes, key=lambda node: -node.serial), True


def _operation(id: int, node: Node, told: dict[str, Any]) -> GraphNode:
    type = node.types[0]
    place = "" if node.place is None else str(node.place)
    name, detail = describe(node.primitive)
    return GraphNode(id, name, type.shape, type.dtype.name, detail=detail, place=place, **told)


def _leaf(id: int, x: Tensor, told: dict[str, Any]) -> GraphNode:
    return GraphNode(id, "leaf", x.shape, x.dtype.name, requires_grad=x.requires_grad, **told)


def _numbers(x: Tensor | None) -> Any:
    """The numbers of a tensor, or of the node that made it, as far as they are there."""
    if x is None or x.is_sparse:
        return None
    if x._data is not None:
        return x._data
    return None if x.node is None or x.node.buffers is None else x.node.buffers[x.index]


def _short(array: Any) -> str:
    """Few numbers as text; empty where there are many, or none."""
    if array is None or array.size > 4:
        return ""
    text = np.array2string(np.asarray(array), precision=4, separator=",", suppress_small=True)
    return re.sub(r"\s", "", text).replace(",", ", ")


INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**"}
INFIX |= {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}


def describe(primitive: Any) -> tuple[str, str]:
    """An operation's name in the language, and what it was given: ("sum", "axes=(0,)")."""
    if isinstance(primitive, Elementwise):
        names = [_called(op) for op, *_ in primitive.code.instructions]
        told = formula(primitive.code, primitive.literals)
        return ", ".join(names), "" if len(names) == 1 and told in _plain(names[0], primitive.code) else told
    if not isinstance(primitive, Primitive):
        return primitive.name, ""
    name = {"Gemm": "matmul"}.get(primitive.name, primitive.name)
    detail = str(primitive)[len(primitive.name) + 1 : -1]
    if name == "Reduce":
        return re.match(r"kind=(\w+)(?:, )?(.*)", detail).groups()  # type: ignore[union-attr, return-value]
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower(), detail


def formula(code: Code, literals: Sequence[Literal], longest: int = 80) -> str:
    """Pointwise code as one expression over a, b, ...; empty where that is longer than ``longest``."""
    texts: list[str] = []

    def term(ref: Ref) -> str:
        kind, i = ref
        return repr(literals[i]) if kind == "l" else texts[i] if kind == "t" else chr(ord("a") + i)

    for op, *refs in code.instructions:
        terms = [term(ref) for ref in refs]
        called = f"{_called(op)}({', '.join(terms)})"
        texts.append(f"({f' {INFIX[op]} '.join(terms)})" if op in INFIX else called)
        if len(texts[-1]) > longest:
            return ""
    return ", ".join(_bare(term(ref)) for ref in code.results)


def _called(op: str) -> str:
    """What the language calls an instruction: "where" for "select"."""
    return NAMES.get(op, op)


def _plain(op: str, code: Code) -> tuple[str, str]:
    """The formulas that say no more than the name of the instruction."""
    operands = [chr(ord("a") + i) for i in range(code.arity)]
    return f"{op}({', '.join(operands)})", f" {INFIX.get(op)} ".join(operands)


def _bare(text: str) -> str:
    """Without the pair of brackets around everything, which the last infix operator made."""
    return text[1:-1] if text.startswith("(") else text


class AutogradGraph:
    """The nodes that are recorded inside ``with AutogradGraph() as graph:``, held weakly.

    At the end ``check_for_cycles`` raises `GradientError` (a RuntimeError) where an operation depends on its
    own result, and ``auto_cleanup`` gives the memory of all nodes back: results that somebody holds keep
    their numbers, a `backward` through them says that the graph was freed.  An outer one sees the nodes of
    those inside.
    """

    def __init__(self, check_for_cycles: bool = True, auto_cleanup: bool = True) -> None:
        self.check_for_cycles = check_for_cycles
        self.auto_cleanup = auto_cleanup
        self._nodes: WeakSet[Node] = WeakSet()
        self._modes: list[mode] = []

    def __enter__(self) -> AutogradGraph:
        collect, outer = self._nodes.add, MODE.get().watch

        def watch(node: Node) -> None:
            collect(node)
            if outer is not None:
                outer(node)

        self._modes.append(mode(watch=watch))
        self._modes[-1].__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._modes.pop().__exit__()
        try:
            if self.check_for_cycles and error is None:
                self.check_cycle()
        finally:
            if self.auto_cleanup:
                for node in self._nodes:
                    release(node)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that still live, the oldest first."""
        return tuple(sorted(self._nodes, key=lambda node: node.serial))

    def check_cycle(self) -> bool:
        """False; raises `GradientError` (a RuntimeError) where there is a circle."""
        nodes = set(self._nodes)
        if _in_order(nodes | ancestors(x for node in nodes for x in node.inputs))[1]:
            raise GradientError(CYCLE)
        return False

    def __len__(self) -> int:
        return len(self._nodes)

    def __repr__(self) -> str:
        return f"<AutogradGraph: {len(self)} nodes>"
