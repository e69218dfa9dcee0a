"""Fusion: fewer kernels, fewer passes over memory, the same numbers but for rounding.

In this order, because a group formed first would steal an activation from the product before it:

1. what has patterns of its own, in `relu` and `bias`;
2. epilogues: a pointwise node that alone reads a product or convolution goes into it, where the backend
   offers that for no more than the two apart;
3. groups: pointwise nodes over the same space become one node with several results;
4. bodies: a pointwise node that alone is read by a reduction goes into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cortex_compute.expression import Builder, E, linearize, results
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.convolution import Conv
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.primitives.reduce import Reduce
from cortex_compute.protocol import Backend
from cortex_core.graph.bias import join_bias_gradients
from cortex_core.graph.matching import ROOT, Key, consumers, cost
from cortex_core.graph.relu import join_relus
from cortex_core.graph.simplify import rewrite
from cortex_core.graph.value import Graph, Value
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import ancestors, key, topological

MOST_OPERANDS = 12  # operands and results of one kernel
MOST_INSTRUCTIONS = 40
MOST_NODES = 20_000  # of a graph whose nodes are grouped: what each depends on takes a bit for each other one


def fuse(graph: Graph, backend: Backend) -> Graph:
    """All passes."""
    graph = join_bias_gradients(join_relus(graph, backend), backend)
    graph = epilogues(graph, backend)
    graph = groups(graph)
    return bodies(graph, backend)


# Epilogues


def epilogues(graph: Graph, backend: Backend) -> Graph:
    """Pointwise nodes into the Gemm or Conv whose only reader they are, one after the other.

    An optimiser's update stays by itself: it is written straight over the old state, an epilogue could not
    be.
    """
    readers = consumers(graph)
    new_states = {u.value.node for u in graph.updates}

    def rule(node: Node, inputs: list[Value]) -> Sequence[Value] | None:
        if not isinstance(node.primitive, Elementwise) or len(node.types) != 1 or node in new_states:
            return None
        for k, (x, old) in enumerate(zip(inputs, node.inputs)):
            p = x.node.primitive
            if not isinstance(p, (Gemm, Conv)) or len(readers[key(old)]) != 1 or len(x.node.types) != 1:
                continue
            if x.type != node.types[0] or sum(key(y) == key(x) for y in inputs) != 1:
                continue
            fused = _with_epilogue(p, x, node.primitive, inputs, k)
            if fused is None:
                continue
            apart = cost(backend, p, x.node.inputs) + cost(backend, node.primitive, inputs)
            if cost(backend, *fused) <= apart:
                made = Node(Value, fused[0], fused[1], node.types, node.place or x.node.place)
                return [Value(made)]
        return None

    return rewrite(graph, rule)


def _with_epilogue(
    p: Gemm | Conv, x: Value, outer: Elementwise, inputs: list[Value], k: int
) -> tuple[Primitive, list[Value]] | None:
    main, extra = list(x.node.inputs[:2]), list(x.node.inputs[2:])
    builder = Builder()
    numbers: dict[Key, int] = {}
    order: list[Value] = []

    def number(y: Value) -> E:
        if key(y) not in numbers:
            numbers[key(y)] = len(order) + 1  # 0 is the product
            order.append(y)
        return builder.operand(numbers[key(y)])

    product = builder.operand(0)
    if p.epilogue is not None:
        product = results(builder, p.epilogue, p.literals, [product, *map(number, extra)])[0]
    arguments = [product if i == k else number(y) for i, y in enumerate(inputs)]
    built = linearize(results(builder, outer.code, outer.literals, arguments), len(order) + 1)
    if len(built.code.instructions) > MOST_INSTRUCTIONS:
        return None
    return replace(p, epilogue=built.code, literals=built.literals), main + order


# Groups


class Group:
    """Pointwise nodes that will be one kernel, and the bits of everything they depend on."""

    __slots__ = ("before", "bit", "members")

    def __init__(self, bit: int, members: list[Node], before: int) -> None:
        self.bit, self.members, self.before = bit, members, before


def groups(graph: Graph) -> Graph:
    """Merges pointwise producers into pointwise consumers wherever that neither makes a circle nor keeps
    more memory alive than it saves."""
    order = topological(graph.nodes())
    if len(order) > MOST_NODES:
        return graph
    readers = consumers(graph)
    forward = ancestors(graph.outputs.values())
    group_of: dict[Node, Group] = {}
    for i, node in enumerate(order):
        before = 1 << i
        for x in node.inputs:
            before |= group_of[x.node].before
        group_of[node] = Group(1 << i, [node], before)
    changed = False
    for node in order:
        if not isinstance(node.primitive, Elementwise):
            continue
        for x in node.inputs:
            producer, consumer = group_of[x.node], group_of[node]
            if producer is consumer or not _may_merge(
                x, node, producer, consumer, readers, forward, group_of
            ):
                continue
            _merge(producer, consumer, readers, group_of)
            changed = True
    return _rebuild(graph, order, group_of, readers) if changed else graph


def _may_merge(
    x: Value,
    node: Node,
    producer: Group,
    consumer: Group,
    readers: dict[Key, list[Node]],
    forward: set[Node],
    group_of: dict[Node, Group],
) -> bool:
    if not isinstance(x.node.primitive, Elementwise) or x.shape != node.types[0].shape:
        return False
    for y in {id(g): g for n in consumer.members for g in [group_of[z.node] for z in n.inputs]}.values():
        if y is not producer and y is not consumer and y.before & producer.bit:
            return False  # a path from the producer to the consumer through somebody else
    members = producer.members + consumer.members
    inside = set(members)
    outside = {key(y) for n in members for y in n.inputs if y.node not in inside}
    kept = {
        (id(n), i)
        for n in members
        for i in range(len(n.types))
        if any(r not in inside for r in readers.get((id(n), i), ()))
    }
    if len(outside) + len(kept) > MOST_OPERANDS:
        return False
    if sum(len(n.primitive.code.instructions) for n in members) > MOST_INSTRUCTIONS:
        return False
    if x.node in forward and node not in forward:
        # Run late, the forward's operands stay alive until the backward: only if they are no larger.
        held = sum({key(y): y.type.nbytes for y in x.node.inputs}.values())
        return held <= x.type.nbytes and all(r in inside for r in readers[key(x)])
    return True


def _merge(
    producer: Group, consumer: Group, readers: dict[Key, list[Node]], group_of: dict[Node, Group]
) -> None:
    """What depends on the producer depends on the consumer from now on; most of it did so before."""
    known = consumer.bit
    later = _readers(producer, readers)
    consumer.members = producer.members + consumer.members
    consumer.before |= producer.before
    consumer.bit |= producer.bit
    for node in producer.members:
        group_of[node] = consumer
    while later:
        g = group_of[later.pop()]
        if not g.before & known:
            g.before |= consumer.before
            later += _readers(g, readers)


def _readers(group: Group, readers: dict[Key, list[Node]]) -> list[Node]:
    """The nodes that read what the members give."""
    found = [r for n in group.members for i in range(len(n.types)) for r in readers.get((id(n), i), ())]
    return [r for r in found if r is not ROOT]


def _rebuild(
    graph: Graph, order: list[Node], group_of: dict[Node, Group], readers: dict[Key, list[Node]]
) -> Graph:
    units: dict[int, Group] = {}
    for node in order:
        units.setdefault(id(group_of[node]), group_of[node])
    done: dict[Key, Value] = {}
    pending = list(units.values())
    position = {n: i for i, n in enumerate(order)}
    for group in _order_of(pending, group_of):
        members = sorted(group.members, key=position.__getitem__)
        if len(members) == 1:
            (node,) = members
            inputs = [done[key(x)] for x in node.inputs]
            same = all(key(a) == key(b) for a, b in zip(inputs, node.inputs))
            made = node if same else Node(Value, node.primitive, inputs, node.types, node.place)
            done.update({(id(node), i): Value(made, i) for i in range(len(node.types))})
        else:
            done.update(_one_kernel(members, done, readers))
    return graph.with_roots([done[key(r)] for r in graph.roots])


def _order_of(pending: list[Group], group_of: dict[Node, Group]) -> list[Group]:
    order: list[Group] = []
    state: dict[int, int] = {}
    for root in pending:
        stack = [root]
        while stack:
            g = stack[-1]
            if state.get(id(g)) == 2:
                stack.pop()
                continue
            state[id(g)] = 1
            waiting = [
                h for n in g.members for h in [group_of[x.node] for x in n.inputs]
                if h is not g and state.get(id(h)) != 2
            ]  # fmt: skip
            assert not any(state.get(id(h)) == 1 for h in waiting), "groups form a circle"
            if waiting:
                stack += waiting
            else:
                state[id(g)] = 2
                order.append(g)
                stack.pop()
    return order


def _one_kernel(
    members: list[Node], done: dict[Key, Value], readers: dict[Key, list[Node]]
) -> dict[Key, Value]:
    """One Elementwise node for the members, with a result for each value that somebody outside reads."""
    inside = set(members)
    builder = Builder()
    numbers: dict[Key, int] = {}
    order: list[Value] = []
    made: dict[Key, E] = {}

    def operand(x: Value) -> E:
        if key(x) in made:
            return made[key(x)]
        new = done[key(x)]
        if key(new) not in numbers:
            numbers[key(new)] = len(order)
            order.append(new)
        return builder.operand(numbers[key(new)])

    for node in members:
        p = node.primitive
        for i, e in enumerate(results(builder, p.code, p.literals, [operand(x) for x in node.inputs])):
            made[id(node), i] = e
    kept = [k for k in made if any(r not in inside for r in readers.get(k, ()))]
    built = linearize([made[k] for k in kept], len(order))
    types = {(id(n), i): t for n in members for i, t in enumerate(n.types)}
    place = next((n.place for n in members if n.place), None)
    node = Node(Value, Elementwise(built.code, built.literals), order, tuple(types[k] for k in kept), place)
    return {k: Value(node, i) for i, k in enumerate(kept)}


# Bodies


def bodies(graph: Graph, backend: Backend) -> Graph:
    """Pointwise nodes into the reduction whose only reader they are."""
    readers = consumers(graph)

    def rule(node: Node, inputs: list[Value]) -> Sequence[Value] | None:
        p = node.primitive
        if not isinstance(p, Reduce) or p.body is not None:
            return None
        x, inner = inputs[0], inputs[0].node.primitive
        if (
            not isinstance(inner, Elementwise)
            or len(x.node.types) != 1
            or len(readers[key(node.inputs[0])]) != 1
        ):
            return None
        fused = replace(p, body=inner.code, literals=inner.literals)
        apart = cost(backend, inner, x.node.inputs) + cost(backend, p, inputs)
        if cost(backend, fused, x.node.inputs) > apart:
            return None
        return [Value(Node(Value, fused, x.node.inputs, node.types, node.place or x.node.place))]

    return rewrite(graph, rule)
