"""Truths: comparisons, what is made of several, and what is chosen by them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.keras.arithmetic import (
    Operation,
    array,
    beside,
    constant,
    number,
    operation,
    place,
    valued,
)
from cortex_core.exchange.keras.at import At, translates
from cortex_core.exchange.keras.functions import of_keras
from cortex_core.exchange.keras.merging import alike
from cortex_core.exchange.keras.value import Value

COMPARISONS = {
    **{"equal": "equal", "eq": "equal", "notequal": "not_equal", "ne": "not_equal"},
    **{"less": "less", "lessequal": "less_equal", "greater": "greater", "greaterequal": "greater_equal"},
}
MIRRORED = {
    **{"less": "greater", "less_equal": "greater_equal"},
    **{"greater": "less", "greater_equal": "less_equal"},
}
EXACT = 2**24
"""Whole numbers below it are what they are in float32, too."""


@operation(*COMPARISONS)
def compared(found: Operation) -> Value:
    """Whole numbers with whole ones as such, all else as floating numbers: so do Keras's backends."""
    at, kind, given = found.at, COMPARISONS[found.name], found.operands
    if len(given) != 2 or not any(isinstance(x, Value) for x in given):
        raise Unfit(f"{found.name} is supported of a value with another, or with numbers")
    a, b = given
    if not isinstance(a, Value):
        a, b, kind = b, a, MIRRORED.get(kind, kind)
    others = None if isinstance(b, Value) else array(b)
    whole = a.dtype == "int64" and (b.dtype == "int64" if others is None else others.dtype.kind == "i")
    a = at.plain(a if whole else at.floats(beside(at, a, b)))
    if others is None:
        return at.put("compare", [a, at.plain(b if whole else at.floats(b))], operation=kind)
    if others.size == 1:
        return at.put("compare", a, operation=kind, value=number(others))
    if whole and np.abs(others).max() >= EXACT:
        raise Unfit(f"{found.name} with whole numbers of {EXACT} and more is supported for one, not for many")
    return at.put("compare", [at.floats(a), constant(at, a, others, "other")], operation=kind)


def _truth(at: At, x: Any) -> Value:
    if not isinstance(x, Value) or x.dtype != "bool":
        raise Unfit("truths are supported that the model computes by a comparison")
    return at.plain(x)


@operation("logicalnot", "invert")
def opposite(found: Operation) -> Value:
    return found.at.put("logical_not", _truth(found.at, found.value()))


@operation("logicaland", "logicalor")
def joined(found: Operation) -> Value:
    """A mask (B, T, 1) beside zeros (B, T, C), as joined values have it, holds for all channels."""
    kind = "logical_and" if found.name == "logicaland" else "logical_or"
    return found.at.put(kind, [_truth(found.at, x) for x in found.operands])


@operation("any", "reduceany")
def some(found: Operation) -> Value:
    x, axis = valued(found, "axis", "reduction_indices")
    keeps = bool(found.option("keepdims", "keep_dims", default=False))
    return found.at.put("any", _truth(found.at, x), axis=place(axis, len(x.shape) + 1), keepdims=keeps)


@operation("zeroslike", "oneslike")
def alone(found: Operation) -> Value:
    """All false, or all true: nothing is less than itself."""
    at, x, dtype = found.at, found.at.plain(found.value()), found.option("dtype")
    if dtype != "bool":
        raise Unfit(f"{found.name} of {x.dtype} as {dtype!r:.40} is not supported: truths are")
    if found.name == "zeroslike":
        return at.put("compare", [x, x], operation="less")
    return at.put("logical_not", at.put("compare", [x, x], part="zeros", operation="less"))


@operation("where", "selectv2")
def where(found: Operation) -> Value:
    """A value or numbers where a condition is true, others elsewhere."""
    at = found.at
    if len(found.operands) != 3:
        raise Unfit(f"{found.name} is supported of a condition and two values")
    condition, *sides = _truth(at, found.operands[0]), *found.operands[1:]
    values = [at.plain(x) for x in sides if isinstance(x, Value)]
    numbers = {name: array(x) for name, x in zip(("then", "otherwise"), sides) if not isinstance(x, Value)}
    whole = all(x.dtype.kind == "i" for x in numbers.values())
    values = alike(at, [beside(at, x, *numbers.values()) for x in values])
    fields: dict[str, Any] = {name: number(x) for name, x in numbers.items() if x.size == 1}
    many = [constant(at, condition, x, name) for name, x in numbers.items() if x.size > 1]
    values = [*many, *values] if "then" in numbers else [*values, *many]
    made = at.put("where", [condition, *values], **fields)
    return replace(made, whole="int32") if whole and len(numbers) == 2 else made


NAMES = (
    *("Equal", "NotEqual", "Greater", "GreaterEqual", "Less", "LessEqual", "Where"),
    *("LogicalNot", "LogicalAnd", "LogicalOr", "Any", "ZerosLike", "OnesLike"),
)
translates(*(f"ops.{name}" for name in NAMES))(of_keras)
