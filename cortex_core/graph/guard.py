"""The guard of a step without a look of the host: for a device that works beside it.

On a CPU the host reads the predicate and leaves the guarded tail out.  Where it may not wait, each guarded
update becomes a select between the new state and the old one, which is fused into the update's kernel.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cortex_compute.types import TensorType, int64
from cortex_core.graph.value import Graph, Update, state_value
from cortex_core.ops.pointwise import equal, logical_and, select

SKIPPED = "steps skipped"
"""The state that counts the steps that changed nothing."""


def guard_by_select(graph: Graph, halting: bool = False) -> Graph:
    """The graph without a predicate, whose guarded updates keep the old state where it was false.

    With ``halting`` no step after such a one changes anything either, until the host has seen it and has set
    `SKIPPED` back to 0: what it finds is then the state before the first of them.
    """
    if graph.predicate is None:
        return graph
    skipped = state_value(SKIPPED, TensorType((), int64))
    passes: Any = logical_and(graph.predicate, equal(skipped, 0)) if halting else graph.predicate
    updates = [
        replace(u, value=select(passes, u.value, u.state), guarded=False) if u.guarded else u
        for u in graph.updates
    ]
    more: Any = select(passes, skipped, skipped + 1)
    updates.append(Update(skipped, more, guarded=False))
    return replace(graph, updates=tuple(updates), predicate=None)
