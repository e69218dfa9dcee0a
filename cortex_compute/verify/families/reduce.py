"""Reductions: every kind over every pattern of axes, with and without a body."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from cortex_compute.primitives.reduce import KINDS, Reduce
from cortex_compute.types import DType, float32
from cortex_compute.verify.case import Case, cases, integers, normal, positive, transposed
from cortex_compute.verify.families.elementwise import formula
from cortex_compute.verify.reference import magnitude, reference
from cortex_compute.verify.scalar import Pair, evaluate, operand

FUNCTIONS: dict[str, Any] = {
    "sum": np.sum, "mean": np.mean, "prod": np.prod, "max": np.max, "min": np.min,
}  # fmt: skip


@reference(Reduce)
def reduce(p: Reduce, *operands: np.ndarray) -> tuple[Any, ...]:
    values, _ = _body(p, operands)
    if p.kind in ("argmax", "argmin"):
        function = np.argmax if p.kind == "argmax" else np.argmin
        return (function(values, axis=p.axes[0], keepdims=p.keepdims),)
    if values.dtype.kind != "f" and p.kind in ("sum", "prod"):
        values = values.astype(np.int64)
    if values.size == 0 and p.kind == "mean":
        return (np.full(np.sum(values, axis=p.axes, keepdims=p.keepdims).shape, np.nan),)
    # NumPy adds rows one after the other: float64 would not be better than what it judges.
    wide = np.longdouble if values.dtype == np.float64 else values.dtype
    result = FUNCTIONS[p.kind](values.astype(wide), axis=p.axes, keepdims=p.keepdims)
    return (result.astype(np.float64) if wide is np.longdouble else result,)


@magnitude(Reduce)
def reduce_size(p: Reduce, *operands: np.ndarray) -> tuple[Any, ...]:
    values, sizes = _body(p, operands)
    if p.kind in ("argmax", "argmin"):
        return (np.zeros(1),)
    axes: Any = {"axis": p.axes, "keepdims": p.keepdims}
    if p.kind == "prod":  # the sum over the factors of a factor's size times the others
        step = 2.0**-30
        product = np.prod(np.abs(values), **axes)
        return ((np.prod(np.abs(values) + step * sizes, **axes) - product) / step + product,)
    if p.kind == "mean" and values.size:
        return (np.mean(sizes, **axes),)
    return (np.max(sizes, **axes) if p.kind in ("max", "min") else np.sum(sizes, **axes),)


def _body(p: Reduce, operands: tuple[np.ndarray, ...]) -> Pair:
    pairs = [operand(a) for a in operands]
    return pairs[0] if p.body is None else evaluate(p.body, p.literals, pairs)[0]


def over(kind: str, *axes: int, keepdims: bool = False) -> Reduce:
    """A reduction without a body."""
    return Reduce(kind, axes, keepdims)


def body(kind: str, axes: tuple[int, ...], f: Any, arity: int) -> Reduce:
    """A reduction of a formula."""
    code = formula(f, arity)
    return Reduce(kind, axes, False, code.code, code.literals)


@cases(Reduce)
def every_kind() -> Iterator[Case]:
    shape = (3, 4, 5)
    for kind in KINDS:
        place = kind.startswith("arg")
        patterns = [(a,) for a in range(3)] if place else _subsets(3)
        for axes in patterns:
            yield Case(f"{kind} over {axes}", over(kind, *axes), normal(shape))
        yield Case(f"{kind} keepdims", over(kind, 1, keepdims=True), normal(shape))
        yield Case(f"{kind} of a vector", over(kind, 0), normal((17,)))
        yield Case(f"{kind} of one", over(kind, 0), normal((1,)))
        yield Case(f"{kind} along size 1", over(kind, 1), normal((4, 1, 3)))
        yield Case(f"{kind} of integers", over(kind, 1), integers(-9, 9, (6, 5), "int32"))
        yield Case(f"{kind} of booleans", over(kind, 0), integers(0, 2, (6, 5), "bool"))
        yield Case(f"{kind} of small unsigned", over(kind, 0), integers(0, 200, (40, 3), "uint8"))
        yield Case(f"{kind} with empty rest", over(kind, 1), normal((0, 5)))
        yield Case(f"{kind} turned", over(kind, 0), transposed((4, 9)))
        yield Case(f"{kind} of specials", over(kind, 1), _specials)
    yield Case("sum of nothing", over("sum"), normal((3, 4)))
    yield Case("sum of 0-d", over("sum"), normal(()))
    for kind in ("sum", "mean", "prod"):
        yield Case(f"{kind} of an empty axis", over(kind, 1), normal((4, 0)))


@cases(Reduce)
def over_blocks() -> Iterator[Case]:
    for kind, axes in itertools.product(("sum", "max", "mean"), ((0,), (1,), (0, 1))):
        for shape in ((400, 100), (100, 400), (3, 20000), (20000, 3), (17, 1100)):
            yield Case(f"{kind} over {axes} of {shape}", over(kind, *axes), normal(shape), (float32,))
    for axis, long in ((0, (100000,)), (0, (50000, 3)), (1, (3, 50000))):  # roundings of one sign add up
        yield Case(f"sum of positive {long}", over("sum", axis), positive(long))
    yield Case("sum of images", over("sum", 0, 1, 2), normal((4, 30, 30, 10)))
    yield Case("sum inside", over("sum", 1), normal((30, 40, 30)))
    yield Case("max outside and inside", over("max", 0, 2), normal((30, 40, 30)))
    yield Case("sum of many integers", over("sum", 0), integers(-9, 9, (400, 100), "int32"))
    yield Case("sum of all of many integers", over("sum", 0, 1), integers(-9, 9, (400, 100)))
    yield Case("sum of many booleans", over("sum", 0, 1), integers(0, 2, (400, 100), "bool"))
    yield Case("mean of many integers", over("mean", 1), integers(-9, 9, (100, 400)))
    yield Case("largest of many integers", over("max", 0), integers(-999, 999, (400, 100)))
    yield Case("product over blocks", over("prod", 0), lambda rng, d: [1 + _small(rng, d, (20000, 2))])
    yield Case("argmax of many", over("argmax", 1), normal((30, 700)))
    yield Case("first place wins", over("argmax", 0), integers(0, 3, (50, 6)))
    yield Case("first least place wins", over("argmin", 1), integers(0, 3, (6, 50)))


@cases(Reduce)
def bodies() -> Iterator[Case]:
    for axes in ((0,), (1,), (0, 1)):
        square = body("sum", axes, lambda g: g * g, 1)
        yield Case(f"sum of squares over {axes}", square, normal((30, 7)))
        yield Case(f"sum of squares over {axes}, blocks", square, normal((700, 90)))
        product = body("sum", axes, lambda a, b: a * b, 2)
        yield Case(f"sum of products over {axes}", product, normal((700, 90), (90,)))
        yield Case(f"sum of turned products over {axes}", product, transposed((9, 7), (9, 7)))
    yield Case("mean of differences", body("mean", (1,), lambda a, b: abs(a - b), 2), normal((5, 9), (5, 1)))
    yield Case("max of a body", body("max", (0,), lambda a: a * 2.0 - 1.0, 1), normal((300, 70)))
    yield Case("product of a body", body("prod", (1,), lambda a: a + 0.1, 1), positive((4, 6)))
    yield Case("count", body("sum", (0, 1), lambda a: a > 0.3, 1), normal((200, 100)))
    yield Case("share", body("mean", (0, 1), lambda a: a > 0.3, 1), normal((20, 10)))
    yield Case("body of an empty batch", body("sum", (0,), lambda a: a * a, 1), normal((0, 5)))
    yield Case("body of 0-d", body("sum", (), lambda a: a * a, 1), normal(()))


def _subsets(rank: int) -> list[tuple[int, ...]]:
    return [c for n in range(1, rank + 1) for c in itertools.combinations(range(rank), n)]


def _small(rng: np.random.Generator, dtype: DType, shape: tuple[int, ...]) -> Any:
    return (rng.standard_normal(shape) * 1e-3).astype(dtype.storage)


def _specials(rng: np.random.Generator, dtype: DType) -> list[np.ndarray]:
    inf, nan = np.inf, np.nan
    rows = [[1, nan, 3], [inf, 1, 2], [-inf, 1, inf], [1, 2, -inf], [nan, nan, inf], [0, 2, 2], [-1, -1, 0]]
    return [np.array(rows, dtype.storage)]
