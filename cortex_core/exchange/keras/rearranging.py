"""Functions that put the same elements in other places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.keras.arithmetic import Operation, operation, place, places, valued
from cortex_core.exchange.keras.at import translates
from cortex_core.exchange.keras.core import free
from cortex_core.exchange.keras.functions import of_keras
from cortex_core.exchange.keras.value import Value


def _axes(told: Any, rank: int) -> list[int]:
    """Axes of a value, the batch among them, of one or of a list, in their order.  Raises `Unfit`."""
    axes = [*told] if isinstance(told, (list, tuple)) else [told]
    if any(type(a) is not int or not -rank <= a < rank for a in axes):
        raise Unfit(f"axes are {told!r:.60}; expected whole numbers from {-rank} to {rank - 1}")
    return [a % rank for a in axes]


def _ordered(found: Operation, x: Value, order: Sequence[int]) -> Value:
    """The value with its axes in this order, the batch among them."""
    rank = len(x.shape) + 1
    if sorted(order) != [*range(rank)] or order[0] != 0:
        raise Unfit(f"axes {[*order]!r:.60} of {[*x.shape]}; the first, of the examples, stays where it is")
    if [*order] == [*range(rank)]:
        return x
    return found.at.put("permute", x, axes=[*order[1:]])


def _reshaped(found: Operation, x: Value, shape: Sequence[int | None], part: str = "") -> Value:
    return found.at.put("reshape", x, part=part, shape=free(shape))


@operation("reshape")
def reshape(found: Operation) -> Value:
    x, shape = valued(found, "newshape", "shape")
    sizes = [*shape] if isinstance(shape, (list, tuple)) else [shape]
    if not sizes or sizes[0] not in (-1, None) or any(type(n) is not int for n in sizes[1:]):
        raise Unfit(f"the shape {shape!r:.60}; supported: -1, and sizes of what is in an example")
    made = found.at.put("reshape", x, shape=sizes[1:])
    return x if made.shape == x.shape else made


@operation("transpose")
def transpose(found: Operation) -> Value:
    x, axes = valued(found, "axes", "perm")
    rank = len(x.shape) + 1
    return _ordered(found, x, [*range(rank)][::-1] if axes is None else _axes(axes, rank))


@operation("swapaxes")
def swap_axes(found: Operation) -> Value:
    x, rank = found.at.plain(found.value()), len(found.value().shape) + 1
    a, b = (place(found.option(name), rank) for name in ("axis1", "axis2"))
    return _ordered(found, x, [{a: b, b: a}.get(axis, axis) for axis in range(rank)])


@operation("moveaxis")
def move_axis(found: Operation) -> Value:
    x, rank = found.at.plain(found.value()), len(found.value().shape) + 1
    sources, targets = (_axes(found.option(name), rank) for name in ("source", "destination"))
    to, rest = dict(zip(targets, sources)), iter([axis for axis in range(rank) if axis not in sources])
    if not len(to) == len({*sources}) == len(sources) == len(targets):
        raise Unfit(f"axes {sources} to {targets}: expected as many, each of them once")
    return _ordered(found, x, [to[i] if i in to else next(rest) for i in range(rank)])


@operation("squeeze")
def squeeze(found: Operation) -> Value:
    """Of no axis it would be of all with the size 1: also of a batch of one example."""
    x, axis = valued(found, "axis", "squeeze_dims")
    gone = places(axis, len(x.shape) + 1)
    for a in gone:
        if x.shape[a - 1] != 1:
            raise Unfit(f"axis {a} of {[*x.shape]} has not the size 1")
    return _reshaped(found, x, [n for i, n in enumerate(x.shape, 1) if i not in gone])


@operation("expanddims")
def expand_dims(found: Operation) -> Value:
    x, axis = valued(found, "axis")
    count = len(axis) if isinstance(axis, (list, tuple)) else 1
    new, sizes = places(axis, len(x.shape) + 1 + count), iter(x.shape)
    rank = len(x.shape) + len(new)
    return _reshaped(found, x, [1 if i in new else next(sizes) for i in range(1, rank + 1)])


@operation("flip", "reverse", "reversev2")
def flip(found: Operation) -> Value:
    x, axis = valued(found, "axis")
    *others, last = places(axis, len(x.shape) + 1)
    for a in others:
        x = found.at.put("flip", x, part=f"axis_{a}", axis=a)
    return found.at.put("flip", x, axis=last)


@operation("stack", "pack")
def stack(found: Operation) -> Value:
    given = [found.at.plain(x) if isinstance(x, Value) else x for x in found.operands]
    if not given or not all(isinstance(x, Value) and x.shape == given[0].shape for x in given):
        raise Unfit("what is stacked are no values of one shape")
    axis = place(found.option("axis", default=0), len(given[0].shape) + 2)
    shape = [*given[0].shape[: axis - 1], 1, *given[0].shape[axis - 1 :]]
    parts = [_reshaped(found, x, shape, f"part_{i}") for i, x in enumerate(given, 1)]
    return found.at.put("concatenate", parts, axis=axis) if len(parts) > 1 else parts[0]


NAMES = ("Reshape", "Transpose", "Swapaxes", "Moveaxis", "Squeeze", "ExpandDims", "Flip", "Stack")
translates(*(f"ops.{name}" for name in NAMES))(of_keras)
