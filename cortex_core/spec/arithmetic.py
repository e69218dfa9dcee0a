"""What a block computes of its parameters: ``$filters * 4``, ``$units / $ratio``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import Any

from cortex_core.registry import Fault, Invalid
from cortex_core.registry.faults import shown
from cortex_core.registry.kinds import LARGEST

Number = int | float

# One sign, apart from both sides: a name may hold a minus.
FORMULA = re.compile(r"\$(?P<left>\S+)\s+(?P<sign>[-+*/])\s+(?P<right>\S+)")
SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
EXPECTED = "expected one sign between a parameter and a parameter or number, such as $filters * 4"


def number(text: str) -> Number:
    """The number that a text is; raises `Invalid`."""
    try:
        value: Number = int(text) if text.lstrip("+-").isdecimal() and len(text) < 20 else float(text)
    except ValueError:
        raise Invalid([Fault((), f"{shown(text)}, no number", EXPECTED)]) from None
    return value


def compute(formula: str, left: Any, sign: str, right: Any) -> Number:
    """Of whole numbers a whole number, else one with a fraction.

    Raises `Invalid` for what is no number, and where nothing whole or finite comes out.
    """
    for value in (left, right):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Invalid([Fault((), f"{shown(value)} in '{formula}'", "expected a number")])
    whole = isinstance(left, int) and isinstance(right, int)
    told = f"'{formula}' is {left} {sign} {right}"
    if sign == "/" and right == 0:
        raise Invalid([Fault((), told, "expected another divisor than 0")])
    if sign == "/" and whole:
        if left % right:
            raise Invalid([Fault((), f"{told}, which leaves a rest of {left % right}", "expected none")])
        return int(left // right)
    try:
        result: Number = SIGNS[sign](left, right)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result) or abs(result) > LARGEST:
        raise Invalid([Fault((), f"{told}, which is too large", "expected a number of at most 64 bits")])
    return result
