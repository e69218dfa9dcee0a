"""Pointwise code in float64, each value with the size of its possible error (a running error analysis).

Every value is a pair (value, size); an error of eps times size is what rounding may do.  An operand's size is
its absolute value; an instruction adds what its arguments' sizes become under its derivative, and its own
rounding. For sums and products that is the formula on absolute values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cortex_compute.expression import ARITHMETIC, FLOATING, Code, Literal

Pair = tuple[Any, Any]

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-x))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.true_divide, "pow": np.power,
    "neg": np.negative, "min": np.minimum, "max": np.maximum, "abs": np.abs, "floor": np.floor,
    "relu": lambda x: np.maximum(x, 0), "exp": np.exp, "log": np.log, "log1p": np.log1p, "expm1": np.expm1,
    "sqrt": np.sqrt, "rsqrt": lambda x: 1.0 / np.sqrt(x), "tanh": np.tanh, "sigmoid": _sigmoid, "erf": _erf,
    "sin": np.sin, "cos": np.cos, "isfinite": np.isfinite, "not": np.logical_not, "and": np.logical_and,
    "or": np.logical_or, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "eq": np.equal, "ne": np.not_equal, "select": lambda c, a, b: np.where(np.not_equal(c, 0), a, b),
}  # fmt: skip

# How an argument's size reaches the result: the absolute value of the derivative, from result y and
# arguments.
DERIVATIVES: dict[str, Callable[..., tuple[Any, ...]]] = {
    "add": lambda y, a, b: (1, 1),
    "sub": lambda y, a, b: (1, 1),
    "mul": lambda y, a, b: (b, a),
    "div": lambda y, a, b: (1 / b, y / b),
    "pow": lambda y, a, b: (b * np.power(a, b - 1), y * np.log(np.abs(a))),
    "exp": lambda y, a: (y,),
    "log": lambda y, a: (1 / a,),
    "log1p": lambda y, a: (1 / (1 + a),),
    "expm1": lambda y, a: (1 + y,),
    "sqrt": lambda y, a: (0.5 / y,),
    "rsqrt": lambda y, a: (0.5 * y * y * y,),
    "tanh": lambda y, a: (1 - y * y,),
    "sigmoid": lambda y, a: (y * (1 - y),),
    "erf": lambda y, a: (2 / math.sqrt(math.pi) * np.exp(-a * a),),
    "sin": lambda y, a: (np.cos(a),),
    "cos": lambda y, a: (np.sin(a),),
}
EXACT = frozenset({"neg", "abs", "floor", "relu", "min", "max"})  # no rounding; the larger size passes


def operand(a: np.ndarray) -> Pair:
    """An operand with its size."""
    return a, np.abs(a) if a.dtype.kind == "f" else np.zeros(a.shape)


def evaluate(code: Code, literals: Sequence[Literal], operands: Sequence[Pair]) -> list[Pair]:
    """The results of ``code``, each broadcast to the common shape."""
    shape = np.broadcast_shapes(*(np.shape(v) for v, _ in operands))
    kept: dict[str, list[Pair]] = {
        "a": list(operands),
        "l": [(x.value, abs(x.value) if x.kind == "float" else 0.0) for x in literals],
        "t": [],
    }
    for op, *refs in code.instructions:
        kept["t"].append(_instruction(op, [kept[w][i] for w, i in refs]))
    pairs = [kept[w][i] for w, i in code.results]
    return [(np.broadcast_to(v, shape), np.broadcast_to(s, shape)) for v, s in pairs]


def _instruction(op: str, pairs: Sequence[Pair]) -> Pair:
    values, sizes = [v for v, _ in pairs], [s for _, s in pairs]
    if op.startswith("cast:"):
        return _cast(op[5:], values[0], sizes[0])
    if op in FLOATING:
        values = [np.asarray(v, np.float64) for v in values]
    elif op in ARITHMETIC:  # at least int: True + True is 2
        values = [np.asarray(v).astype(np.int64) if _is_bool(v) else v for v in values]
    y = np.asarray(FUNCTIONS[op](*values))
    if y.dtype.kind != "f":
        return y, np.zeros(y.shape)
    if op == "select":
        return y, np.where(np.not_equal(values[0], 0), sizes[1], sizes[2])
    if op in EXACT:
        return y, np.max(np.broadcast_arrays(*sizes), axis=0)
    size = np.abs(y)
    for derivative, s in zip(DERIVATIVES[op](y, *values), sizes):
        size = size + np.abs(derivative) * s
    return y, np.where(np.isfinite(size), size, np.abs(y))


def _cast(name: str, value: Any, size: Any) -> Pair:
    to = np.dtype("float64" if name in ("float16", "bfloat16", "float32") else name)
    y = np.asarray(value).astype(to)
    return y, np.maximum(size, np.abs(y)) if to.kind == "f" else np.zeros(y.shape)


def _is_bool(v: Any) -> bool:
    return np.asarray(v).dtype == np.bool_
