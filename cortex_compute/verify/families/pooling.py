"""Pooling: every window, one after another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cortex_compute.primitives.pooling import (
    Averaging,
    AvgPool,
    AvgPoolGrad,
    MaxPool,
    MaxPoolGrad,
    MaxPoolPick,
    Pooling,
)
from cortex_compute.types import DType, TensorType
from cortex_compute.verify.case import Case, Operands, cases, normal
from cortex_compute.verify.reference import magnitude, reference

Arrays = tuple[np.ndarray, ...]
Place = tuple[Any, ...]


def _windows(p: Pooling, x: tuple[int, ...]) -> Iterator[tuple[Place, list[Place], int]]:
    """Each window: where it lies in y, its elements in x (row-major), and how many places the padding adds.

    What lies beyond the padding counts for nothing.
    """
    every = slice(None)
    for to in np.ndindex(*p.pooled(TensorType(x)).shape[1:-1]):
        axes = []
        for i, k, s, n, (before, after) in zip(to, p.size, p.stride, x[1:-1], p.padding):
            reach = range(i * s - before, min(i * s - before + k, n + after))
            axes.append((reach, [j for j in reach if 0 <= j < n]))
        inside = [(every, *at, every) for at in itertools.product(*(own for _, own in axes))]
        yield (every, *to, every), inside, math.prod(len(reach) for reach, _ in axes) - len(inside)


def _winners(p: Pooling, x: np.ndarray) -> Iterator[tuple[Place, Place, np.ndarray]]:
    """Windows, their elements, and where (N, C) the element is the first that is the largest."""
    for to, elements, _ in _windows(p, x.shape):
        values = np.stack([x[at] for at in elements])
        first = values.argmax(0)
        for k, at in enumerate(elements):
            yield to, at, first == k


def _pooled(p: Pooling, x: np.ndarray) -> np.ndarray:
    return np.zeros(p.pooled(TensorType(x.shape)).shape)


@reference(MaxPool)
def max_pool(p: MaxPool, x: np.ndarray) -> Arrays:
    y = _pooled(p, x)
    for to, elements, _ in _windows(p, x.shape):
        y[to] = np.stack([x[at] for at in elements]).max(0)
    return y, np.zeros(0)


@reference(MaxPoolGrad)
def max_pool_grad(p: MaxPoolGrad, *operands: np.ndarray) -> Arrays:
    x, _, _, g = operands
    dx = np.zeros(x.shape)
    for to, at, won in _winners(p, x):
        dx[at] += np.where(won, g[to], 0)
    return (dx,)


@magnitude(MaxPoolGrad)
def max_pool_grad_size(p: MaxPoolGrad, *operands: np.ndarray) -> Arrays:
    return max_pool_grad(p, *operands[:3], np.abs(operands[3]))


@reference(MaxPoolPick)
@magnitude(MaxPoolPick)
def max_pool_pick(p: MaxPoolPick, *operands: np.ndarray) -> Arrays:
    x, y, _, v = operands
    z = np.zeros(y.shape)
    for to, at, won in _winners(p, x):
        z[to] += np.where(won, v[at], 0)
    return (z,)


def _divisor(p: Averaging, elements: list[Place], padding: int) -> int:
    return len(elements) + (padding if p.count_padding else 0)


@reference(AvgPool)
def avg_pool(p: AvgPool, x: np.ndarray) -> Arrays:
    y = _pooled(p, x)
    for to, elements, padding in _windows(p, x.shape):
        y[to] = sum(x[at] for at in elements) / _divisor(p, elements, padding)
    return (y,)


@reference(AvgPoolGrad)
def avg_pool_grad(p: AvgPoolGrad, g: np.ndarray) -> Arrays:
    dx = np.zeros(p.shape)
    for to, elements, padding in _windows(p, p.shape):
        for at in elements:
            dx[at] += g[to] / _divisor(p, elements, padding)
    return (dx,)


FIELDS = ("size", "stride", "padding", "ceil")
# name: x, then the fields
GEOMETRIES: dict[str, tuple[Any, ...]] = {
    "line": ((2, 9, 3), (3,), (2,), ((1, 1),), False),
    "halves": ((3, 6, 8, 5), (2, 2), (2, 2), ((0, 0), (0, 0)), False),
    "halves of odd sizes": ((2, 7, 5, 3), (2, 2), (2, 2), ((0, 0), (0, 0)), False),
    "halves of odd sizes, ceil": ((2, 7, 5, 3), (2, 2), (2, 2), ((0, 0), (0, 0)), True),
    "overlapping": ((2, 7, 8, 20), (3, 3), (2, 2), ((1, 1), (1, 1)), False),
    "overlapping, ceil": ((2, 8, 8, 3), (3, 3), (2, 2), ((1, 1), (0, 0)), True),
    "every position": ((2, 5, 6, 3), (3, 2), (1, 1), ((0, 0), (0, 0)), False),
    "asymmetric padding": ((2, 5, 6, 3), (3, 4), (2, 1), ((0, 2), (3, 1)), False),
    "gaps": ((2, 9, 9, 3), (2, 1), (4, 3), ((0, 0), (0, 0)), False),
    "ceil that would start behind the image": ((2, 4, 5, 3), (2, 3), (3, 3), ((1, 1), (0, 2)), True),
    "ceil beyond the padding": ((1, 6, 7, 2), (4, 5), (3, 4), ((1, 1), (2, 2)), True),
    "one element": ((2, 3, 4, 3), (1, 1), (1, 1), ((0, 0), (0, 0)), False),
    "all of it": ((2, 3, 4, 3), (3, 4), (1, 1), ((0, 0), (0, 0)), False),
    "size-1 axes": ((1, 1, 6, 1), (1, 2), (1, 2), ((0, 0), (0, 0)), False),
    "volume": ((2, 4, 5, 6, 2), (2, 3, 2), (2, 2, 2), ((0, 0), (1, 1), (0, 0)), False),
    "a window of many elements": ((1, 300, 2), (270,), (10,), ((0, 0),), False),
    "empty batch": ((0, 6, 6, 3), (2, 2), (2, 2), ((0, 0), (0, 0)), False),
    "in pieces": ((5, 14, 15, 200), (3, 2), (2, 2), ((1, 1), (0, 0)), False),
    "one large image": ((1, 24, 20, 300), (3, 3), (2, 1), ((1, 0), (0, 0)), True),
}


Maker = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def _plain(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape)


def _ties(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(rng.integers(-1, 2, shape), float)


def _bottomless(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    x = _plain(rng, shape)
    x[rng.random(shape) < 0.9] = -np.inf
    return x


def _with_infinities(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    chosen = rng.choice(np.array([1.0, np.inf, -np.inf, np.nan]), shape, p=[0.7, 0.1, 0.1, 0.1])
    return np.asarray(_plain(rng, shape) * chosen)


def _one(make: Maker, shape: tuple[int, ...]) -> Operands:
    return lambda rng, dtype: [make(rng, shape).astype(dtype.storage)]


def _after(forward: MaxPool, x_of: Operands, last_of: Operands) -> Operands:
    """x, its maxima, room for the residual, and g or v."""

    def operands(rng: np.random.Generator, dtype: DType) -> list[np.ndarray]:
        (x,) = x_of(rng, dtype)
        y = max_pool(forward, x.astype(float))[0].astype(dtype.storage)
        return [x, y, np.zeros(0, np.uint8), *last_of(rng, dtype)]

    return operands


def _maxima(name: str, geometry: str, make: Maker = _plain, last: Maker = _plain) -> Iterator[Case]:
    x, *values = GEOMETRIES[geometry]
    fields = dict(zip(FIELDS, values))
    forward = MaxPool(**fields)
    y = forward.pooled(TensorType(x)).shape
    yield Case(name, forward, _one(make, x))
    for p, shape in ((MaxPoolGrad(**fields), y), (MaxPoolPick(**fields), x)):
        operands = _after(forward, _one(make, x), _one(last, shape))
        yield Case(name, p, operands, forward=(forward, (0,)))


@cases(MaxPool, MaxPoolGrad, MaxPoolPick)
def maxima() -> Iterator[Case]:
    for name in GEOMETRIES:
        yield from _maxima(name, name)
    for name in ("halves", "overlapping, ceil"):
        yield from _maxima(f"{name}, ties", name, _ties)
        yield from _maxima(f"{name}, -inf", name, _bottomless)
        yield from _maxima(f"{name}, infinite gradients", name, _plain, _with_infinities)
        x, *values = GEOMETRIES[name]
        yield Case(f"{name}, NaN", MaxPool(**dict(zip(FIELDS, values))), _one(_with_infinities, x))


@cases(AvgPool, AvgPoolGrad)
def means() -> Iterator[Case]:
    for (name, (x, *values)), counted in itertools.product(GEOMETRIES.items(), (False, True)):
        fields = dict(zip((*FIELDS, "count_padding"), (*values, counted)))
        p = AvgPool(**fields)
        title = f"{name}, padding counts" if counted else name
        yield Case(title, p, normal(x))
        yield Case(title, AvgPoolGrad(**fields, shape=x), normal(p.pooled(TensorType(x)).shape))
