"""Functions that put the same elements in other places, find the largest of them, or multiply matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cortex_core.exchange.keras.arithmetic import Operation, operation
from cortex_core.exchange.keras.at import translates
from cortex_core.exchange.keras.build import Unfit, Value
from cortex_core.exchange.keras.core import free, scaled
from cortex_core.exchange.keras.functions import of_keras


def _with(found: Operation, *names: str) -> tuple[Value, Any]:
    """The value, and what stands behind it or under one of these names."""
    told = found.option(*names)
    if told is None and len(found.operands) == 2:
        told = found.operands.pop()
    return found.at.plain(found.value()), told


def _place(given: Any, rank: int) -> int:
    """An axis from 1 to rank - 1, which may stand in a list of one."""
    (axis,) = given if isinstance(given, (list, tuple)) and len(given) == 1 else (given,)
    if type(axis) is not int or not -rank <= axis < rank or axis % rank == 0:
        raise Unfit(f"axis is {given!r:.40}; supported: 1 to {rank - 1}, or from the end")
    return axis % rank


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
    x, shape = _with(found, "newshape", "shape")
    sizes = [*shape] if isinstance(shape, (list, tuple)) else [shape]
    if not sizes or sizes[0] not in (-1, None) or any(type(n) is not int for n in sizes[1:]):
        raise Unfit(f"the shape {shape!r:.60}; supported: -1, and sizes of what is in an example")
    return found.at.put("reshape", x, shape=sizes[1:])


@operation("transpose")
def transpose(found: Operation) -> Value:
    x, axes = _with(found, "axes", "perm")
    rank = len(x.shape) + 1
    given = [*range(rank)][::-1] if axes is None else [a % rank for a in axes]
    return _ordered(found, x, given)


@operation("swapaxes")
def swap_axes(found: Operation) -> Value:
    x, rank = found.at.plain(found.value()), len(found.value().shape) + 1
    a, b = (_place(found.option(name), rank) for name in ("axis1", "axis2"))
    return _ordered(found, x, [{a: b, b: a}.get(axis, axis) for axis in range(rank)])


@operation("moveaxis")
def move_axis(found: Operation) -> Value:
    x, rank = found.at.plain(found.value()), len(found.value().shape) + 1
    source, target = (_place(found.option(name), rank) for name in ("source", "destination"))
    order = [axis for axis in range(rank) if axis != source]
    order.insert(target, source)
    return _ordered(found, x, order)


@operation("squeeze")
def squeeze(found: Operation) -> Value:
    x, axis = _with(found, "axis", "squeeze_dims")
    gone = _place(axis, len(x.shape) + 1)
    if x.shape[gone - 1] != 1:
        raise Unfit(f"axis {gone} of {[*x.shape]} has not the size 1")
    return _reshaped(found, x, [n for i, n in enumerate(x.shape, 1) if i != gone])


@operation("expanddims")
def expand_dims(found: Operation) -> Value:
    x, axis = _with(found, "axis")
    place = _place(axis, len(x.shape) + 2)
    return _reshaped(found, x, [*x.shape[: place - 1], 1, *x.shape[place - 1 :]])


@operation("flip", "reverse", "reversev2")
def flip(found: Operation) -> Value:
    x, axis = _with(found, "axis")
    return found.at.put("flip", x, axis=_place(axis, len(x.shape) + 1))


@operation("stack", "pack")
def stack(found: Operation) -> Value:
    given = [found.at.plain(x) if isinstance(x, Value) else x for x in found.operands]
    if not given or not all(isinstance(x, Value) and x.shape == given[0].shape for x in given):
        raise Unfit("what is stacked are no values of one shape")
    place = _place(found.option("axis", default=0), len(given[0].shape) + 2)
    shape = [*given[0].shape[: place - 1], 1, *given[0].shape[place - 1 :]]
    parts = [_reshaped(found, x, shape, f"part_{i}") for i, x in enumerate(given, 1)]
    return found.at.put("concatenate", parts, axis=place) if len(parts) > 1 else parts[0]


@operation("max", "reducemax", "amax", "min", "reducemin", "amin")
def largest_along(found: Operation) -> Value:
    """Of steps, or of places in a picture, for each channel; of the channels of a sequence."""
    x, axis = _with(found, "axis", "reduction_indices")
    rank, keeps = len(x.shape), bool(found.option("keepdims", "keep_dims", default=False))
    axes = sorted(_place(a, rank + 1) for a in (axis if isinstance(axis, (list, tuple)) else [axis]))
    small = found.name.removeprefix("reduce").endswith("min")
    if axes == [rank] and rank == 2 and not keeps:
        x, axes = found.at.put("permute", x, part="turned", axes=[2, 1]), [1]
    if axes != [*range(1, rank)] or rank not in (2, 3, 4):
        raise Unfit(f"{found.name} along axis {axis!r:.40} of {[*x.shape]} is not supported")
    x = scaled(found.at, x, -1, part="negative") if small else x
    y = found.at.put(f"global_max_pool{rank - 1}d", x, part="largest" if small else "", keepdims=keeps)
    return scaled(found.at, y, -1) if small else y


@operation("matmul", "batchmatmul", "batchmatmulv2")
def matmul(found: Operation) -> Value:
    """Of a matrix for each example with another."""
    given = [found.at.plain(x) if isinstance(x, Value) else x for x in found.operands]
    if len(given) != 2 or not all(isinstance(x, Value) and len(x.shape) == 2 for x in given):
        raise Unfit(f"{found.name} is supported of two values of matrices")
    first = bool(found.option("transpose_a", "adj_x", default=False))
    second = bool(found.option("transpose_b", "adj_y", default=False))
    return found.at.put("dot", given, axes=[1 if first else 2, 2 if second else 1])


translates(
    *(f"ops.{name}" for name in ("Reshape", "Transpose", "Swapaxes", "Moveaxis", "Squeeze", "Flip", "Stack")),
    *(f"ops.{name}" for name in ("ExpandDims", "Max", "Min", "Matmul")),
)(of_keras)
