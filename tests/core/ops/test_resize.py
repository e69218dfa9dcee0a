"""Resizing, extending and adaptive pooling: values against NumPy, derivatives against central differences."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_core.nn import functional as F
from cortex_core.ops.normalization import local_response_norm
from cortex_core.ops.padding import extend
from cortex_core.ops.pooling import adaptive_avg_pool, adaptive_max_pool
from cortex_core.ops.resize import linear_weights, mix, resize
from cortex_core.tensor import Tensor
from tests.core.ops.gradients import check_gradients

RNG = np.random.default_rng(15)
X = RNG.standard_normal((2, 4, 5, 3))


@pytest.mark.parametrize("size", [(4, 5), (8, 15), (6, 7), (2, 3), (9, 5), (4, 10)])
def test_nearest_takes_the_element_at_its_place(size: tuple[int, int]) -> None:
    rows, columns = (np.arange(m) * n // m for n, m in zip((4, 5), size))
    wanted = X[:, rows][:, :, columns]
    factors = [m / n for n, m in zip((4, 5), size)]
    np.testing.assert_array_equal(resize(Tensor(X), size, factors, linear=False).data, wanted)
    first = F.interpolate(Tensor(np.moveaxis(X, -1, 1)), size)
    np.testing.assert_array_equal(first.data, np.moveaxis(wanted, -1, 1))


def test_a_matrix_that_would_take_all_memory_is_refused() -> None:
    x = Tensor(np.zeros((1, 60_000, 1), np.float32))
    with pytest.raises(ShapeError, match="60,000 elements cannot become one of 65,536"):
        resize(x, (65_536,), (65_536 / 60_000,), linear=True)


def test_a_factor_says_what_lies_where() -> None:
    """Of 5 elements 2.5 times as many are 12, rounded down: element i is that at i / 2.5, not at 5 i / 12."""
    x = np.arange(5.0).reshape(1, 5, 1)
    y = resize(Tensor(x), (12,), (2.5,), linear=False)
    assert y.data.ravel().tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(4, 5), (8, 10), (3, 7)])
def test_linear_is_interpolation_between_middles(size: tuple[int, int], align_corners: bool) -> None:
    wanted = X
    for axis, (n, m) in enumerate(zip((4, 5), size), 1):
        at = np.linspace(0, n - 1, m) if align_corners else (np.arange(m) + 0.5) * n / m - 0.5
        wanted = np.apply_along_axis(partial(np.interp, at, np.arange(n)), axis, wanted)
    factors = [m / n for n, m in zip((4, 5), size)]
    y = resize(Tensor(X), size, factors, True, align_corners)
    np.testing.assert_allclose(y.data, wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("align_corners", [False, True])
def test_an_axis_that_stays_as_it_is_takes_no_matrix(align_corners: bool) -> None:
    """That would have 3e11 elements."""
    x = np.arange(600_000.0).reshape(1, -1, 1)
    y = resize(Tensor(x), x.shape[1:2], (1.0,), True, align_corners)
    np.testing.assert_array_equal(y.data, x)


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("size", [(8, 10), (6, 3)])
def test_derivatives_of_resizing(linear: bool, size: tuple[int, int]) -> None:
    factors = [m / n for n, m in zip((4, 5), size)]
    check_gradients(lambda x: resize(x * x * x, size, factors, linear), X)


@pytest.mark.parametrize("axis", [0, 1, 3])
def test_mixing_is_a_product_along_an_axis(axis: int) -> None:
    weights = linear_weights(X.shape[axis], 3, 3 / X.shape[axis])
    wanted = np.moveaxis(np.tensordot(weights, X, (1, axis)), 0, axis)
    np.testing.assert_allclose(mix(Tensor(X), weights, axis).data, wanted, rtol=1e-13, atol=1e-15)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "numpys"), [("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")]
)
def test_extending_is_numpys_padding(mode: str, numpys: Any) -> None:
    padding = [(0, 0), (3, 0), (1, 4), (2, 2)]
    y = extend(Tensor(X), padding, mode)
    wanted = X
    for axis, pair in enumerate(padding):
        wanted = np.pad(wanted, [pair if a == axis else (0, 0) for a in range(4)], mode=numpys)
    np.testing.assert_array_equal(y.data, wanted)
    check_gradients(lambda x: extend(x * x * x, padding, mode), X)


def test_extending_refuses() -> None:
    x = Tensor(np.zeros((2, 3)))
    with pytest.raises(ArgumentError, match="choose constant, reflect, replicate, circular"):
        extend(x, [(0, 0), (1, 1)], "mirror")
    for mode, most in (("reflect", 2), ("circular", 3)):
        with pytest.raises(ShapeError, match=rf"\(0, {most + 1}\) around axis 1 .*{mode} takes 0 to {most}"):
            extend(x, [(0, 0), (0, most + 1)], mode)
    with pytest.raises(ShapeError, match="replicate takes 0 or more"):
        extend(x, [(0, 0), (-1, 2)], "replicate")
    with pytest.raises(ShapeError, match="replicate takes nothing of an empty axis"):
        extend(x[:, :0], [(0, 0), (1, 1)], "replicate")


@pytest.mark.slow
@pytest.mark.parametrize("size", [(2, 5), (3, 2), (6, 7)])
def test_derivatives_of_adaptive_pooling(size: tuple[int, int]) -> None:
    check_gradients(lambda x: adaptive_avg_pool(x * x * x, size), X)
    apart = RNG.permutation(np.linspace(-2, 2, X.size)).reshape(X.shape)
    check_gradients(lambda x: adaptive_max_pool(x * x * x, size), apart)


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_derivatives_of_local_response(size: int) -> None:
    check_gradients(lambda x: local_response_norm(x, size, 0.4, 0.75, 1.5), RNG.standard_normal((2, 3, 4)))


def test_local_response_sees_more_channels_before_than_behind() -> None:
    """The window of an even size, as in PyTorch: channel c sees c - 1 and c."""
    y = local_response_norm(Tensor([[1.0, 2.0, 3.0]]), 2, 1.0, 1.0, 1.0)
    np.testing.assert_allclose(y.data, [[1 / 2, 2 / 6, 3 / 14]], rtol=1e-6)
    with pytest.raises(ShapeError, match="size is 0; needs one channel at least"):
        local_response_norm(Tensor([[1.0]]), 0)
