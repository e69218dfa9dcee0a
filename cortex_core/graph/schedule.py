"""The order of the instructions.

Reverse mode's own order, creation, is close to the least memory for large batches; depth-first from the roots
is often better for small ones.  The planner tries both.  What only guarded updates need comes after the
predicate.
"""

from __future__ import annotations

from collections.abc import Iterable

from cortex_compute.frozen import frozen
from cortex_core.graph.value import Graph, Input, State, Value, is_leaf
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import ancestors, topological


@frozen
class Schedule:
    """Nodes in order (views among them, leaves not); those from ``tail`` on are skipped when the guard fails.

    ``direct`` holds the names of the states that their new value's kernel may write straight over.  The nodes
    of the ``prologue`` come first: they depend on nothing that a run changes.
    """

    order: tuple[Node, ...]
    tail: int
    direct: frozenset[str]
    prologue: frozenset[Node] = frozenset()


def schedules(graph: Graph) -> list[Schedule]:
    """The candidates."""
    nodes = {n for n in graph.nodes() if not is_leaf(n)}
    prologue = frozenset(steady(graph) & nodes)
    head = nodes
    if graph.predicate is not None:
        always = [u.value for u in graph.updates if not u.guarded]
        head = {n for n in ancestors([*graph.outputs.values(), graph.predicate, *always]) if n in nodes}
    tail = nodes - head - prologue
    head = head - prologue
    edges, direct = _write_after_read(graph, nodes, head)
    before = topological(prologue)
    first = topological(head, edges), topological(tail, edges)
    second = _depth_first(graph, head, edges), _depth_first(graph, tail, edges)
    orders = [first] if first == second else [first, second]  # a chain has but one
    return [Schedule((*before, *a, *b), len(before) + len(a), direct, prologue) for a, b in orders]


def steady(graph: Graph) -> set[Node]:
    """The nodes that depend on constants and on states that the graph does not change, leaves included."""
    changing = {u.state.node.primitive for u in graph.updates}
    found: set[Node] = set()
    for node in topological(graph.nodes()):
        if isinstance(node.primitive, Input) or node.primitive in changing:
            continue
        if all(x.node in found for x in node.inputs):
            found.add(node)
    return found


def storage_root(x: Value) -> Value:
    """The value whose memory ``x`` looks into, through views."""
    while x.node.primitive.view:
        x = x.node.inputs[0]
    return x


def _write_after_read(
    graph: Graph, nodes: set[Node], head: set[Node]
) -> tuple[dict[Node, list[Node]], frozenset[str]]:
    """Edges that make each reader of a state's old value come before the kernel that writes the new one.

    Where they would make a circle (two states, each from the other), or a reader of the tail would have to
    come before a writer of the head, they are dropped, and that state gets a copy at the end.
    """
    readers: dict[str, set[Node]] = {}
    for node in nodes:
        for x in node.inputs:
            root = storage_root(x)
            if isinstance(root.node.primitive, State) and not node.primitive.view:
                readers.setdefault(root.node.primitive.name, set()).add(node)
    wanted: dict[str, tuple[Node, set[Node]]] = {}
    for update in graph.updates:
        writer = storage_root(update.value).node
        name = update.state.node.primitive.name
        before = readers.get(name, set()) - {writer}
        if writer in nodes and not (writer in head and before - head):
            wanted[name] = (writer, before)
    edges = _edges(wanted.values())
    try:
        topological(nodes, edges)
        return edges, frozenset(wanted)
    except ValueError:
        pass
    good: dict[str, tuple[Node, set[Node]]] = {}
    for name, pair in wanted.items():
        try:
            topological(nodes, _edges([*good.values(), pair]))
            good[name] = pair
        except ValueError:
            continue
    return _edges(good.values()), frozenset(good)


def _edges(pairs: Iterable[tuple[Node, set[Node]]]) -> dict[Node, list[Node]]:
    edges: dict[Node, list[Node]] = {}
    for writer, before in pairs:
        edges.setdefault(writer, []).extend(before)
    return edges


def _depth_first(graph: Graph, nodes: set[Node], edges: dict[Node, list[Node]]) -> list[Node]:
    order: list[Node] = []
    done: set[Node] = set()
    for root in graph.roots:
        stack = [root.node]
        while stack:
            node = stack[-1]
            if node in done or node not in nodes:
                stack.pop()
                continue
            before = [x.node for x in node.inputs] + edges.get(node, [])
            waiting = [n for n in before if n in nodes and n not in done]
            if waiting:
                stack += reversed(waiting)
            else:
                done.add(node)
                order.append(node)
                stack.pop()
    return order
