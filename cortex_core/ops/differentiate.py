"""Differentiation, written once for both interpreters.

A gradient rule is registered for a class of primitives and gets the node and one gradient per output (None
where nobody asks).  It returns one entry per operand: an Array, None, or a function without arguments that is
called only if that operand's gradient is wanted.  A rule is linear in the gradients, never looks at their
numbers, and is made of ops, so that it can be differentiated again.  Where no rule is registered, or it
answers NotImplemented, the primitive's decomposition is differentiated instead.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from cortex_compute.errors import CortexError
from cortex_compute.primitives.base import Primitive
from cortex_core.ops.apply import at
from cortex_core.ops.array import Array, Node

Rule = Callable[..., Any]
_serial = attrgetter("serial")
RULES: dict[type[Any], Rule] = {}
DECOMPOSITIONS: dict[type[Primitive], Callable[..., Any]] = {}


def gradient_of(*primitives: type[Any]) -> Callable[[Rule], Rule]:
    """Registers a gradient rule: ``rule(node, *gradients) -> one entry per operand``.  For primitives, and
    for what else stands in a node in the place of one.
    """

    def register(rule: Rule) -> Rule:
        for primitive in primitives:
            RULES[primitive] = rule
        return rule

    return register


def decomposition_of(primitive: type[Primitive]) -> Callable[[Rule], Rule]:
    """Registers a primitive in terms of simpler ops: ``f(primitive, *operands) -> result or tuple of
    results``.
    """

    def register(f: Rule) -> Rule:
        DECOMPOSITIONS[primitive] = f
        return f

    return register


def decompose(node: Node, inputs: Sequence[Any]) -> tuple[Any, ...]:
    """The outputs of ``node`` computed from ``inputs`` by simpler ops."""
    f = DECOMPOSITIONS.get(type(node.primitive))
    if f is None:
        raise CortexError(f"{node.primitive.name} has neither a gradient rule nor a decomposition")
    out = f(node.primitive, *inputs)
    return out if isinstance(out, tuple) else (out,)


def topological(nodes: Iterable[Node], extra: Mapping[Node, Iterable[Node]] | None = None) -> list[Node]:
    """The nodes in an order where each comes after its inputs (and after ``extra[node]``), older ones first.

    Only edges among the given nodes count.  A circle, which only extra edges can make, is a ValueError.
    """
    todo = set(nodes)
    waiting: dict[Node, int] = {}
    users: dict[Node, list[Node]] = {}
    for node in todo:
        before = {x.node for x in node.inputs if x.node in todo}
        if extra:
            before |= {n for n in extra.get(node, ()) if n in todo and n is not node}
        waiting[node] = len(before)
        for n in before:
            users.setdefault(n, []).append(node)
    ready = [(n.serial, n) for n, count in waiting.items() if not count]
    heapq.heapify(ready)
    order: list[Node] = []
    while ready:
        _, node = heapq.heappop(ready)
        order.append(node)
        for user in users.get(node, ()):
            waiting[user] -= 1
            if not waiting[user]:
                heapq.heappush(ready, (user.serial, user))
    if len(order) != len(todo):
        raise ValueError("the nodes form a circle")
    return order


def ancestors(roots: Iterable[Array], stop: Callable[[Array], bool] | None = None) -> set[Node]:
    """Every node that the roots depend on; the walk does not go past arrays for which ``stop`` is true."""
    seen: set[Node] = set()
    stack = [x for x in roots if not (stop and stop(x))]
    while stack:
        node = stack.pop().node
        if node is not None and node not in seen:
            seen.add(node)
            stack += [x for x in node.inputs if not (stop and stop(x))]
    return seen


def key(x: Array) -> tuple[int, int]:
    """What identifies an array: its node and index, or itself where it is a leaf without a node."""
    return (id(x.node), x.index) if x.node is not None else (id(x), -1)


def differentiate(
    outputs: Sequence[Array],
    gradients: Sequence[Array | None],
    wanted: Sequence[Array],
    cut: bool = False,
    visit: Callable[[Array, Array], None] | None = None,
    done: Callable[[Node], None] | None = None,
    nodes: set[Node] | None = None,
) -> list[Any | None]:
    """The gradients of ``outputs`` (weighted by ``gradients``) with respect to each array in ``wanted``.

    None stands where nothing flows.  An array with several consumers gets the sum.  With ``cut`` the walk
    stops at the wanted arrays, so that they count as independent.  ``visit(array, gradient)`` is called for
    each array that a complete gradient has reached, ``done(node)`` for each node that is not needed any more.
    ``nodes`` are those that the outputs depend on, where that is known.
    """
    targets = {key(x) for x in wanted}
    stop = (lambda x: key(x) in targets) if cut else None
    nodes, order = _between(ancestors(outputs, stop) if nodes is None else nodes, targets)
    grads: dict[tuple[int, int], Any] = {}
    arrays: dict[tuple[int, int], Array] = {}

    def add(x: Array, g: Any) -> None:
        k = key(x)
        if visit:
            arrays[k] = x
        grads[k] = grads[k] + g if k in grads else g

    for x, g in zip(outputs, gradients):
        if g is not None:
            add(x, g)
    while order:
        node = order.pop()
        keys = [(id(node), i) for i in range(len(node.types))]
        gs = [grads.get(k) if k in targets else grads.pop(k, None) for k in keys]
        if any(g is not None for g in gs):
            if node.hooks is not None:
                gs = node.kind.hooked(node, gs)
                grads.update((k, g) for k, g in zip(keys, gs) if k in targets and g is not None)
            if visit:
                for k, g in zip(keys, gs):
                    if g is not None:
                        visit(arrays[k], g)
            wants = [key(x) in targets or x.node in nodes for x in node.inputs]
            with at(node.place), node.kind.reading(node):
                for x, want, g in zip(node.inputs, wants, _rule(node, gs)):
                    if want and g is not None:
                        value = g() if callable(g) else g
                        if value is not None:
                            add(x, value)
        if done:
            done(node)
    if not cut:
        _see({x.node for x in wanted if x.node is not None} - nodes, grads)
    return [grads.get(key(x)) for x in wanted]


def _see(ends: Iterable[Node], grads: dict[tuple[int, int], Any]) -> None:
    """Shows the gradients of nodes at which the walk ended to their hooks."""
    for node in ends:
        if node.hooks is not None:
            keys = [(id(node), i) for i in range(len(node.types))]
            gs = node.kind.hooked(node, [grads.get(k) for k in keys])
            grads.update((k, g) for k, g in zip(keys, gs) if g is not None)


def _between(nodes: set[Node], targets: set[tuple[int, int]]) -> tuple[set[Node], list[Node]]:
    """Those of ``nodes`` through which a target flows (it is an input of theirs, or of one before them), as a
    set and in order.
    """
    in_order = all(node.kind.in_order for node in nodes)
    good: dict[Node, None] = {}
    for node in sorted(nodes, key=_serial) if in_order else topological(nodes):
        for x in node.inputs:
            if x.node in good or key(x) in targets:
                good[node] = None
                break
    return set(good), list(good) if in_order else topological(good)


def _rule(node: Node, gs: Sequence[Any]) -> Sequence[Any]:
    rule = RULES.get(type(node.primitive))
    answer = NotImplemented if rule is None else rule(node, *gs)
    if answer is not NotImplemented:
        return answer if isinstance(answer, (tuple, list)) else (answer,)
    # Partial derivatives: the walk stops at the operands, so that one that depends on another is not counted
    # twice; nor is one that stands in two places.
    with node.kind.recording():
        outputs = decompose(node, node.inputs)
    pairs = [(y, g) for y, g in zip(outputs, gs) if g is not None]
    found = differentiate([y for y, _ in pairs], [g for _, g in pairs], node.inputs, cut=True)
    places = [key(x) for x in node.inputs]
    return [g if places.index(k) == i else None for i, (k, g) in enumerate(zip(places, found))]
