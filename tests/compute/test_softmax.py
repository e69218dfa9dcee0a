"""The kernels of softmax and cross entropy: where exp overflows, and labels out of range."""

from __future__ import annotations

import numpy as np
import pytest

from cortex_compute.primitives.softmax import (
    LogSoftmax,
    Softmax,
    SoftmaxCrossEntropy,
    SoftmaxCrossEntropyGrad,
)
from tests.compute.kernels import allocated, compute

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("n", [3, 100])
def test_far_from_zero(n: int) -> None:
    x = np.full((2, n), -5000.0, np.float32)
    x[:, 0] = [3000.0, -5000.0]
    y = compute(Softmax(), x)
    np.testing.assert_array_equal(y[0], np.eye(n)[0])
    np.testing.assert_allclose(y[1], 1 / n, rtol=1e-6)
    z = compute(LogSoftmax(), x)
    np.testing.assert_array_equal(z[0], x[0] - 3000)
    np.testing.assert_allclose(z[1], -np.log(n), rtol=1e-6)


@pytest.mark.parametrize("n", [4, 100])
def test_a_nan_stays_in_its_row(n: int) -> None:
    x = np.zeros((3, n), np.float32)
    x[0, 1], x[1, 2] = np.nan, np.inf
    for p in (Softmax(), LogSoftmax()):
        y = compute(p, x)
        assert np.isnan(y[:2]).all()
        assert np.isfinite(y[2]).all()


def test_labels_outside_are_clipped() -> None:
    x = RNG.standard_normal((4, 3)).astype(np.float32)
    loss, p = compute(SoftmaxCrossEntropy(), x, np.array([-1, 3, 2**40, -(2**40)]))
    inside, _ = compute(SoftmaxCrossEntropy(), x, np.array([0, 2, 2, 0]))
    np.testing.assert_array_equal(loss, inside)
    dx = compute(SoftmaxCrossEntropyGrad(), p, np.array([-1, 3, 2**40, -(2**40)]), np.ones(4, np.float32))
    np.testing.assert_allclose(dx, p - np.eye(3)[[0, 2, 2, 0]], rtol=1e-6)


@pytest.mark.parametrize("shape", [(128, 10), (700, 100)])
def test_strided_operands_are_copied_into_the_workspace(shape: tuple[int, int]) -> None:
    x = np.asfortranarray(RNG.standard_normal(shape).astype(np.float32))
    labels, g = RNG.integers(0, shape[1], 2 * shape[0]).astype(np.int32)[::2], np.ones(shape[0], np.float32)
    assert allocated(Softmax(), x) < 4096
    assert allocated(LogSoftmax(), x) < 4096
    assert allocated(SoftmaxCrossEntropy(0.1), x, labels) < 4096
    assert allocated(SoftmaxCrossEntropyGrad(0.1), x, labels, g) < 4096
