"""Float64 references, and the magnitudes that errors are measured by.

A reference is plain NumPy: ``f(primitive, *operands) -> tuple of arrays``.  Floating operands come as
float64, integers and booleans as they are.  A *magnitude* has the same form and gives, for each element of
each output, the size of what was added up to make it: the same formula on absolute values.  An error is good
when it is within a few eps of the magnitude, however much of the result itself cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from cortex_compute.primitives.base import Primitive

Reference = Callable[..., tuple[Any, ...]]
F = TypeVar("F", bound=Reference)

REFERENCES: dict[type[Primitive], Reference] = {}
MAGNITUDES: dict[type[Primitive], Reference] = {}


def reference(*primitives: type[Primitive]) -> Callable[[F], F]:
    """Registers the reference of one or several classes of primitives."""

    def register(f: F) -> F:
        REFERENCES.update(dict.fromkeys(primitives, f))
        return f

    return register


def magnitude(*primitives: type[Primitive]) -> Callable[[F], F]:
    """Registers a magnitude, where the reference on absolute values is not the right one."""

    def register(f: F) -> F:
        MAGNITUDES.update(dict.fromkeys(primitives, f))
        return f

    return register


def expected(primitive: Primitive, operands: Sequence[np.ndarray]) -> tuple[Any, ...]:
    """What the outputs should be."""
    with np.errstate(all="ignore"):
        return REFERENCES[type(primitive)](primitive, *map(widen, operands))


def magnitudes(primitive: Primitive, operands: Sequence[np.ndarray]) -> tuple[Any, ...]:
    """By how much eps is to be multiplied, for each element of each output."""
    own = MAGNITUDES.get(type(primitive))
    wide = [widen(a) for a in operands]
    with np.errstate(all="ignore"):
        if own is not None:
            return own(primitive, *wide)
        absolute = [np.abs(a) if a.dtype == np.float64 else a for a in wide]
        return REFERENCES[type(primitive)](primitive, *absolute)


def widen(a: np.ndarray) -> np.ndarray:
    """A floating array as float64, any other as it is."""
    return a.astype(np.float64) if a.dtype.kind == "f" else a
