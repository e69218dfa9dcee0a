"""The kernels of batch norm and layer norm: large means, constant channels, and how rows are cut."""

from __future__ import annotations

import numpy as np
import pytest

from cortex_compute.numpy_backend.normalization import Channels
from cortex_compute.primitives.normalization import (
    BatchNorm,
    BatchNormGrad,
    BatchNormRelu,
    BatchNormReluGrad,
    LayerNorm,
    LayerNormGrad,
)
from cortex_compute.types import TensorType
from tests.compute.kernels import allocated, compute

RNG = np.random.default_rng(3)
SHAPES = [(128, 256), (9, 12, 12, 20), (701, 3), (64, 2000)]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_variance_does_not_cancel(shape: tuple[int, ...]) -> None:
    """Mean 1000, deviation 1: float32 holds 1000 to 3e-5, its square only to 0.03."""
    x = (1000 + RNG.standard_normal(shape)).astype(np.float32)
    ones = np.ones(shape[-1], np.float32)
    wide = x.astype(np.float64)
    for p, axes in ((BatchNorm(), tuple(range(len(shape) - 1))), (LayerNorm(), (-1,))):
        y, mean, variance = compute(p, x, ones, 0 * ones)
        np.testing.assert_allclose(mean, wide.mean(axes), rtol=5e-7)
        np.testing.assert_allclose(variance, wide.var(axes), rtol=2e-4, atol=1e-8)
        deviation = np.sqrt(wide.var(axes, keepdims=True) + 1e-5)
        wanted = (wide - wide.mean(axes, keepdims=True)) / deviation
        np.testing.assert_allclose(y, wanted, rtol=1e-3, atol=1e-3 if shape[-1] > 3 else 5e-3)


def test_rows_in_order_are_merged_without_cancelling() -> None:
    """The blocks of a sorted batch have means from -3 to 3; the variance lies between them, not within."""
    x = np.sort(RNG.standard_normal((5000, 16)).astype(np.float32), axis=0)
    ones = np.ones(16, np.float32)
    _, mean, variance = compute(BatchNorm(), x, ones, ones)
    np.testing.assert_allclose(mean, x.mean(0, np.float64), atol=1e-7)
    np.testing.assert_allclose(variance, x.var(0, np.float64), rtol=1e-6)


def test_a_constant_channel_has_no_variance() -> None:
    x = np.full((500, 8), 1000.0, np.float32)
    y, mean, variance = compute(BatchNorm(1e-5), x, np.ones(8, np.float32), np.full(8, 2.0, np.float32))
    np.testing.assert_array_equal(mean, 1000)
    np.testing.assert_array_equal(variance, 0)
    np.testing.assert_array_equal(y, 2)


def test_a_nan_stays_in_its_channel() -> None:
    x = RNG.standard_normal((300, 4)).astype(np.float32)
    x[17, 2] = np.nan
    y, mean, _ = compute(BatchNorm(), x, np.ones(4, np.float32), np.ones(4, np.float32))
    np.testing.assert_array_equal(np.isnan(mean), [False, False, True, False])
    np.testing.assert_array_equal(np.isnan(y).all(0), [False, False, True, False])


@pytest.mark.parametrize("shape", [*SHAPES, (0, 5), (1, 1), (50176, 32), (40, 20000)])
def test_channels_cover_every_element_once(shape: tuple[int, ...]) -> None:
    c = Channels(TensorType(shape))
    assert c.width * c.height == np.prod(shape)
    assert c.counts.sum() == c.height
    assert c.partial.nbytes <= TensorType(shape).nbytes / 16 + 4 * c.width


@pytest.mark.parametrize("shape", SHAPES)
def test_strided_operands_are_copied_into_the_workspace(shape: tuple[int, ...]) -> None:
    x, g = (np.asfortranarray(RNG.standard_normal(shape).astype(np.float32)) for _ in range(2))
    v, rows = np.ones(shape[-1], np.float32), np.ones(shape[:-1], np.float32)
    assert allocated(BatchNorm(), x, v, v) < 4096
    assert allocated(BatchNormGrad(), x, v, v, v, g) < 4096
    assert allocated(LayerNorm(), x, v, v) < 4096
    assert allocated(LayerNormGrad(), x, v, rows, rows, g) < 4096


def test_a_nan_stays_in_its_channel_through_the_relu_as_well() -> None:
    x = RNG.standard_normal((300, 4)).astype(np.float32)
    x[17, 2] = np.nan
    y, *_ = compute(BatchNormRelu(), x, np.ones(4, np.float32), np.zeros(4, np.float32))
    np.testing.assert_array_equal(np.isnan(y).all(0), [False, False, True, False])
    assert (y[:, [0, 1, 3]] >= 0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_what_the_relu_stops_counts_as_no_gradient(shape: tuple[int, ...]) -> None:
    """The gradient behind the ReLU is a NaN; where y is a NaN nothing passes either."""
    x, y, g = (RNG.standard_normal(shape).astype(np.float32) for _ in range(3))
    y[y < 0] = 0
    y[0, ..., 0] = np.nan
    open_ = y > 0
    v, none = np.ones(shape[-1], np.float32), np.zeros(0, np.uint8)
    wanted = compute(BatchNormGrad(), x, v, 0 * v, v, np.where(open_, g, np.float32(0)))
    found = compute(BatchNormReluGrad(), x, v, 0 * v, v, y, none, np.where(open_, g, np.float32(np.nan)))
    for a, b in zip(found, wanted):
        np.testing.assert_array_equal(a, b)
