"""Arithmetic of values, and of values with numbers that the file holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.from_onnx.at import At
from cortex_core.exchange.from_onnx.operators import operator
from cortex_core.exchange.from_onnx.value import Known, Mixed, Value, shown

MOST_PLACES = 2**16
"""So many places of an axis are taken at most: a description names each of them."""


# Several values


def raised(x: Value, rank: int) -> Value:
    """The value with so many axes in ONNX: those that it has are the last."""
    return replace(x, order=(None,) * (rank - x.rank) + x.order)


def together(at: At, kind: str, given: Sequence[Value], **fields: Any) -> Value:
    """A layer of ours for each element of several values, which broadcast as in ONNX."""
    rank = max(x.rank for x in given)
    values = [raised(x, rank) for x in given]
    if len({x.batch for x in values}) > 1:
        shapes = ", ".join(map(shown, given))
        raise Mixed(f"the examples of {shapes} do not meet: they lie along different axes")
    most = max(values, key=lambda x: (len(x.lying), x.lying == sorted(x.lying)))
    axes = [
        *most.lying,
        *(a for a in range(rank) if most.order[a] is None and any(x.order[a] for x in values)),
    ]
    return at.put(kind, [at.lay(x, axes) for x in values], **fields)


def split(at: At) -> tuple[list[Value], list[np.ndarray]]:
    """The inputs that are values, and those that are numbers."""
    known = [x for x in at.given if isinstance(x, Known)]
    return [x for x in at.given if isinstance(x, Value)], [of_example(at, x) for x in known]


def of_example(at: At, x: Known) -> np.ndarray:
    """The numbers beside each example: where they are repeated for each of a batch, those of one."""
    if x.fixed:
        return x.one
    if x.one.ndim == x.other.ndim:
        axes = [a for a in range(x.one.ndim) if (x.one.shape[a], x.other.shape[a]) == at.batches]
        if len(axes) == 1:
            first = np.take(x.one, [0], axes[0])
            if all(np.array_equal(np.broadcast_to(first, y.shape), y) for y in (x.one, x.other)):
                return first
    raise Unfit("it takes numbers that depend on how many examples there are, or on their lengths")


# A value and numbers


def affine(
    at: At, x: Value, factor: Any = None, offset: Any = None, part: str = "", trainable: bool = True
) -> Value:
    """factor x + offset, with numbers that broadcast as in ONNX; None is 1, and 0.

    One number for all becomes one of the description; others become parameters, which training may change
    if they are ``trainable``.
    """
    factor, offset = (None if a is None else of_one(x, np.asarray(a, np.float64)) for a in (factor, offset))
    arrays = [a for a in (factor, offset) if a is not None]
    if all(a.size == 1 for a in arrays):
        x = raised(x, max(x.rank, *(a.ndim for a in arrays)))
        numbers = [None if a is None else float(a.reshape(())) for a in (factor, offset)]
        return at.put("scale", x, part=part, factor=numbers[0], offset=numbers[1])
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    x = raised(x, max(x.rank, len(shape)))
    shape = (1,) * (x.rank - len(shape)) + shape
    if x.batch is not None and shape[x.batch] != 1:
        raise Mixed(f"numbers of shape {[*shape]} beside {shown(x)} differ from example to example")
    if any(n != 1 and x.sizes[a] not in (1, n) for a, n in enumerate(shape)):
        raise Unfit(f"numbers of shape {[*shape]} do not fit beside {shown(x)}")
    lying = at.lay(x, [*x.lying, *(a for a, n in enumerate(shape) if n != 1 and x.order[a] is None)])
    given = {"scale": factor, "shift": offset}
    weights = {name: _beside(a, shape, lying.lying) for name, a in given.items() if a is not None}
    (own, *_) = (w.shape for w in weights.values())
    fields: dict[str, Any] = {"shape": [*own], "scale": factor is not None, "center": offset is not None}
    return at.put("affine", lying, part=part, weights=weights, trainable=trainable, **fields)


def _beside(array: np.ndarray, shape: tuple[int, ...], axes: Sequence[int]) -> np.ndarray:
    """The numbers as they stand beside these axes of ONNX, without those in front that are 1."""
    others = [a for a in range(len(shape)) if a not in axes]
    turned = np.broadcast_to(array, shape).transpose([*others, *axes])
    first = next(i for i, n in enumerate(turned.shape) if n != 1)
    return np.ascontiguousarray(turned.reshape(turned.shape[first:]), np.float32)


def of_one(x: Value, array: np.ndarray) -> np.ndarray:
    """The numbers beside one example, where those of a graph for batches of one size are alike for all."""
    axis = -1 if x.batch is None else x.batch - x.rank + array.ndim
    if axis < 0 or array.shape[axis] == 1:
        return array
    first = np.take(array, [0], axis)
    return first if np.array_equal(np.broadcast_to(first, array.shape), array) else array


def repeated(at: At, x: Value, axis: int, times: int) -> Value:
    """So many copies of the value, one behind the other along an axis."""
    if times == 1:
        return x
    size = x.sizes[axis]
    if not isinstance(size, int) or size * times > MOST_PLACES:
        told = f"at most {MOST_PLACES:,} places, along an axis of known size, are supported"
        raise Unfit(f"{shown(x)} {times} times along axis {axis}; {told}")
    lying = at.lay(x, [*x.lying, axis] if x.order[axis] is None else x.lying)
    indices = [*range(size)] * times
    return at.put("take", lying, part=f"repeated_{axis}", axis=lying.order[axis], indices=indices)


# Operators


@operator("Add", "Sub", "Mul", "Div", since=(7, 13, 14))
def binary(at: At) -> Value:
    values, numbers = split(at)
    if at.op == "Div" and any(x.dtype != "float32" for x in values):
        raise Unfit("a division of whole numbers, which would be cut, is not supported")
    if len(values) == 2:
        kinds = {"Add": "add", "Sub": "subtract", "Mul": "multiply", "Div": "divide"}
        return together(at, kinds[at.op], values)
    (x,), (array,) = values, numbers
    if x.dtype != "float32":
        raise Unfit(f"{at.op} of {x.whole or x.dtype} and numbers is not supported; cast it to float before")
    first = x is at.given[0]
    if at.op == "Add":
        return affine(at, x, offset=array)
    if at.op == "Sub":
        return affine(at, x, offset=-array) if first else affine(at, x, np.float64(-1), array)
    if at.op == "Mul" or first:
        return affine(at, x, array if at.op == "Mul" else 1 / array.astype(np.float64))
    return affine(at, at.put("power", x, part="inverse", exponent=-1), array)


@operator("Sum", "Mean", since=(8, 13))
@operator("Max", "Min", since=(8, 12, 13))
def several(at: At) -> Value:
    values, numbers = split(at)
    kind = {"Sum": "add", "Mean": "average", "Max": "maximum", "Min": "minimum"}[at.op]
    if len(at.given) == 1:
        return at.value()
    if not numbers:
        return together(at, kind, values)
    if kind in ("add", "average"):
        x = values[0] if len(values) == 1 else together(at, "add", values, part="sum")
        factor = 1 / len(at.given) if kind == "average" else 1
        return affine(at, x, np.float64(factor), sum(numbers[1:], start=numbers[0]) * factor)
    bounds = [float(a.reshape(())) for a in numbers if a.size == 1]
    if len(bounds) < len(numbers):
        raise Unfit(f"{at.op} with constant numbers, other than one for all, is not supported")
    x = values[0] if len(values) == 1 else together(at, kind, values, part="values")
    if kind == "maximum":
        return at.put("clip", x, minimum=max(bounds))
    return at.put("clip", x, maximum=min(bounds))


@operator("Pow", since=(7, 12, 13, 15))
def power(at: At) -> Value:
    if isinstance(at.any(0), Known):
        base = at.number(0)
        if base <= 0:
            raise Unfit(f"{base:g} to the power of a value is not supported")
        return at.put("exponential", affine(at, at.value(1), np.float64(math.log(base)), part="exponent"))
    x, exponent = at.value(0), at.constant(1)
    if exponent.size != 1:
        raise Unfit(f"exponents of shape {[*exponent.shape]}; supported is one number")
    return at.put("power", raised(x, max(x.rank, exponent.ndim)), exponent=float(exponent.reshape(())))


EXPONENTS = {"Sqrt": 0.5, "Reciprocal": -1}


@operator(*EXPONENTS, since=(6, 13))
def root(at: At) -> Value:
    return at.put("power", at.value(), exponent=EXPONENTS[at.op])


@operator("Neg", since=(6, 13))
def negative(at: At) -> Value:
    return at.put("scale", at.value(), factor=-1)


@operator("Abs", since=(6, 13))
def absolute(at: At) -> Value:
    return magnitude(at, at.value())


def magnitude(at: At, x: Value, part: str = "") -> Value:
    """|x|, the larger of x and -x."""
    negative = at.put("scale", x, part=f"{part}_negative".strip("_"), factor=-1)
    return at.put("maximum", [x, negative], part=part)


@operator("Clip", since=(6, 11, 12, 13))
def clip(at: At) -> Value:
    """Bounds are attributes before opset 11, and inputs from there on."""
    if at.version < 11:
        low, high = at.attribute("min", None), at.attribute("max", None)
    else:
        low, high = at.number(1, None), at.number(2, None)
    x = at.value()
    if low is None and high is None:
        return x
    if x.dtype != "float32":
        return x if _is_of_rows(at, low, high) else _whole_clip(at, x, low, high)
    if (low, high) == (0, 6):
        return at.put("relu6", x)
    if low is not None and high is not None and low > high:
        low = high  # as ONNX has it since opset 12: min(max(x, low), high)
    return at.put("clip", x, minimum=low, maximum=high)


def _is_of_rows(at: At, low: Any, high: Any) -> bool:
    """Whether only the rows of a table are looked up by it, within the bounds: an embedding does that."""
    follower = at.around.follower(at.node)
    if follower is None or follower[0].op != "Gather" or len(follower[1]) != 1:
        return False
    (table,), node = follower[1], follower[0]
    axis, rows = node.attributes.get("axis", 0), node.inputs[1] == at.node.outputs[0]
    return isinstance(table, Known) and rows and axis == 0 and (low, high) == (0, len(table.one) - 1)


def _whole_clip(at: At, x: Value, low: Any, high: Any) -> Value:
    """Of whole numbers: the bound where it is passed; of two that cross the upper one, as ONNX has it."""
    for bound, passed, part in ((low, "less", "above"), (high, "greater", "")):
        if bound is not None:
            beyond = at.put("compare", x, part=f"{passed}_bound", operation=passed, value=bound)
            part = part if high is not None else ""
            x = replace(at.put("where", [beyond, x], part=part, then=bound), whole=x.whole)
    return x


@operator("Log", since=(6, 13))
@operator("Erf", since=(9, 13))
@operator("Cos", "Sin", since=(7, 22))
def elementwise(at: At) -> Value:
    return at.put("elementwise", at.value(), function=at.op.lower())


@operator("Atanh", since=(9, 22))
def inverse_tangent(at: At) -> Value:
    """log1p(2 x / (1 - x)) / 2, which keeps what 1 + x would round away."""
    x = at.value()
    twice = at.put("scale", x, part="twice", factor=2)
    rest = at.put("scale", x, part="rest", factor=-1, offset=1)
    ratio = at.put("divide", [twice, rest], part="ratio")
    logarithm = at.put("elementwise", ratio, part="logarithm", function="log1p")
    return at.put("scale", logarithm, factor=0.5)
