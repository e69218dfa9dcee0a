"""Reductions: types, and gradients at the places where a quotient or a product would go wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.types import bool_, float32, int64
from cortex_core.ops import reduce
from cortex_core.tensor import Tensor
from tests.core.ops.gradients import check_gradients

X = np.random.default_rng(3).standard_normal((3, 4, 5))


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 2), ()])
@pytest.mark.parametrize("kind", ["sum", "mean", "prod", "max", "min"])
def test_gradients(kind: str, axis: Any) -> None:
    check_gradients(lambda x: reduce.reduce(kind, x, axis), X, tolerance=1e-6)
    check_gradients(lambda x: reduce.reduce(kind, x, axis, True), X, tolerance=1e-6)


@pytest.mark.parametrize("zeros", [1, 2, 3])
def test_the_gradient_of_a_product_with_factors_of_0(zeros: int) -> None:
    x = np.arange(1.0, 8.0)
    x[:zeros] = 0
    check_gradients(reduce.prod, x, tolerance=1e-6)


def test_a_product_of_nothing() -> None:
    x = Tensor(np.zeros((0, 3)), requires_grad=True)
    y = reduce.prod(x, 0)
    np.testing.assert_array_equal(y.numpy(), np.ones(3))
    reduce.sum(y).backward()
    assert x.grad is not None
    assert x.grad.shape == (0, 3)


def test_an_infinite_gradient_reaches_the_extreme_alone() -> None:
    x = Tensor(np.array([0.0, 3.0, 2.0]), requires_grad=True)
    reduce.max(x).backward(Tensor(np.array(np.inf)))
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), [0, np.inf, 0])


def test_types_over_no_axes() -> None:
    x = Tensor(np.array([True, False]))
    kinds = {"sum": int64, "prod": int64, "mean": float32, "max": bool_, "min": bool_}
    for kind, expected in kinds.items():
        assert reduce.reduce(kind, x, ()).dtype is expected
        assert reduce.reduce(kind, Tensor(np.array(True))).dtype is expected


def test_a_median_of_two_middles_is_the_smaller_and_of_nan_is_nan() -> None:
    x = Tensor(np.array([[4.0, 1.0, 3.0, 2.0], [4.0, np.nan, 3.0, 2.0]]))
    np.testing.assert_array_equal(x.median(1).numpy(), [2.0, np.nan])
    assert Tensor([3, 1, 2, 4]).median().item() == 2
