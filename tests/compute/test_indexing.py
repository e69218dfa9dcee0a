"""The kernels of indexing: worked examples, order, NaN, and what a run allocates."""

from __future__ import annotations

import numpy as np
import pytest

from cortex_compute.expression import Literal
from cortex_compute.primitives.base import Primitive
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
from cortex_compute.types import TensorType, float32
from tests.compute.kernels import BACKEND, STREAM, allocated, bound, compute, operand

RNG = np.random.default_rng(3)
TABLE = RNG.standard_normal((300, 24)).astype(np.float32)
IDS = RNG.integers(-5, 310, (40, 50))
PLACES = RNG.integers(0, 24, (300, 60))


def test_repeated_ids_add_in_their_order() -> None:
    """In float32 a sum depends on the order: large, small, small differs from small, small, large."""
    g = np.array([[2.0**24], [1.0], [1.0]], np.float32)
    forward = compute(ScatterRows(0, 1), np.zeros(3, np.int64), g)
    backward = compute(ScatterRows(0, 1), np.zeros(3, np.int64), g[::-1])
    assert (forward[0, 0], backward[0, 0]) == (2.0**24, 2.0**24 + 2)


def test_scatter_add_over_its_operand() -> None:
    x, ids, g = np.ones((4, 2), np.float32), np.array([3, 0, 3]), np.full((3, 2), 2, np.float32)
    operands = [operand(a) for a in (x, ids, g)]
    offer = BACKEND.offer(ScatterAdd(0), operands)
    assert offer.reuse == ((0, 0),)
    offer.build().bind([x, ids, g], [x], np.zeros(offer.workspace, np.uint8))(STREAM)
    np.testing.assert_array_equal(x[:, 0], [3, 1, 1, 5])


def test_pad_between_around_and_cut() -> None:
    """The second row of x would come to row 4, which is cut off."""
    x = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    y = compute(Pad((1, 2), (-1, 1), (2, 1), Literal(0.0)), x)
    wanted = [[0] * 8, [0, 0, 1, 0, 2, 0, 3, 0], [0] * 8, [0] * 8]
    np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_top_k_with_nan_infinities_and_ties(dtype: type) -> None:
    x = np.array([[1, np.nan, np.inf, -np.nan, 1, -np.inf, -0.0, 0.0]], dtype)
    values, ids = compute(TopK(8), x)
    np.testing.assert_array_equal(ids, [[1, 3, 2, 0, 4, 6, 7, 5]])
    np.testing.assert_array_equal(values, x[:, ids[0]])
    np.testing.assert_array_equal(compute(TopK(8, False), x)[1], [[5, 6, 7, 0, 4, 2, 1, 3]])


def test_top_k_never_takes_one_place_twice() -> None:
    for worst in (-np.inf, np.inf, np.nan):
        for largest in (True, False):
            ids = compute(TopK(6, largest), np.full((2, 6), worst))[1]
            np.testing.assert_array_equal(ids, [range(6)] * 2)


KERNELS: dict[str, tuple[Primitive, tuple[np.ndarray, ...]]] = {
    "gather": (Gather(0), (TABLE, IDS)),
    "gather int32, strided": (Gather(1), (TABLE.T, IDS.astype(np.int32).T)),
    "take along": (TakeAlong(1), (TABLE, PLACES)),
    "concatenate": (Concatenate(1), (TABLE, TABLE[:, ::2])),
    "pad": (Pad((1, 2), (3, 0), (0, 2), Literal(0.0)), (TABLE,)),
    "one hot": (OneHot(50, float32), (IDS.astype(np.int16),)),
    "top k": (TopK(5), (TABLE,)),
    "cumsum": (Cumsum(0), (TABLE,)),
    "cumsum reversed": (Cumsum(1, True), (TABLE,)),
    "cumsum of booleans": (Cumsum(1), (TABLE > 0,)),
}
SCATTERS: dict[str, tuple[Primitive, tuple[np.ndarray, ...]]] = {
    "scatter rows": (ScatterRows(0, 300), (IDS, RNG.standard_normal((40, 50, 24)).astype(np.float32))),
    "scatter add": (ScatterAdd(0), (TABLE, IDS[:9], RNG.standard_normal((9, 50, 24)).astype(np.float32))),
    "scatter along": (ScatterAlong(1, 24), (PLACES, RNG.standard_normal((300, 60)).astype(np.float32))),
}


@pytest.mark.parametrize("name", KERNELS)
def test_a_run_allocates_nothing_of_size(name: str) -> None:
    primitive, arrays = KERNELS[name]
    assert allocated(primitive, *arrays) < 4096


@pytest.mark.parametrize("name", SCATTERS)
def test_a_scatter_allocates_numpys_iterators_only(name: str) -> None:
    """`np.add.at` makes iterators, whatever the sizes: 5 KB together, the largest block of them 2.6 KB."""
    primitive, arrays = SCATTERS[name]
    assert allocated(primitive, *arrays) < 6144


def test_a_kernel_reads_its_operands_anew() -> None:
    x, ids = np.arange(6.0).reshape(3, 2), np.array([0, 0])
    run, (y,) = bound(Gather(0), x, ids)
    run()
    ids[:], x[2] = 2, -1
    run()
    np.testing.assert_array_equal(y, [[-1, -1], [-1, -1]])


def test_costs() -> None:
    """A gather moves what it picks, not the table; a scatter adds each element once."""
    x, ids = TensorType((10_000, 8)), TensorType((3,), operand(IDS).type.dtype)
    assert Gather(0).nbytes(x, ids) == 3 * 8 + 2 * 3 * 8 * 4
    assert ScatterRows(0, 10_000).flops(ids, TensorType((3, 8))) == 24
    assert Cumsum(0).flops(TensorType((3, 8))) == 24
