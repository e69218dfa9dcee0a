"""Reductions on the GPU: every shape of kernel, in parts and whole, against NumPy and exact sums."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cortex_compute.numpy_backend.bfloat16 import narrow, widen
from cortex_compute.primitives.reduce import Reduce
from cortex_compute.protocol import Layout, Offer, Operand
from cortex_compute.types import DTYPES, DType, TensorType, bfloat16, float32
from cortex_compute.verify.families.reduce import body, over
from cortex_gpu.backend import CupyBackend, Gpu
from cortex_gpu.index import Walk
from cortex_gpu.reduce import MOST, Table, reduce
from tests.gpu.running import computed
from tests.gpu.standin import installed
from tests.gpu.standin.backend import cupy_backend

INTEGERS = [d for d in DTYPES.values() if d.kind == "int"]
SHAPES = {
    "rows": ((7, 20000), 1),
    "columns": ((20000, 7), 0),
    "wide columns": ((900, 600), 0),
    "all": ((70000,), 0),
}


@pytest.mark.parametrize("name", SHAPES)
def test_sums_of_positive_numbers_are_near_the_exact_sum(backend: CupyBackend, name: str) -> None:
    shape, axis = SHAPES[name]
    x = np.random.default_rng(1).uniform(0.5, 2, shape).astype(np.float32)
    (y,) = computed(backend, over("sum", axis), x)
    exact = np.apply_along_axis(math.fsum, axis, x.astype(np.float64))
    np.testing.assert_allclose(y, exact, rtol=4 * float32.eps)


@pytest.mark.parametrize("name", SHAPES)
def test_equal_runs_give_equal_bits(name: str) -> None:
    shape, axis = SHAPES[name]
    x = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    results = set()
    for seed in (1, 2, 3):  # blocks and threads run in other orders
        with installed(seed=seed):
            (y,) = computed(cupy_backend(), over("sum", axis), x)
            results.add(y.tobytes())
    assert len(results) == 1


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("kind", ["argmax", "argmin", "max", "min"])
def test_extremes_and_their_first_places(backend: CupyBackend, kind: str, name: str) -> None:
    shape, axis = SHAPES[name]
    x = np.random.default_rng(3).integers(-9, 9, shape).astype(np.float32)  # many are equal
    (y,) = computed(backend, over(kind, axis), x)
    np.testing.assert_array_equal(y, getattr(np, kind)(x, axis))
    flat = x.reshape(-1)
    flat[[1, flat.size // 2, flat.size - 1]] = np.nan
    (y,) = computed(backend, over(kind, axis), x)
    np.testing.assert_array_equal(y, getattr(np, kind)(x, axis))


@pytest.mark.parametrize("kind", ["max", "min", "argmax", "argmin"])
def test_extremes_of_infinities(backend: CupyBackend, kind: str) -> None:
    inf = np.inf
    x = np.array([[-inf, -inf], [inf, inf], [-inf, inf], [0.0, -inf], [inf, np.nan]], np.float32)
    (y,) = computed(backend, over(kind, 1), x)
    np.testing.assert_array_equal(y, getattr(np, kind)(x, 1))


@pytest.mark.parametrize("d", INTEGERS, ids=str)
def test_integers_of_all_types(backend: CupyBackend, d: DType) -> None:
    info = np.iinfo(d.storage)
    ends = [[info.max] * 3, [info.min] * 3]
    x = np.array([[info.max, info.max, 3], [info.min, 1, 2], [7, 5, info.max], *ends], d.storage)
    for kind in ("max", "min", "argmax", "argmin"):
        (y,) = computed(backend, over(kind, 1), x)
        np.testing.assert_array_equal(y, getattr(np, kind)(x, 1))
    with np.errstate(over="ignore"):
        for kind in ("sum", "prod"):
            (y,) = computed(backend, over(kind, 0), x)
            np.testing.assert_array_equal(y, getattr(np, kind)(x.astype(np.int64), 0))


def test_means_of_integers_are_summed_exactly(backend: CupyBackend) -> None:
    x = np.array([[1 << 40, 3, -(1 << 40), 5], [1 << 24, 1, 1, 1]])
    (y,) = computed(backend, over("mean", 1), x)
    np.testing.assert_array_equal(y, np.array([2.0, ((1 << 24) + 3) / 4], np.float32))


def test_short_types_are_summed_in_float32(backend: CupyBackend) -> None:
    half = np.full((3, 1000), 1000, np.float16)  # the sum is beyond float16
    (y,) = computed(backend, over("mean", 1), half)
    np.testing.assert_array_equal(y, np.full(3, 1000, np.float16))
    ones = narrow(np.ones((5000, 2), np.float32))  # in bfloat16 256 + 1 is 256
    (y,) = computed(backend, over("sum", 0), ones, narrow=bfloat16)
    np.testing.assert_array_equal(widen(y), widen(narrow(np.full(2, 5000, np.float32))))


def test_bodies_over_several_axes_and_parts(backend: CupyBackend) -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((30, 40, 50)).astype(np.float32)
    scale = rng.standard_normal((40, 1)).astype(np.float32)
    for axes in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)):
        (y,) = computed(backend, body("sum", axes, lambda a, b: a * a * b - 0.5, 2), x, scale)
        wide = x.astype(np.float64) ** 2 * scale - 0.5
        bound = 16 * float32.eps * np.sum(np.abs(x.astype(np.float64) ** 2 * scale) + 0.5, axes)
        assert np.all(np.abs(y - wide.sum(axes)) <= bound)


def test_what_is_empty(backend: CupyBackend) -> None:
    x = np.zeros((4, 0), np.float32)
    for kind, wanted in (("sum", 0), ("prod", 1), ("mean", np.nan)):
        (y,) = computed(backend, over(kind, 1), x)
        np.testing.assert_array_equal(y, np.full(4, wanted, np.float32))
        (y,) = computed(backend, over(kind, 0), x)
        assert y.shape == (0,)


def offered(p: Reduce, *operands: Operand, processors: int = 108) -> Any:
    offer = reduce(p, operands, Gpu(processors=processors))
    assert isinstance(offer, Offer)
    return offer


def grids(p: Reduce, shape: tuple[int, ...], **settings: int) -> list[tuple[int, int, int]]:
    """The grids of the launches."""
    return [step.grid for step in offered(p, Operand(TensorType(shape)), **settings).build().steps]


def test_the_gpu_is_filled_and_small_work_is_one_launch() -> None:
    assert grids(over("sum", 0), (1000,)) == [(1, 1, 1)]
    (_, parts, _), last = grids(over("sum", 0), (1 << 24,))
    assert parts == 8 * 108
    assert last == (1, 1, 1)
    (across, parts, _), last = grids(over("sum", 0), (100352, 64))
    assert across * parts >= 2 * 108
    assert last[1] == 1
    assert len(grids(over("sum", 1), (100352, 64))) == 1
    assert len(grids(over("sum", 0), (1 << 24,), processors=1)) == 2


def test_no_lane_adds_up_too_many_terms() -> None:
    for results, reduced in ((1, 1 << 30), (5000, 1 << 22), (1 << 20, 1 << 20)):
        for strides in ((1, results), (reduced, 1)):
            table = Table.of(Walk.over((results,), [strides[:1]]), Walk.over((reduced,), [strides[1:]]))
            assert reduced / (table.parts(1) * table.lanes) <= MOST


def test_neighbouring_threads_read_neighbouring_elements() -> None:
    def rows(shape: tuple[int, ...], axes: tuple[int, ...], strides: tuple[int, ...]) -> bool:
        kept = [i for i in range(len(shape)) if i not in axes]
        walks = (Walk.over([shape[i] for i in part], [[strides[i] for i in part]]) for part in (kept, axes))
        return Table.of(*walks).rows

    assert rows((100, 200), (1,), (200, 1))
    assert not rows((100, 200), (0,), (200, 1))
    assert rows((100, 200), (0,), (1, 100))
    assert rows((8, 20, 30), (0, 2), (600, 30, 1))
    assert not rows((8, 20, 30), (0, 1), (600, 30, 1))
    assert rows((100,), (0,), (1,))


def test_threads_of_a_block() -> None:
    def table(results: int, reduced: int) -> tuple[int, int]:
        found = Table.of(Walk((results,), ((reduced,),)), Walk((reduced,), ((1,),)))
        return found.lanes, found.beside

    assert table(5, 10) == (4, 64)
    assert table(5, 100) == (32, 8)
    assert table(5, 5000) == (256, 1)
    assert table(5, 0) == (1, 256)


def test_the_workspace_holds_the_parts() -> None:
    assert offered(over("sum", 0), Operand(TensorType((1000,)))).workspace == 0
    assert offered(over("sum", 0), Operand(TensorType((1 << 24,)))).workspace == 8 * 108 * 8
    assert offered(over("argmax", 0), Operand(TensorType((1 << 24,)))).workspace == 8 * 108 * 16


def test_turned_operands_are_read_as_they_lie() -> None:
    operand = Operand(TensorType((64, 4096), bfloat16), Layout((1, 64)))
    first, second = offered(over("sum", 1), operand).build().sources
    assert "load(x0[(int)(r) * 64])" in first.text
    assert first.name == "reduce_sum"
    assert second.name == "reduce_sum_parts"
