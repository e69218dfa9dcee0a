"""Transposes move behind padding and slices too, and where they only move axes of size 1, they are reshapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cortex_compute.primitives.indexing import Pad
from cortex_compute.primitives.views import Slice, Transpose
from cortex_core.graph.value import Value
from cortex_core.ops.apply import apply, at
from cortex_core.ops.array import Node
from cortex_core.ops.views import reshape, transpose

FIELDS = {Pad: ("low", "high", "interior"), Slice: ("starts", "sizes", "steps")}
"""Those that have an entry for each axis."""


def moved_on(node: Node, inputs: list[Value]) -> Sequence[Value] | None:
    """A rule of `rewrite`."""
    p = node.primitive
    if isinstance(p, Transpose) and _keeps_order(inputs[0], p.axes):
        with at(node.place):
            return [reshape(inputs[0], node.types[0].shape)]
    names = FIELDS.get(type(p))
    if names is None or not isinstance(inputs[0].node.primitive, Transpose):
        return None
    axes = inputs[0].node.primitive.axes
    back = [axes.index(i) for i in range(len(axes))]
    fields = {name: tuple(getattr(p, name)[i] for i in back) for name in names}
    with at(node.place):
        return [transpose(apply(replace(p, **fields), inputs[0].node.inputs[0]), axes)]


def _keeps_order(x: Value, axes: tuple[int, ...]) -> bool:
    """Whether the axes that are longer than 1 stay one behind the other."""
    longer = [a for a in axes if x.shape[a] != 1]
    return longer == sorted(longer)
