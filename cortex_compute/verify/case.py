"""Cases: a primitive, and operands at the edges of what it takes.

A family registers generators of cases::

    @cases(Softmax)
    def softmax() -> Iterator[Case]:
        yield Case("rows", Softmax(axis=1), normal((4, 7)))
        yield Case("empty batch", Softmax(axis=1), normal((0, 7)))
        yield Case("turned", Softmax(axis=1), transposed((7, 4)))

The operands of a case may be views with any strides.  The runner adds strided forms, aliased outputs,
poisoned memory and a worker stream by itself: a case need only bring shapes, fields and values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from cortex_compute.primitives.base import Primitive
from cortex_compute.types import DType, bfloat16, float32, float64

Operands = Callable[[np.random.Generator, DType], Sequence[np.ndarray]]


@dataclass(frozen=True)
class Case:
    """One case.  ``operands(rng, dtype)`` makes the arrays, the floating ones of ``dtype``.

    For bfloat16 they are made as float32 and then rounded, but for those that the primitive wants in float32.
    ``signed_zeros``: zeros must have the reference's sign.  ``forward``: for the gradient of a primitive with
    a residual, the forward primitive and which of this case's operands it takes; its residual, made by the
    backend under test, replaces the operand that is an empty uint8 array.
    """

    name: str
    primitive: Primitive
    operands: Operands
    dtypes: tuple[DType, ...] = (float32, float64, bfloat16)
    signed_zeros: bool = False
    forward: tuple[Primitive, tuple[int, ...]] | None = None


Cases = Callable[[], Iterable[Case]]
F = TypeVar("F", bound=Cases)

CASES: dict[type[Primitive], list[Cases]] = {}


def cases(*primitives: type[Primitive]) -> Callable[[F], F]:
    """Registers a generator of cases."""

    def register(f: F) -> F:
        for primitive in primitives:
            CASES.setdefault(primitive, []).append(f)
        return f

    return register


def cases_of(primitive: type[Primitive]) -> list[Case]:
    """The cases of one class of primitives."""
    return [c for f in CASES.get(primitive, ()) for c in f() if type(c.primitive) is primitive]


def normal(*shapes: tuple[int, ...]) -> Operands:
    """Operands of standard normal numbers, one per shape."""
    return lambda rng, dtype: [rng.standard_normal(s).astype(dtype.storage) for s in shapes]


def positive(*shapes: tuple[int, ...]) -> Operands:
    """Operands of numbers between 0.5 and 2, one per shape."""
    return lambda rng, dtype: [rng.uniform(0.5, 2.0, s).astype(dtype.storage) for s in shapes]


def integers(low: int, high: int, shape: tuple[int, ...], dtype: str = "int64") -> Operands:
    """One operand of integers from ``low`` to below ``high``."""
    return lambda rng, _: [rng.integers(low, high, shape).astype(dtype)]


def together(*parts: Operands) -> Operands:
    """The operands of several makers, one after the other."""
    return lambda rng, dtype: [a for part in parts for a in part(rng, dtype)]


def transposed(*shapes: tuple[int, ...]) -> Operands:
    """Operands of standard normal numbers, each the transpose of a row-major array of the given shape."""
    return lambda rng, dtype: [rng.standard_normal(s).astype(dtype.storage).T for s in shapes]
