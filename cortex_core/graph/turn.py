"""Transposes move behind the ops that do not care about the order of axes.

An op over transposed operands becomes the op over the operands themselves, and its result is transposed; in
the end a transpose meets its inverse, or what needs another order.  So a network that is written channels
first, around kernels that are channels last, is left without copies between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.primitives.indexing import Concatenate
from cortex_compute.primitives.reduce import Reduce
from cortex_compute.primitives.views import Reshape, Transpose
from cortex_core.graph.value import Value

Axes = tuple[int, ...]
View = Callable[[Primitive, Value], Value]
"""Applies a view, joined with those before it."""


def behind(
    p: Primitive, inputs: Sequence[Value], view: View
) -> tuple[Primitive, list[Value], Primitive] | None:
    """The op and its operands before the transpose, and the view of its result; None where there is none.

    The view makes of the new op's results what the results of ``p`` over ``inputs`` are.
    """
    axes = _common(inputs)
    if axes is None:
        return None
    if isinstance(p, Elementwise):
        return p, [_turned_back(x, axes, view) for x in inputs], Transpose(axes)
    if isinstance(p, Concatenate) and all(_axes(x) == axes for x in inputs):
        return Concatenate(axes[p.axis]), [x.node.inputs[0] for x in inputs], Transpose(axes)
    if isinstance(p, Reduce) and p.body is None:
        kept = [a for j, a in enumerate(axes) if j not in p.axes]
        if kept == sorted(kept):
            reduced = Reduce(p.kind, tuple(sorted(axes[j] for j in p.axes)))
            return reduced, [inputs[0].node.inputs[0]], Reshape(p.infer(inputs[0].type)[0].shape)
    return None


def _axes(x: Value) -> Axes | None:
    p = x.node.primitive
    return p.axes if isinstance(p, Transpose) else None


def _common(operands: Sequence[Value]) -> Axes | None:
    """The transpose under which more bytes of the operands come than otherwise, so that each move saves some.

    Where it is the same, the operands before the transpose win if their last axis, the channels that kernels
    want there, would otherwise lie further ahead than the last axis of the others.
    """
    if not any(isinstance(x.node.primitive, Transpose) for x in operands):
        return None
    rank = max(x.ndim for x in operands)
    whole = [x for x in operands if x.ndim == rank and _moved(x)]
    turned = {axes for x in whole if (axes := _axes(x)) is not None}
    if len(turned) != 1:
        return None
    (axes,) = turned
    gained = sum(_moved(x) if x.ndim == rank and _axes(x) == axes else -_moved(x) for x in operands)
    return axes if gained > 0 or (gained == 0 and axes.index(rank - 1) < axes[-1]) else None


def _moved(x: Value) -> int:
    """The bytes that lie in another order once the axes of ``x`` do."""
    return x.type.nbytes if sum(n != 1 for n in x.shape) > 1 else 0


def _turned_back(x: Value, axes: Axes, view: View) -> Value:
    """An operand, which may broadcast, as it is before the transpose."""
    if not x.shape:
        return x
    full = (1,) * (len(axes) - x.ndim) + x.shape
    back = tuple(axes.index(i) for i in range(len(axes)))
    shape = tuple(full[j] for j in back)
    if sum(n != 1 for n in full) <= 1:  # the numbers lie the same in any order of the axes
        first = next((i for i, n in enumerate(shape) if n != 1), len(shape))
        return view(Reshape(shape[first:]), x)
    if len(full) != x.ndim:
        x = view(Reshape(full), x)
    return view(Transpose(back), x)
