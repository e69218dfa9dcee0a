"""Inverse trigonometric functions against the C library's, over all magnitudes and at the ends."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cortex_core.ops.inverse import acos, asin, atan, atan2
from cortex_core.tensor import Tensor

SIZES = np.concatenate([[0.0], np.geomspace(1e-12, 1e12, 997), [np.inf]])
X = np.concatenate([SIZES, -SIZES])


def test_atan_everywhere() -> None:
    np.testing.assert_allclose(atan(Tensor(X)).numpy(), np.arctan(X), rtol=1e-15)
    assert math.copysign(1, atan(Tensor(-0.0)).item()) == -1
    assert np.isnan(atan(Tensor(np.nan)).item())


@pytest.mark.parametrize(("f", "reference"), [(asin, np.arcsin), (acos, np.arccos)])
def test_of_sines_and_cosines(f: object, reference: object) -> None:
    near_1 = 1 - np.geomspace(1e-15, 0.5, 200)
    x = np.concatenate([np.linspace(-1, 1, 1001), near_1, -near_1])
    np.testing.assert_allclose(f(Tensor(x)).numpy(), reference(x), rtol=4e-15, atol=1e-16)  # type: ignore[operator]
    assert np.isnan(f(Tensor(np.array(1.5))).numpy())  # type: ignore[operator]


def test_atan2_around_the_origin() -> None:
    angles = np.linspace(-math.pi, math.pi, 1001)
    y, x = 3 * np.sin(angles), 3 * np.cos(angles)
    np.testing.assert_allclose(atan2(Tensor(y), Tensor(x)).numpy(), np.arctan2(y, x), rtol=1e-14, atol=1e-16)
    y, x = np.array([0.0, -0.0, 0.0, -0.0, 0.0, 2.0]), np.array([-1.0, -1.0, 1.0, 1.0, 0.0, -0.0])
    np.testing.assert_allclose(atan2(Tensor(y), Tensor(x)).numpy(), np.arctan2(y, x), rtol=1e-15)


def test_slopes_at_the_ends_are_infinite() -> None:
    for f, sign in ((asin, 1), (acos, -1)):
        x = Tensor(np.array([1.0, -1.0]), requires_grad=True)
        f(x).sum().backward()
        assert x.grad is not None
        np.testing.assert_array_equal(x.grad.numpy(), sign * np.inf)
    x = Tensor(X, requires_grad=True)
    atan(x).sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), 1 / (1 + X * X), rtol=1e-13)
