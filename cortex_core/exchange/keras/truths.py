"""Comparisons, and what is chosen by them."""

from __future__ import annotations

from typing import Any

from cortex_core.exchange.keras.arithmetic import Operation, array, constant, number, operation
from cortex_core.exchange.keras.at import At, translates
from cortex_core.exchange.keras.build import Unfit, Value
from cortex_core.exchange.keras.core import scaled
from cortex_core.exchange.keras.functions import of_keras

MIRRORED = {"greater": "less", "less": "greater", "greaterequal": "lessequal", "lessequal": "greaterequal"}
SHORT = {"eq": "equal", "ne": "notequal"}
OPPOSITE = {"equal": "notequal", "greaterequal": "less", "lessequal": "greater"}


@operation("equal", "eq", "notequal", "ne", *MIRRORED)
def compared(found: Operation) -> Value:
    """What is greater than a number is no more that number when it is bounded by it from below, and so on."""
    if len(found.operands) != 2 or not any(isinstance(x, Value) for x in found.operands):
        raise Unfit(f"{found.name} is supported of a value with another, or with numbers")
    at, name, (a, b) = found.at, SHORT.get(found.name, found.name), found.operands
    if not isinstance(a, Value):
        a, b, name = b, a, MIRRORED.get(name, name)
    x = at.plain(a)
    if isinstance(b, Value):
        x, b = at.put("subtract", [at.floats(x), at.floats(at.plain(b))], part="apart"), 0
    elif array(b).size > 1:
        x, b = scaled(at, at.floats(x), 1, -array(b), part="apart"), 0
    bound, told = number(b), OPPOSITE.get(name, name)
    if told != "notequal":
        ends: dict[str, Any] = {"minimum" if told == "greater" else "maximum": bound}
        x = at.put("clip", at.floats(x), part="bounded", **ends)
    if told == name:
        return at.put("not_equal", x, value=bound)
    return _not(at, at.put("not_equal", x, part=told, value=bound))


def _not(at: At, truth: Value) -> Value:
    return at.put("not_equal", at.put("cast", truth, part="number"), value=1.0)


def _truth(x: Any) -> Value:
    if not isinstance(x, Value) or x.dtype != "bool":
        raise Unfit("truths are supported that the model computes by a comparison")
    return x


@operation("logicalnot", "invert")
def opposite(found: Operation) -> Value:
    return _not(found.at, _truth(found.value()))


@operation("logicaland", "logicalor")
def joined(found: Operation) -> Value:
    kind = "logical_and" if found.name == "logicaland" else "logical_or"
    return found.at.put(kind, [_truth(x) for x in found.operands])


@operation("where", "wherev2", "selectv2")
def where(found: Operation) -> Value:
    """A value or numbers where a condition is true, others elsewhere."""
    at = found.at
    if len(found.operands) != 3:
        raise Unfit(f"{found.name} is supported of a condition and two values")
    condition, *given = found.operands
    told = [at.floats(at.plain(x)) for x in given if isinstance(x, Value)]
    like = told[0] if told else at.put("cast", _truth(condition), part="like")
    values = [
        at.floats(at.plain(x)) if isinstance(x, Value) else constant(at, like, x, name)
        for x, name in zip(given, ("true", "false"))
    ]
    return at.put("where", values, condition=_truth(condition).source)


NAMES = ("Equal", "Greater", "GreaterEqual", "Less", "LessEqual", "LogicalNot", "Where")
translates(*(f"ops.{name}" for name in NAMES))(of_keras)
