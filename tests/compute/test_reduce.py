"""Reductions: values by hand, types, ties, accuracy, allocation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cortex_compute.errors import ShapeError
from cortex_compute.primitives.reduce import KINDS, Reduce
from cortex_compute.types import DType, TensorType, bool_, float16, float32, float64, int32, int64, uint8
from cortex_compute.verify.families.reduce import body, over
from tests.compute.kernels import allocated, compute

X = np.array([[1, 5, 2], [4, 3, 6]], np.float32)


@pytest.mark.parametrize(
    ("kind", "axes", "expected"),
    [
        ("sum", (0,), [5, 8, 8]),
        ("sum", (1,), [8, 13]),
        ("sum", (0, 1), 21),
        ("mean", (1,), [8 / 3, 13 / 3]),
        ("prod", (0,), [4, 15, 12]),
        ("max", (0,), [4, 5, 6]),
        ("min", (1,), [1, 3]),
        ("argmax", (1,), [1, 2]),
        ("argmin", (0,), [0, 1, 0]),
        ("sum", (), [[1, 5, 2], [4, 3, 6]]),
    ],
)
def test_values_by_hand(kind: str, axes: tuple[int, ...], expected: Any) -> None:
    np.testing.assert_allclose(compute(Reduce(kind, axes), X), expected, rtol=1e-6)
    kept = compute(Reduce(kind, axes, keepdims=True), X)
    assert kept.shape == tuple(1 if i in axes else n for i, n in enumerate(X.shape))
    np.testing.assert_allclose(kept.squeeze(), np.squeeze(expected), rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("sum", bool_, int64), ("sum", uint8, int64), ("prod", int32, int64), ("mean", int64, float32),
        ("max", int32, int32), ("max", bool_, bool_), ("sum", float16, float16), ("argmax", float64, int64),
    ],
)  # fmt: skip
def test_types(kind: str, given: DType, expected: DType) -> None:
    assert Reduce(kind, (0,)).infer(TensorType((3,), given)) == (TensorType((), expected),)


def test_empty_axes() -> None:
    empty = np.zeros((2, 0), np.float32)
    np.testing.assert_array_equal(compute(over("sum", 1), empty), [0, 0])
    np.testing.assert_array_equal(compute(over("prod", 1), empty), [1, 1])
    np.testing.assert_array_equal(compute(over("mean", 1), empty), [math.nan, math.nan])
    assert compute(over("max", 0), np.zeros((3, 0), np.float32)).shape == (0,)
    with pytest.raises(ShapeError, match=r"Reduce: max of an empty axis, shape \(2, 0\)"):
        compute(over("max", 1), empty)


def test_nan_wins_and_the_first_place_wins() -> None:
    x = np.array([[1, math.nan, 3, math.nan], [2, 7, 7, 1]], np.float32)
    np.testing.assert_array_equal(compute(over("max", 1), x), [math.nan, 7])
    np.testing.assert_array_equal(compute(over("min", 1), x), [math.nan, 1])
    np.testing.assert_array_equal(compute(over("argmax", 1), x), [1, 1])
    np.testing.assert_array_equal(compute(over("argmin", 1), x), [1, 3])


def test_infinities_do_not_reach_other_columns() -> None:
    """A sum is a product with ones, never with zeros, which would make NaN of infinity."""
    x = np.ones((3000, 3), np.float32)
    x[7, 1] = math.inf
    np.testing.assert_array_equal(compute(over("sum", 0), x), [3000, math.inf, 3000])
    np.testing.assert_array_equal(compute(over("sum", 1), x[5:9]), [3, 3, math.inf, 3])


def test_small_integers_do_not_overflow() -> None:
    x = np.full((300, 70), 200, np.uint8)
    assert compute(over("sum", 0, 1), x) == 300 * 70 * 200
    np.testing.assert_array_equal(compute(over("sum", 0), x > 0), np.full(70, 300))


def test_a_body_is_reduced_without_its_array() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 50, 400))
    y = compute(body("sum", (1,), lambda a, b: abs(a - b), 2), a, b)
    np.testing.assert_allclose(y, np.abs(a - b).sum(1), rtol=1e-12)


@pytest.mark.parametrize("shape", [(200_000,), (100_000, 2), (2, 100_000), (5, 30_000, 3)])
def test_long_sums_keep_their_accuracy(shape: tuple[int, ...]) -> None:
    """Numbers of one sign: added one after the other, float32 would be wrong in the fourth digit."""
    x = np.random.default_rng(0).uniform(0.5, 2, shape).astype(np.float32)
    axis = shape.index(max(shape))
    exact = np.sum(x, axis=axis, dtype=np.float64)
    np.testing.assert_allclose(compute(over("sum", axis), x), exact, rtol=2e-6)


@given(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5), st.data())
@settings(deadline=None)
def test_any_axes_of_any_view(shape: tuple[int, ...], data: st.DataObject) -> None:
    rank = len(shape)
    kind = data.draw(st.sampled_from([k for k in KINDS if not k.startswith("arg")]))
    axes = tuple(sorted(data.draw(st.sets(st.integers(0, rank - 1)))))
    order = data.draw(st.permutations(range(rank)))
    x = np.random.default_rng(0).uniform(0.5, 2, shape).transpose(order)
    if data.draw(st.booleans()):
        x = x[::-1]
    keep = data.draw(st.booleans())
    expected = getattr(np, kind)(x, axis=axes, keepdims=keep)
    np.testing.assert_allclose(compute(Reduce(kind, axes, keep), x), expected, rtol=1e-12)


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_a_call_allocates_next_to_nothing(axes: tuple[int, ...]) -> None:
    x = np.ones((700, 90), np.float32)
    for p in (over("sum", *axes), over("max", *axes), body("sum", axes, lambda a: a * a, 1)):
        assert allocated(p, x) < 4096
    assert allocated(over("sum", *axes), x.astype(np.int32)) < 4096
    assert allocated(over("argmax", axes[0]), x) < 4096


@pytest.mark.parametrize(
    ("p", "message"),
    [
        (Reduce("median", (0,)), "kind is 'median'; known are sum, mean"),
        (Reduce("sum", (2,)), r"axes \(2,\) of shape \(2, 3\)"),
        (Reduce("argmax", (0, 1)), r"argmax takes one axis, got \(0, 1\)"),
    ],
)
def test_rejections(p: Reduce, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        p.infer(TensorType((2, 3), float32))
