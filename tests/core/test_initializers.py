"""Initial weights: their statistics, and that they repeat."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cortex_compute.errors import CortexError, ShapeError
from cortex_core import initializers
from cortex_core.initializers import fans
from cortex_core.registry import INITIALIZERS

SHAPE = (5, 5, 40, 60)  # fans 1000 and 1500
FIELDS = {"constant": {"value": 0.5}}
VARIANCE = {
    "normal": 0.05**2,
    "truncated_normal": (0.05 * 0.8796256610342398) ** 2,
    "uniform": 0.1**2 / 12,
    "glorot_normal": 2 / 2500,
    "glorot_uniform": 2 / 2500,
    "he_normal": 2 / 1000,
    "he_uniform": 2 / 1000,
    "lecun_normal": 1 / 1000,
    "lecun_uniform": 1 / 1000,
}


def draw(name: str, shape: tuple[int, ...] = SHAPE, seed: int = 0, **fields: float) -> np.ndarray:
    initializer = INITIALIZERS[name](**(FIELDS.get(name, {}) | fields))
    return initializer.draw(shape, np.random.default_rng(seed), fans(shape))


def test_fans_count_the_window() -> None:
    assert fans((784, 100)) == (784, 100)
    assert fans((5, 5, 20, 50)) == (500, 1250)
    assert fans((3, 7, 11)) == (21, 33)
    assert fans((9,)) == (9, 9)
    assert fans(()) == (1, 1)


@pytest.mark.parametrize("name", sorted(VARIANCE))
def test_mean_and_variance(name: str) -> None:
    x = draw(name).astype(np.float64)
    n = x.size  # 60,000: the standard error of the variance is at most sqrt(2 / n) of it
    assert abs(x.mean()) < 4 * math.sqrt(VARIANCE[name] / n)
    assert x.var() == pytest.approx(VARIANCE[name], rel=4 * math.sqrt(2 / n))


@pytest.mark.parametrize("name", [n for n in INITIALIZERS if n != "auto"])
def test_float32_of_the_shape_and_the_same_from_the_same_seed(name: str) -> None:
    x = draw(name, (3, 4, 6))
    assert x.dtype == np.float32
    assert x.shape == (3, 4, 6)
    assert np.array_equal(x, draw(name, (3, 4, 6)))
    if name not in ("zeros", "ones", "constant"):
        assert not np.array_equal(x, draw(name, (3, 4, 6), seed=1))


def test_bounds() -> None:
    assert np.abs(draw("truncated_normal", std=1.0)).max() <= 2
    assert np.abs(draw("truncated_normal", std=1.0)).max() > 1.99
    assert np.abs(draw("glorot_uniform")).max() <= math.sqrt(6 / 2500)
    assert draw("uniform", low=2.0, high=3.0).min() >= 2
    assert draw("normal", mean=5.0, std=0.1).mean() == pytest.approx(5, abs=1e-2)


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9), (2, 3, 5)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    x = draw("orthogonal", shape, gain=2.0).astype(np.float64).reshape(-1, shape[-1])
    product = x.T @ x if x.shape[0] >= x.shape[1] else x @ x.T
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-6)


def test_orthogonal_has_no_preferred_sign() -> None:
    corners = [draw("orthogonal", (3, 3), seed)[0, 0] > 0 for seed in range(200)]
    assert 70 < sum(corners) < 130


def test_constants() -> None:
    assert np.all(draw("zeros") == 0)
    assert np.all(draw("ones") == 1)
    assert np.all(draw("constant", value=0.25) == 0.25)


def test_an_empty_kernel_divides_by_nothing() -> None:
    assert draw("glorot_uniform", (0, 0)).shape == (0, 0)
    assert draw("he_normal", (0, 3)).shape == (0, 3)


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(ShapeError, match=r"orthogonal needs at least two axes, got shape \(4,\)"):
        draw("orthogonal", (4,))
    with pytest.raises(CortexError, match="auto"):
        initializers.auto.draw((2, 2), np.random.default_rng(0), (2, 2))
