"""Draws that pass gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import DTypeError, ShapeError, SpecError
from cortex_core.layers.scope import Scope
from cortex_core.registry import LAYERS
from tests.core.layers.use import Used

rng = np.random.default_rng(0)
SAMPLING = LAYERS["sampling"](log_variance="spread")


def sampled(mean: np.ndarray, spread: np.ndarray, **options: Any) -> Used:
    return Used(SAMPLING, mean, log_variance=spread, **options)


def test_draws_have_the_mean_and_the_variance_that_are_named() -> None:
    """Six standard deviations of the mean, and of the variance, of 40,000 draws."""
    count = 40_000
    mean, variance = (np.broadcast_to(x, (count, 3)) for x in ([-3.0, 0.0, 5.0], [4.0, 1.0, 0.25]))
    y = sampled(mean, np.log(variance)).y
    np.testing.assert_allclose((y - mean).mean(0) / variance[0] ** 0.5, 0, atol=6 / count**0.5)
    np.testing.assert_allclose(y.var(0) / variance[0], 1, atol=6 * (2 / count) ** 0.5)


def test_gradients_are_those_of_the_reparametrisation() -> None:
    """dz/dmean = 1, dz/dlog_variance = (z - mean) / 2: by hand from z = mean + exp(log_variance / 2) n."""
    mean, spread = (cortex.Tensor(rng.normal(size=(5, 4)), requires_grad=True) for _ in range(2))
    key = cortex.Tensor(np.array([0, 0], np.uint64))
    z = SAMPLING.forward(Scope({}, True, "it", key), mean, log_variance=spread)
    z.sum().backward()
    np.testing.assert_allclose(mean.grad.numpy(), 1)
    np.testing.assert_allclose(spread.grad.numpy(), (np.asarray(z) - np.asarray(mean)) / 2, rtol=1e-12)


def test_it_repeats_by_key_and_rests_in_prediction() -> None:
    mean, spread = rng.normal(size=(2, 4, 3))
    y = sampled(mean, spread).y
    np.testing.assert_array_equal(y, sampled(mean, spread).y)
    assert (sampled(mean, spread, key=(0, 1)).y != y).all()
    np.testing.assert_array_equal(sampled(mean, spread, training=False).y, mean)


def test_shapes_and_types_that_do_not_suit() -> None:
    with pytest.raises(ShapeError, match=r"is \(3,\): sampling needs a log_variance of the .*; it is \(1,\)"):
        sampled(np.zeros((2, 3)), np.zeros((2, 1)))
    with pytest.raises(DTypeError, match="sampling needs a floating type"):
        sampled(np.zeros((2, 3), np.int64), np.zeros((2, 3)))


def test_check_names_the_place() -> None:
    spec = {"inputs": {"x": [4]}, "layers": [{"dense": {"units": 2, "id": "d"}}, {"sampling": "x"}]}
    with pytest.raises(SpecError, match=r"layers\[1\]\.sampling: 'd' is \(2,\).*it is \(4,\)"):
        cortex.network(spec)
