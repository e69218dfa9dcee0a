"""Truths: what is compared, what is made of such, and what is chosen by them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.from_onnx.arithmetic import affine, of_example, raised, split, together
from cortex_core.exchange.from_onnx.at import At
from cortex_core.exchange.from_onnx.operators import operator
from cortex_core.exchange.from_onnx.value import Known, Value

COMPARED = {
    **{"Equal": "equal", "Less": "less", "LessOrEqual": "less_equal", "Greater": "greater"},
    **{"GreaterOrEqual": "greater_equal", "Xor": "not_equal"},
}
TURNED = {"less": "greater", "less_equal": "greater_equal", "greater": "less", "greater_equal": "less_equal"}
"""What holds of the second and the first where these hold of the first and the second."""
LARGEST = float(np.finfo(np.float32).max)


@operator("And", "Or", since=(7,))
def both(at: At) -> Value:
    values, numbers = split(at)
    if not numbers:
        return together(at, {"And": "logical_and", "Or": "logical_or"}[at.op], values)
    one = at.put("cast", values[0], part="number")
    factor, offset = (numbers[0], None) if at.op == "And" else (None, numbers[0])
    told = affine(at, one, factor, offset, "counted", trainable=False)
    return at.put("compare", told, operation="not_equal", value=0)


@operator("Not", since=(1,))
def opposite(at: At) -> Value:
    return at.put("logical_not", at.value())


@operator("Equal", since=(7, 11, 13, 19))
@operator("Less", "Greater", since=(7, 9, 13))
@operator("LessOrEqual", "GreaterOrEqual", since=(12, 16))
@operator("Xor", since=(7,))
def compare(at: At) -> Value:
    """Of a value and an array their difference is compared with 0."""
    (values, numbers), operation = split(at), COMPARED[at.op]
    values = [replace(x, whole="") for x in values]
    if not numbers:
        return together(at, "compare", values, operation=operation)
    (x,), (array,) = values, numbers
    operation = operation if isinstance(at.given[0], Value) else TURNED.get(operation, operation)
    if not np.isfinite(array).all():
        raise Unfit("what is compared with infinite numbers, or with none, is not supported")
    if array.size == 1:
        x = raised(x, max(x.rank, array.ndim))
        return at.put("compare", x, operation=operation, value=float(array.reshape(())))
    if x.dtype != "float32":
        raise Unfit(f"{x.dtype} is compared with numbers that differ; cast it to float before")
    apart = affine(at, x, offset=-array.astype(np.float64), part="apart")
    return at.put("compare", apart, operation=operation, value=0)


@operator("IsNaN", since=(9, 13, 20))
def is_no_number(at: At) -> Value:
    return at.put("compare", [at.value()] * 2, operation="not_equal")


@operator("IsInf", since=(10, 20))
def is_infinite(at: At) -> Value:
    """Beyond the largest number on each side that is asked for."""
    sides = {"greater": at.attribute("detect_positive", 1), "less": at.attribute("detect_negative", 1)}
    wanted = [(name, -LARGEST if name == "less" else LARGEST) for name, asked in sides.items() if asked]
    if not wanted:
        raise Unfit("it asks for neither of the two infinities")
    parts = [f"{name}_than_all" if len(wanted) > 1 else "" for name, _ in wanted]
    found = [
        at.put("compare", at.value(), part=part, operation=name, value=bound)
        for part, (name, bound) in zip(parts, wanted)
    ]
    return at.put("logical_or", found) if len(found) > 1 else found[0]


@operator("Where", since=(9, 16))
def where(at: At) -> Value:
    """x where the condition holds, y elsewhere."""
    condition = at.any(0)
    if isinstance(condition, Known):
        condition = _held(at, of_example(at, condition))
    condition = raised(condition, max(x.one.ndim if isinstance(x, Known) else x.rank for x in at.given if x))
    sides = [_side(at, condition, place) for place in (1, 2)]
    numbers = [None if isinstance(side, Value) else side for side in sides]
    values = [side for side in sides if isinstance(side, Value)]
    if not values and any(x.one.dtype.kind != "f" for x in at.given if isinstance(x, Known)):
        raise Unfit("it chooses between two whole numbers, or truths; supported are floating ones")
    found = together(at, "where", [condition, *values], then=numbers[0], otherwise=numbers[1])
    return replace(found, whole=values[0].whole) if values else found


def _side(at: At, condition: Value, place: int) -> Value | float:
    """What is chosen: a value or a number; an array stands beside 0 times the condition."""
    x = at.any(place)
    if isinstance(x, Value):
        return x
    array: Any = of_example(at, x)
    if array.size == 1 and np.isfinite(array).all():
        return float(array.reshape(()))
    if array.dtype.kind != "f":
        raise Unfit(f"its input {place} is an array of {array.dtype}; supported are floating numbers")
    beside, part = at.put("cast", condition, part=f"place_{place}"), f"part_{place}"
    if array.size > 1:
        return affine(at, beside, 0, array, part)
    shift = array.reshape(1).astype(np.float32)  # infinite, or no number: a description has none such
    return at.put("affine", beside, part=part, weights={"shift": shift}, shape=[1], scale=False)


def _held(at: At, truths: np.ndarray) -> Value:
    """Constant truths as a value: beside zeros, which x < x makes whatever the chosen x holds."""
    x = next(x for x in at.given if isinstance(x, Value))
    never = at.put("compare", [x, x], part="never", operation="less")
    held = affine(at, at.put("cast", never, part="zero"), offset=truths, part="truths", trainable=False)
    return at.put("compare", held, part="condition", operation="not_equal", value=0)
