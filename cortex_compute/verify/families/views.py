"""Views: what NumPy's own views show."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cortex_compute.primitives.views import Broadcast, Reshape, Slice, Transpose
from cortex_compute.verify.case import Case, cases, normal
from cortex_compute.verify.reference import reference


@reference(Reshape)
def reshape(p: Reshape, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (x.reshape(p.shape),)


@reference(Transpose)
def transpose(p: Transpose, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (x.transpose(p.axes),)


@reference(Slice)
def slice_(p: Slice, x: np.ndarray) -> tuple[np.ndarray, ...]:
    for axis, (start, size, step) in enumerate(zip(p.starts, p.sizes, p.steps)):
        x = x[(slice(None),) * axis + (_run(start, size, step),)]
    return (x,)


def _run(start: int, size: int, step: int) -> slice:
    stop = start + size * step
    return slice(start, stop if stop >= 0 else None, step) if size else slice(0, 0)


@reference(Broadcast)
def broadcast(p: Broadcast, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.broadcast_to(x, p.shape),)


@cases(Reshape)
def reshapes() -> Iterator[Case]:
    yield Case("flatten", Reshape((24,)), normal((2, 3, 4)))
    yield Case("split", Reshape((2, 3, 4)), normal((6, 4)))
    yield Case("merge and split", Reshape((3, 8)), normal((2, 3, 4)))
    yield Case("size-1 axes", Reshape((1, 6, 1)), normal((2, 1, 3)))
    yield Case("from 0-d", Reshape((1, 1)), normal(()))
    yield Case("to 0-d", Reshape(()), normal((1, 1)))
    yield Case("empty", Reshape((4, 0)), normal((0, 3)))


@cases(Transpose)
def transposes() -> Iterator[Case]:
    yield Case("matrix", Transpose((1, 0)), normal((3, 5)))
    yield Case("channels first", Transpose((0, 3, 1, 2)), normal((2, 3, 4, 5)))
    yield Case("0-d", Transpose(()), normal(()))
    yield Case("empty", Transpose((1, 0)), normal((0, 3)))


@cases(Slice)
def slices() -> Iterator[Case]:
    yield Case("rows", Slice((1,), (2,), (1,)), normal((5,)))
    yield Case("steps", Slice((0, 1), (2, 3), (3, 2)), normal((5, 7)))
    yield Case("backwards", Slice((4, 6), (5, 3), (-1, -3)), normal((5, 7)))
    yield Case("nothing", Slice((0, 0), (0, 2), (1, 1)), normal((5, 7)))


@cases(Broadcast)
def broadcasts() -> Iterator[Case]:
    yield Case("row", Broadcast((4, 3)), normal((3,)))
    yield Case("column", Broadcast((2, 4, 3)), normal((4, 1)))
    yield Case("0-d", Broadcast((2, 2)), normal(()))
    yield Case("empty", Broadcast((0, 3)), normal((1, 3)))
