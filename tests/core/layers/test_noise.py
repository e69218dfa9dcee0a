"""Noise in training: its moments, its gradient, and that predictions know none of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import DTypeError
from cortex_core.layers.scope import Scope
from cortex_core.ops.pointwise import cast
from cortex_core.registry import LAYERS
from cortex_core.tensor import Tensor
from tests.core.layers.use import Used

X = np.random.default_rng(1).uniform(1, 2, size=(200, 300))


def layer(name: str, value: float) -> Any:
    return LAYERS[name](**{LAYERS[name].main: value})


def moments(z: np.ndarray) -> tuple[float, float, float, float]:
    """Mean, variance, third and fourth moment."""
    return z.mean(), z.var(), (z**3).mean(), (z**4).mean()


def test_noise_is_normal_and_added() -> None:
    z = (Used(layer("gaussian_noise", 0.3), X).y - X) / 0.3
    assert moments(z) == pytest.approx((0, 1, 0, 3), abs=0.08)  # 4 deviations of the fourth: 4 sqrt(96 / n)


def test_gaussian_dropout_multiplies_by_numbers_of_the_variance_of_dropout() -> None:
    """Keras: N(1, sqrt(rate / (1 - rate))).  rate 0.2: variance 0.25."""
    z = (Used(layer("gaussian_dropout", 0.2), X).y / X - 1) / 0.5
    assert moments(z) == pytest.approx((0, 1, 0, 3), abs=0.08)
    variance = 0.7  # as a multiplicative dropout has it
    z = Used(layer("gaussian_dropout", variance / (1 + variance)), X).y / X
    assert z.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / z.size))
    dropped = Used(layer("dropout", 0.2), X).y / X
    assert dropped.var() == pytest.approx(0.25, rel=0.02)  # the same two moments


@pytest.mark.parametrize(("name", "slope"), [("gaussian_noise", 1), ("gaussian_dropout", None)])
def test_the_gradient_is_the_factor(name: str, slope: float | None) -> None:
    used = Used(layer(name, 0.4), X)
    used.output.sum().backward()
    factor = used.y / X if slope is None else np.full_like(X, slope)
    np.testing.assert_allclose(used.inputs[0].grad.numpy(), factor, rtol=1e-12)


@pytest.mark.parametrize("name", ["gaussian_noise", "gaussian_dropout"])
def test_prediction_and_nothing_to_draw_give_x(name: str) -> None:
    np.testing.assert_array_equal(Used(layer(name, 0.5), X, training=False).y, X)
    np.testing.assert_array_equal(Used(layer(name, 0), X).y, X)
    assert (Used(layer(name, 0.5), X).y != Used(layer(name, 0.5), X, key=(0, 1)).y).all()


@pytest.mark.parametrize("name", ["gaussian_noise", "gaussian_dropout"])
@pytest.mark.parametrize("of", ["float16", "bfloat16"])
def test_sixteen_bits_stay_and_are_those_of_more_bits_rounded(name: str, of: str) -> None:
    key = Tensor(np.array([3, 1], np.uint64))
    x = Tensor(X[:4].astype(np.float32))
    narrow, wide = (layer(name, 0.2).forward(Scope({}, True, "it", key), v) for v in (cast(x, of), x))
    assert narrow.dtype.name == of
    given = np.asarray(cast(narrow, "float32"))
    np.testing.assert_allclose(given, np.asarray(wide), rtol=2.0**-7, atol=2.0**-7)


@pytest.mark.parametrize("name", ["gaussian_noise", "gaussian_dropout"])
def test_whole_numbers_are_refused(name: str) -> None:
    with pytest.raises(DTypeError, match=f"{name} needs a floating type, not int64"):
        Used(layer(name, 0.5), np.ones((2, 3), np.int64))


def test_stochastic_depth_drops_whole_examples() -> None:
    used = Used(layer("stochastic_depth", 0.25), X)
    factor = used.y / X
    np.testing.assert_allclose(factor, np.broadcast_to(factor[:, :1], X.shape), rtol=1e-12)
    assert {round(f, 9) for f in factor[:, 0]} == {0, round(4 / 3, 9)}
    assert (factor[:, 0] == 0).mean() == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / len(X)))
    np.testing.assert_array_equal(Used(layer("stochastic_depth", 0.25), X, training=False).y, X)


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    x = np.random.default_rng(2).normal(size=(400, 500))
    y = Used(layer("alpha_dropout", 0.2), x).y
    assert y.mean() == pytest.approx(0, abs=0.02)
    assert y.var() == pytest.approx(1, abs=0.02)
    a = ((1 - 0.2) * (1 + 0.2 * 1.7580993408473766**2)) ** -0.5
    ends = np.isclose(y, -1.7580993408473766 * a + a * 1.7580993408473766 * 0.2, rtol=1e-4)
    assert ends.mean() == pytest.approx(0.2, abs=0.005)
    np.testing.assert_allclose(y[~ends], a * x[~ends] + 0.2 * 1.7580993408473766 * a, atol=1e-4)
    np.testing.assert_array_equal(Used(layer("alpha_dropout", 0.2), x, training=False).y, x)
    np.testing.assert_array_equal(Used(layer("alpha_dropout", 0.0), x).y, x)
