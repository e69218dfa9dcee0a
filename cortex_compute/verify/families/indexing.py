"""Gathers, scatters, concatenation, padding, one-hot, top-k, running sums."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from cortex_compute.expression import Literal
from cortex_compute.primitives.indexing import (
    Concatenate,
    Cumsum,
    Gather,
    OneHot,
    Pad,
    ScatterAdd,
    ScatterAlong,
    ScatterRows,
    TakeAlong,
    TopK,
)
from cortex_compute.types import DType, bfloat16, bool_, float32, float64, int32
from cortex_compute.verify.case import Case, Operands, cases, integers, normal, together, transposed
from cortex_compute.verify.reference import magnitude, reference


def _clip(i: Any, n: int) -> int:
    return min(max(int(i), 0), n - 1)


@reference(Gather)
def gather(p: Gather, x: np.ndarray, ids: np.ndarray) -> tuple[Any, ...]:
    front, back = x.shape[: p.axis], x.shape[p.axis + 1 :]
    y = np.zeros((*front, *ids.shape, *back), x.dtype)
    for a in np.ndindex(*front):
        for s in np.ndindex(*ids.shape):
            place = (*a, _clip(ids[s], x.shape[p.axis]))
            y[a + s] = x[place]
    return (y,)


def _add(axis: int, y: np.ndarray, ids: np.ndarray, g: np.ndarray) -> np.ndarray:
    for a in np.ndindex(*y.shape[:axis]):
        for s in np.ndindex(*ids.shape):
            place = (*a, _clip(ids[s], y.shape[axis]))
            y[place] += g[a + s]
    return y


@reference(ScatterRows)
def scatter_rows(p: ScatterRows, ids: np.ndarray, g: np.ndarray) -> tuple[Any, ...]:
    shape = (*g.shape[: p.axis], p.size, *g.shape[p.axis + ids.ndim :])
    return (_add(p.axis, np.zeros(shape, g.dtype), ids, g),)


@reference(ScatterAdd)
def scatter_add(p: ScatterAdd, x: np.ndarray, ids: np.ndarray, g: np.ndarray) -> tuple[Any, ...]:
    return (_add(p.axis, x.copy(), ids, g),)


@reference(TakeAlong)
def take_along(p: TakeAlong, x: np.ndarray, ids: np.ndarray) -> tuple[Any, ...]:
    y = np.zeros(ids.shape, x.dtype)
    for s in np.ndindex(*ids.shape):
        place = (*s[: p.axis], _clip(ids[s], x.shape[p.axis]), *s[p.axis + 1 :])
        y[s] = x[place]
    return (y,)


@reference(ScatterAlong)
def scatter_along(p: ScatterAlong, ids: np.ndarray, g: np.ndarray) -> tuple[Any, ...]:
    y = np.zeros((*g.shape[: p.axis], p.size, *g.shape[p.axis + 1 :]), g.dtype)
    for s in np.ndindex(*ids.shape):
        place = (*s[: p.axis], _clip(ids[s], p.size), *s[p.axis + 1 :])
        y[place] += g[s]
    return (y,)


@reference(Concatenate)
def concatenate(p: Concatenate, *parts: np.ndarray) -> tuple[Any, ...]:
    return (np.concatenate(parts, p.axis),)


@reference(Pad)
def pad(p: Pad, x: np.ndarray) -> tuple[Any, ...]:
    spread = [n + max(n - 1, 0) * i for n, i in zip(x.shape, p.interior)]
    shape = [a + n + b for a, n, b in zip(p.low, spread, p.high)]
    y = np.full(shape, p.value.value, x.dtype)
    for s in np.ndindex(*x.shape):
        at = tuple(a + i * (gap + 1) for a, i, gap in zip(p.low, s, p.interior))
        if all(0 <= i < n for i, n in zip(at, shape)):
            y[at] = x[s]
    return (y,)


@reference(OneHot)
def one_hot(p: OneHot, ids: np.ndarray) -> tuple[Any, ...]:
    return ((ids[..., None] == np.arange(p.classes)).astype(p.dtype.storage),)


@reference(TopK)
def top_k(p: TopK, x: np.ndarray) -> tuple[Any, ...]:
    ids = np.zeros((*x.shape[:-1], p.k), np.int64)
    for s in np.ndindex(*x.shape[:-1]):
        row = [(np.isnan(v), 0.0 if np.isnan(v) else v) for v in x[s]]
        order = sorted(range(len(row)), key=row.__getitem__)
        if p.largest:  # backwards, with equal ones still in order
            order = sorted(order, key=lambda i, row=row: tuple(-float(v) for v in row[i]))  # type: ignore[misc]
        ids[s] = order[: p.k]
    return np.take_along_axis(x, ids, -1), ids


@magnitude(TopK)
def top_k_size(p: TopK, x: np.ndarray) -> tuple[Any, ...]:
    return np.zeros(()), np.zeros(())


@reference(Cumsum)
def cumsum(p: Cumsum, x: np.ndarray) -> tuple[Any, ...]:
    x = x if x.dtype.kind == "f" else x.astype(np.int64)
    y, total = np.zeros_like(x), np.zeros_like(np.take(x, [], p.axis).sum(p.axis))
    places = range(x.shape[p.axis])
    for i in reversed(places) if p.reverse else places:
        at = (slice(None),) * p.axis + (i,)
        total = total + x[at]
        y[at] = total
    return (y,)


# Some ids lie outside: they count as the nearest one inside.

SHAPES = {
    "rows": ((7, 5), 0, (4,)),
    "columns": ((5, 7), 1, (9,)),
    "middle, ids in two axes": ((3, 6, 4), 1, (2, 5)),
    "scalar id": ((6, 4), 0, ()),
    "vector": ((9,), 0, (30,)),
    "size-1 axes": ((1, 1, 3), 1, (1, 4)),
    "no ids": ((4, 3), 0, (0,)),
    "empty batch": ((0, 4), 1, (3,)),
    "over blocks": ((30, 70), 0, (300,)),
    "over blocks, outer": ((90, 8, 9), 1, (31,)),
    "many ids": ((600, 2), 0, (6000,)),
}


def _gathered(shape: tuple[int, ...], axis: int, ids: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:axis] + ids + shape[axis + 1 :]


@cases(Gather)
def gathers() -> Iterator[Case]:
    for name, (shape, axis, ids) in SHAPES.items():
        places = integers(-2, shape[axis] + 2, ids)
        yield Case(name, Gather(axis), together(normal(shape), places), signed_zeros=True)
    for dtype in ("int32", "uint8"):
        yield Case(f"{dtype} ids", Gather(0), together(normal((6, 4)), integers(0, 9, (5,), dtype)))
    yield Case("turned", Gather(1), together(transposed((5, 6)), integers(0, 5, (4,))))
    yield Case("of integers", Gather(0), together(*[integers(0, 9, (8,))] * 2))
    yield Case("of nothing", Gather(0), together(normal((0, 3)), integers(0, 1, (0,))))


@cases(ScatterRows)
def scattered_rows() -> Iterator[Case]:
    for name, (shape, axis, ids) in SHAPES.items():
        places = integers(-2, shape[axis] + 2, ids)
        g = normal(_gathered(shape, axis, ids))
        yield Case(name, ScatterRows(axis, shape[axis]), together(places, g))
    yield Case("int32 ids", ScatterRows(0, 6), together(integers(0, 9, (5,), "int32"), normal((5, 4))))
    yield Case("all at one place", ScatterRows(0, 3), together(integers(1, 2, (40,)), normal((40, 2))))
    yield Case("nowhere", ScatterRows(0, 0), together(integers(0, 1, (0,)), normal((0, 2))))
    yield Case("of integers", ScatterRows(0, 8), together(*[integers(0, 9, (8,))] * 2))


@cases(ScatterAdd)
def scattered_additions() -> Iterator[Case]:
    for name, (shape, axis, ids) in SHAPES.items():
        places = integers(-2, shape[axis] + 2, ids)
        g = normal(_gathered(shape, axis, ids))
        yield Case(name, ScatterAdd(axis), together(normal(shape), places, g))
    every = together(normal((6, 4)), integers(0, 9, (5,), "int8"), normal((5, 4)))
    yield Case("int8 ids", ScatterAdd(0), every)


ALONG = {
    "last axis": ((4, 6), 1, 3),
    "first axis": ((6, 4), 0, 8),
    "middle axis": ((3, 5, 4), 1, 2),
    "one each": ((7, 9), 1, 1),
    "vector": ((9,), 0, 20),
    "none": ((4, 3), 1, 0),
    "empty batch": ((0, 3), 1, 2),
    "over blocks": ((1200, 11), 1, 15),
    "over blocks, first axis": ((11, 1200), 0, 15),
}


@cases(TakeAlong, ScatterAlong)
def along() -> Iterator[Case]:
    for name, (shape, axis, m) in ALONG.items():
        picked = (*shape[:axis], m, *shape[axis + 1 :])
        places = integers(-2, shape[axis] + 2, picked)
        yield Case(name, TakeAlong(axis), together(normal(shape), places), signed_zeros=True)
        yield Case(name, ScatterAlong(axis, shape[axis]), together(places, normal(picked)))
    ids = integers(0, 5, (4, 3), "int16")
    yield Case("int16 ids", TakeAlong(1), together(normal((4, 5)), ids))
    yield Case("int16 ids", ScatterAlong(1, 5), together(ids, normal((4, 3))))
    yield Case("turned", TakeAlong(0), together(transposed((4, 5)), integers(0, 5, (3, 4))))


@cases(Concatenate)
def concatenations() -> Iterator[Case]:
    yield Case("rows", Concatenate(0), normal((2, 3), (4, 3), (1, 3)), signed_zeros=True)
    yield Case("channels", Concatenate(2), normal((2, 3, 4), (2, 3, 1)))
    yield Case("one", Concatenate(1), normal((2, 3)))
    yield Case("an empty part", Concatenate(1), normal((2, 3), (2, 0), (2, 2)))
    yield Case("empty batch", Concatenate(1), normal((0, 3), (0, 2)))
    yield Case("turned", Concatenate(0), together(transposed((3, 4)), normal((2, 3))))
    yield Case("integers", Concatenate(0), together(*[integers(0, 9, (3,), "int32")] * 2))
    yield Case("many", Concatenate(0), normal(*[(i % 4, 2) for i in range(40)]))


def _pad(low: tuple[int, ...], high: tuple[int, ...], gap: tuple[int, ...], value: Any = 0.0) -> Pad:
    return Pad(low, high, gap, Literal(value))


@cases(Pad)
def paddings() -> Iterator[Case]:
    yield Case("around", _pad((1, 2), (3, 0), (0, 0)), normal((3, 4)), signed_zeros=True)
    yield Case("value", _pad((1, 0), (0, 2), (0, 0), -1.5), normal((3, 4)))
    yield Case("infinity", _pad((1, 0), (0, 2), (0, 0), float("-inf")), normal((3, 4)))
    yield Case("minus zero", _pad((1,), (1,), (0,), -0.0), normal((3,)), signed_zeros=True)
    yield Case("interior", _pad((0, 0), (0, 0), (2, 1)), normal((3, 4)))
    for low, high, gap, n in itertools.product((-4, -1, 0, 2), (-3, 0, 1), (0, 1, 2), (0, 1, 5)):
        if low + n + max(n - 1, 0) * gap + high >= 0:
            yield Case(f"{low} {high} {gap} of {n}", _pad((low,), (high,), (gap,), 7.0), normal((n,)))
    yield Case("nothing", _pad((0, 0), (0, 0), (0, 0)), normal((3, 4)))
    yield Case("0-d", _pad((), (), ()), normal(()))
    yield Case("empty batch", _pad((0, 1), (0, 1), (0, 0)), normal((0, 4)))
    yield Case("images", _pad((0, 1, 2, 0), (0, 2, 1, 0), (0, 1, 0, 0)), normal((2, 5, 4, 3)))
    yield Case("turned", _pad((1, 0), (0, 1), (0, 1)), transposed((4, 3)))
    yield Case("integers", _pad((1,), (2,), (1,), 3), integers(0, 9, (4,), "int32"))
    yield Case("booleans", _pad((1,), (2,), (0,), True), integers(0, 2, (4,), "bool"))


@cases(OneHot)
def one_hots() -> Iterator[Case]:
    for d in (bfloat16, float32, float64, int32, bool_):
        yield Case(f"to {d}", OneHot(5, d), integers(-2, 8, (12,)))
    for dtype in ("int32", "uint8", "uint64"):
        yield Case(f"of {dtype}", OneHot(5), integers(0, 8, (3, 4), dtype))
    yield Case("0-d", OneHot(4), integers(0, 4, ()))
    yield Case("one class", OneHot(1), integers(0, 2, (6,)))
    yield Case("no class", OneHot(0), integers(0, 2, (6,)))
    yield Case("empty batch", OneHot(4), integers(0, 2, (0,)))
    yield Case("over blocks", OneHot(100), integers(0, 100, (500,)))


def _ties(rng: np.random.Generator, dtype: DType) -> list[np.ndarray]:
    return [rng.integers(0, 3, (20, 9)).astype(dtype.storage)]


def _specials(rng: np.random.Generator, dtype: DType) -> list[np.ndarray]:
    values = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 2.5], dtype.storage)
    rows = [rng.permutation(values) for _ in range(12)]
    return [np.stack([*rows, np.full(9, -np.inf), np.full(9, np.nan)]).astype(dtype.storage)]


@cases(TopK)
def top_ks() -> Iterator[Case]:
    draws: dict[str, tuple[Operands, int]] = {
        "rows": (normal((4, 9)), 3),
        "three axes": (normal((2, 3, 6)), 2),
        "vector": (normal((8,)), 5),
        "one": (normal((5, 7)), 1),
        "all": (normal((5, 7)), 7),
        "none": (normal((5, 7)), 0),
        "of one": (normal((5, 1)), 1),
        "ties": (_ties, 9),
        "specials": (_specials, 9),
        "empty batch": (normal((0, 4)), 2),
        "over blocks": (normal((3000, 10)), 5),
        "many": (normal((1, 300)), 50),
        "turned": (transposed((6, 4)), 3),
    }
    for name, (operands, k) in draws.items():
        for largest in (True, False):
            end = "" if largest else ", smallest"
            yield Case(name + end, TopK(k, largest), operands, signed_zeros=True)


@cases(Cumsum)
def running_sums() -> Iterator[Case]:
    for reverse in (False, True):
        end = ", reverse" if reverse else ""
        for axis in range(3):
            yield Case(f"axis {axis}{end}", Cumsum(axis, reverse), normal((3, 4, 5)))
        yield Case(f"integers{end}", Cumsum(0, reverse), integers(-9, 9, (7, 2), "int32"))
        yield Case(f"booleans{end}", Cumsum(1, reverse), integers(0, 2, (3, 9), "bool"))
        yield Case(f"long{end}", Cumsum(0, reverse), normal((20000,)))
        yield Case(f"size-1 axis{end}", Cumsum(1, reverse), normal((4, 1)))
        yield Case(f"empty axis{end}", Cumsum(1, reverse), normal((4, 0)))
        yield Case(f"empty batch{end}", Cumsum(1, reverse), normal((0, 4)))
        yield Case(f"turned{end}", Cumsum(0, reverse), transposed((4, 5)))
