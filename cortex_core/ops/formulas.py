"""Pointwise ops that are formulas of others: one node and one kernel each, with a gradient from the table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cortex_compute.expression import E
from cortex_compute.types import dtype
from cortex_core.ops.array import Array
from cortex_core.ops.lift import as_array
from cortex_core.ops.pointwise import (
    NUMBERS,
    absolute,
    add,
    cast,
    cos,
    divide,
    equal,
    exp,
    expm1,
    floor,
    isfinite,
    log,
    log1p,
    logical_and,
    logical_or,
    multiply,
    not_equal,
    pointwise,
    select,
    sin,
    subtract,
)
from cortex_core.ops.table import booleans, integers, normal, op, positive, sample


@op(sample(positive(2, 3)))
@pointwise
def log2(x: Any) -> Any:
    """The logarithm to base 2, log x / log 2.   dx = g / (x log 2)"""
    return log(x) / math.log(2.0)


@op(sample(positive(2, 3)))
@pointwise
def log10(x: Any) -> Any:
    """The logarithm to base 10, log x / log 10.   dx = g / (x log 10)"""
    return log(x) / math.log(10.0)


@op(sample(normal(2, 3)))
@pointwise
def tan(x: Any) -> Any:
    """Tangent, sin x / cos x.   dx = g / cos(x)^2 = g (1 + y^2)"""
    return sin(x) / cos(x)


@op(sample(normal(2, 3)))
@pointwise
def sinh(x: Any) -> Any:
    """Hyperbolic sine, (exp(x) - exp(-x)) / 2, exact for small x.   dx = g cosh x"""
    return 0.5 * (expm1(x) - expm1(-x))


@op(sample(normal(2, 3)))
@pointwise
def cosh(x: Any) -> Any:
    """Hyperbolic cosine, (exp(x) + exp(-x)) / 2 = 1 + 2 sinh(x/2)^2.   dx = g sinh x, exact for small x"""
    half = sinh(0.5 * x)
    return 1.0 + 2.0 * half * half


@op(sample(normal(2, 3)))
@pointwise
def square(x: Any) -> Any:
    """x squared.   dx = 2 g x"""
    return x * x


@op(sample(positive(2, 3)))
@pointwise
def reciprocal(x: Any) -> Any:
    """1 / x.   dx = -g y^2"""
    return 1.0 / x


@op(sample(normal(2, 3)), torch="nn.functional.softplus")
@pointwise
def softplus(x: Any) -> Any:
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)), which does not overflow.   dx = g sigmoid(x)"""
    return select(x > 0, x, 0.0) + log1p(exp(select(x > 0, -x, x)))


@op(sample(normal(2, 3)), sample(integers(4, below=3)), gradient=False)
@pointwise
def sign(x: Any) -> Any:
    """-1, 0 or 1, as x is below, at or above 0.   No gradient: it is constant between jumps."""
    return select(x > 0, 1, select(x < 0, -1, x - x))


@op(sample(normal(2, 3)), gradient=False)
@pointwise
def ceil(x: Any) -> Any:
    """The smallest whole number not below x.   No gradient: it is constant between jumps."""
    return -floor(-x)


@op(sample(normal(2, 3)), gradient=False)
@pointwise
def trunc(x: Any) -> Any:
    """x without its fraction.   No gradient: it is constant between jumps."""
    return select(x > 0, floor(x), -floor(-x))


@op(sample(normal(2, 3)), sample(np.array([-1.5, -0.5, 0.5, 1.5, 2.5])), gradient=False)
def round(x: Any) -> Any:
    """The nearest whole number; of two that are equally near the even one.   No gradient: it has jumps."""
    return _nearest(x) if _floating(x) else floor(x)


@pointwise
def _nearest(x: Any) -> Any:
    below = floor(x)
    rest = x - below
    odd = below - 2.0 * floor(0.5 * below) > 0.5
    return select(logical_or(rest > 0.5, logical_and(equal(rest, 0.5), odd)), below + 1.0, below)


@op(sample(np.array([1.0, np.nan, np.inf])), gradient=False)
@pointwise
def isnan(x: Any) -> Any:
    """Whether x is NaN, which differs from itself.   No gradient: truth has none."""
    return not_equal(x, x)


@op(sample(np.array([1.0, np.nan, np.inf, -np.inf])), gradient=False)
@pointwise
def isinf(x: Any) -> Any:
    """Whether x is infinite.   No gradient: truth has none."""
    return equal(absolute(x), math.inf)


NEARBY = np.array([1.0, np.nan, np.inf, -np.inf, 2.0]), np.array([1.0 + 1e-6, np.nan, np.inf, 1.0, np.inf])


