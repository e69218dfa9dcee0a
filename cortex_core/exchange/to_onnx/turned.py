"""Transposes move behind padding and slices too; those that only move axes of size 1 are reshapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.indexing import Pad
from cortex_compute.primitives.views import Slice, Transpose
from cortex_core.graph.value import Value
from cortex_core.ops.apply import at
from cortex_core.ops.array import Node
from cortex_core.ops.views import reshape

FIELDS = {Pad: ("low", "high", "interior"), Slice: ("starts", "sizes", "steps")}
"""Those that have an entry for each axis."""


def passed(p: Primitive, inputs: Sequence[Value]) -> tuple[Primitive, list[Value], Primitive] | None:
    """The op before a transpose and its operand, and the transpose of its result: a rule of `simplify`."""
    if not isinstance(p, (Pad, Slice)) or not isinstance(inputs[0].node.primitive, Transpose):
        return None
    turn = inputs[0].node
    axes = turn.primitive.axes
    back = [axes.index(i) for i in range(len(axes))]
    fields: dict[str, Any] = {name: tuple(getattr(p, name)[i] for i in back) for name in FIELDS[type(p)]}
    return replace(p, **fields), [turn.inputs[0]], turn.primitive


def as_reshape(node: Node, inputs: list[Value]) -> Sequence[Value] | None:
    """A transpose that leaves the axes that are longer than 1 one behind the other: a rule of `rewrite`."""
    if not isinstance(node.primitive, Transpose):
        return None
    longer = [a for a in node.primitive.axes if inputs[0].shape[a] != 1]
    if longer != sorted(longer):
        return None
    with at(node.place):
        return [reshape(inputs[0], node.types[0].shape)]
