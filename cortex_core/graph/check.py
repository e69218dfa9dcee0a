"""The check of a plan, per value: from its writer to its last reader nobody else writes its bytes.

Slots cannot be checked instead, because a wrong merge makes a slot that looks right.  The check walks the
instructions and keeps, for each byte, who wrote it last; a reader must find the bytes of the value that the
graph says it reads.  It needs the graph that was planned (after `materialize`), and is used by the tests.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cortex_compute.primitives.indexing import Concatenate
from cortex_core.graph.memory import Planner, materialize
from cortex_core.graph.plan import ARENA, KEPT, Location, Plan
from cortex_core.graph.schedule import Schedule, storage_root
from cortex_core.graph.value import Graph, Value, is_leaf
from cortex_core.ops.differentiate import key


class Owners:
    """Who wrote each byte of each buffer last; 0 is nobody."""

    def __init__(self, plan: Plan) -> None:
        self.bytes: dict[str, np.ndarray] = {
            ARENA: np.zeros(plan.arena, np.int32),
            KEPT: np.zeros(plan.kept, np.int32),
        }
        for name, type in plan.states.items():
            self.bytes[f"state:{name}"] = np.zeros(type.nbytes, np.int32)

    def at(self, where: Location) -> np.ndarray:
        """The owners of the bytes at a location."""
        buffer, item = self.bytes[where.buffer], where.type.dtype.itemsize
        shape = (*where.type.shape, item)
        if where.strides is None:
            return buffer[where.offset : where.offset + where.type.nbytes]
        if 0 in shape:
            return buffer[:0]
        strides = tuple(s * item * 4 for s in where.strides)
        return np.lib.stride_tricks.as_strided(buffer[where.offset :], shape, (*strides, 4))


def violations(planner: Planner, plan: Plan) -> list[str]:
    """Every read of a value whose bytes somebody else has written since; empty for a right plan."""
    owners, numbers = Owners(plan), _Numbers()
    wholes: dict[Any, list[int]] = {}  # a part that lies in its concatenation may be read there as well
    found: list[str] = []

    def read(x: Value, when: str) -> None:
        root = storage_root(x)
        where = planner.location(x)
        if where.buffer not in owners.bytes:
            return
        expected = [0] if is_leaf(root.node) else [numbers.of(root), *wholes.get(key(root), ())]
        if not np.isin(owners.at(where), expected).all():
            found.append(f"{when}: {x} at {where} was overwritten")

    for t, node in enumerate(planner.nodes):
        reads = planner.offers[node].reads
        for i, x in enumerate(node.inputs):
            if reads is None or i in reads:
                read(x, f"{t} {node.primitive}")
        for i in range(len(node.types)):
            y = Value(node, i)
            owners.at(planner.location(y))[...] = numbers.of(y)
        if isinstance(node.primitive, Concatenate):
            for x in node.inputs:
                wholes.setdefault(key(storage_root(x)), []).append(numbers.of(Value(node)))
    for name, x in planner.graph.outputs.items():
        read(x, f"output {name}")
    for value, name, _ in planner.copies:
        read(value, f"copy to {name}")
    for update in planner.graph.updates:
        name = update.state.node.primitive.name
        if all(n != name for _, n, _ in planner.copies):
            read(update.value, f"new {name}")
    return found


class _Numbers:
    """A number for each value."""

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}

    def of(self, x: Value) -> int:
        return self.numbers.setdefault(key(x), len(self.numbers) + 1)


def check(graph: Graph, backend: Any, schedule: Schedule | None = None) -> list[str]:
    """Plans a graph in each candidate order and returns what the value check finds."""
    from cortex_core.graph.schedule import schedules

    graph = materialize(graph)
    found = []
    for candidate in [schedule] if schedule is not None else schedules(graph):
        planner = Planner(graph, backend, candidate, pooling=True)
        found += violations(planner, planner.plan())
    return found