@op(
    sample(*NEARBY),
    sample(*NEARBY, rtol=0.0, equal_nan=True),
    sample(integers(9, below=3), integers(9, below=3)),
    sample(NEARBY[0], 2.0),
    sample(NEARBY[0], float("nan"), equal_nan=True),
    torch=lambda torch, a, b, **bounds: torch.isclose(a, torch.as_tensor(b, dtype=a.dtype), **bounds),
    gradient=False,
)
def isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Whether |a - b| is at most atol + rtol |b|, or both are one infinity, or, with ``equal_nan``, NaN.

    No gradient: truth has none.
    """
    a, b = (x if isinstance(x, NUMBERS) else as_array(x) for x in (a, b))
    kind = next((x.dtype for x in (a, b) if isinstance(x, Array) and _floating(x)), "float64")
    a, b = (cast(x, kind) if isinstance(x, Array) and not _floating(x) else x for x in (a, b))
    near = _near(a, b, rtol=rtol, atol=atol)
    if not equal_nan:
        return near
    return logical_or(near, logical_and(*[isnan(x) if isinstance(x, Array) else x != x for x in (a, b)]))


@pointwise
def _near(a: Any, b: Any, rtol: float, atol: float) -> Any:
    apart = absolute(a - b)
    return logical_or(equal(a, b), logical_and(isfinite(apart), apart <= atol + rtol * abs(b)))


@op(sample(booleans(2, 3), booleans(3)), gradient=False)
def logical_xor(a: Any, b: Any) -> Any:
    """Either a or b, not both.   No gradient: truth has none."""
    return not_equal(a, b)


@op(
    sample(normal(2, 3), -0.5, 0.5),
    sample(normal(2, 3), min=0.1),
    sample(normal(3), max=0.0),
    sample(normal(2, 3), normal(3)),
    aliases=("clamp",),
)
def clip(x: Any, min: Any = None, max: Any = None) -> Any:
    """x, but not below ``min`` nor above ``max``; each is a number, an array, or None for no bound.

    dx = g where x is within the bounds (at a bound too), else 0;  a bound gets the g of what it replaced
    """
    if min is None and max is None:
        raise TypeError("clip: give min, max, or both")
    if max is None:
        return _at_least(x, min)
    return _at_most(x, max) if min is None else _between(x, min, max)


@pointwise
def _at_least(x: Any, low: Any) -> Any:
    return select(x < low, low, x)


@pointwise
def _between(x: Any, low: Any, high: Any) -> Any:
    return _at_most(_at_least(x, low), high)


@pointwise
def _at_most(x: Any, high: Any) -> Any:
    return select(x > high, high, x)


@op(sample(normal(2, 3), booleans(3), 0.5), sample(normal(2, 3), booleans(2, 3), normal()))
def masked_fill(x: Any, mask: Any, value: Any) -> Any:
    """``value``, a number or a 0-d array, where the mask holds, else x.

    dx = g where it does not hold;  dvalue = the sum of g where it holds
    """
    return select(mask, value, x)


@op(sample(normal(2, 3), positive(3)), sample(integers(4, below=9), 2), gradient=False)
def floor_divide(a: Any, b: Any) -> Any:
    """The largest whole number not above a / b.   No gradient: it is constant between jumps.

    Of floating numbers it is floor(a / b), where the quotient has been rounded: 1 // 0.1 is 10.
    """
    if _floating(a) or _floating(b):
        return floor(divide(a, b))
    kind = (b if isinstance(a, NUMBERS) else a).dtype
    near = _quotient(a, b)
    if kind.itemsize == 8:  # the nearest float64 has lost the last digits of large numbers
        near = add(near, _quotient(subtract(a, multiply(near, b)), b))
    return near if kind.kind == "bool" else cast(near, kind)


@op(sample(normal(2, 3), positive(3)), sample(normal(3), 0.3), sample(integers(4, below=9), 3))
def remainder(a: Any, b: Any) -> Any:
    """a - b floor(a / b), with the sign of b.   da = g;  db = -g floor(a / b)"""
    return subtract(a, multiply(b, floor_divide(a, b)))


def _floating(x: Any) -> bool:
    return isinstance(x, E) or dtype(getattr(x, "dtype", type(x))).kind == "float"


def _quotient(a: Any, b: Any) -> Any:
    """floor(a / b) of whole numbers, exact as far as float64 is."""
    wide = [x if isinstance(x, NUMBERS) else cast(x, "float64") for x in (a, b)]
    return cast(floor(divide(*wide)), "int64")
