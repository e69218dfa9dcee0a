"""Truths: what is compared, what is made of such, and what is chosen by them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.from_onnx.arithmetic import affine, of_example, raised, split, together
from cortex_core.exchange.from_onnx.at import At
from cortex_core.exchange.from_onnx.operators import operator
from cortex_core.exchange.from_onnx.value import Known, Value


@operator("And", "Or", since=(7,))
def both(at: At) -> Value:
    values, numbers = split(at)
    if numbers:
        raise Unfit("truths that are constant are not supported")
    return together(at, {"And": "logical_and", "Or": "logical_or"}[at.op], values)


@operator("Not", since=(1,))
def opposite(at: At) -> Value:
    return at.put("logical_not", at.value())


@operator("Equal", since=(7, 11, 13, 19))
def equal(at: At) -> Value:
    values, numbers = split(at)
    values = [replace(x, whole="") for x in values]
    if len(values) == 2:
        return together(at, "compare", values, operation="equal")
    if len(values) != 1 or numbers[0].size != 1 or not np.isfinite(numbers[0]).all():
        raise Unfit("supported are two values, and a value beside one finite number")
    x = raised(values[0], max(values[0].rank, numbers[0].ndim))
    return at.put("compare", x, operation="equal", value=float(numbers[0].reshape(())))


@operator("Where", since=(9, 16))
def where(at: At) -> Value:
    """x where the condition holds, y elsewhere.

    By a constant condition a value of the model is taken once and no times: what is infinite, or no number,
    where it is not chosen shows nevertheless.
    """
    condition = at.any(0)
    if isinstance(condition, Known):
        return _masked(at, of_example(at, condition).astype(bool))
    chosen = at.put("cast", condition, part="chosen")
    left = at.put("scale", chosen, part="left", factor=-1, offset=1)
    parts = [_part(at, factor, place) for factor, place in ((chosen, 1), (left, 2))]
    return together(at, "add", parts)


def _part(at: At, factor: Value, place: int) -> Value:
    """A truth as 1 or 0 times an input."""
    x, part = at.any(place), f"part_{place}"
    if isinstance(x, Value):
        _expect_floats(x)
        return together(at, "multiply", [factor, x], part=part)
    numbers = of_example(at, x).astype(np.float64)
    if not np.all(np.isfinite(numbers)):
        raise Unfit("infinite numbers, chosen by what the model computes, are not supported; take large ones")
    return affine(at, factor, numbers, part=part)


def _masked(at: At, condition: np.ndarray) -> Value:
    """A value where a constant condition says so, else constant numbers."""
    values, numbers = split(at)
    if len(values) != 1 or len(numbers) != 2:
        raise Unfit("by a constant condition a value and constant numbers are supported")
    (x,), other = values, numbers[1].astype(np.float64)
    _expect_floats(x)
    takes = condition if x is at.given[1] else ~condition
    return affine(at, x, takes.astype(np.float64), np.where(takes, 0, other))


def _expect_floats(x: Value) -> None:
    if x.dtype != "float32":
        raise Unfit(f"what is chosen is {x.whole or x.dtype}; supported are floating numbers")
