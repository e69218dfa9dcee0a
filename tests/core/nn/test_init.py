"""Initial numbers: their moments and ranges, their order, where they come from."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cortex_core import nn
from cortex_core.generator import manual_seed
from cortex_core.nn import init
from cortex_core.tensor import Tensor

SHAPE = (50, 8, 5, 5)
FAN_IN, FAN_OUT = 8 * 25, 50 * 25


@pytest.fixture(autouse=True)
def seed() -> None:
    manual_seed(17)


def drawn(f: Any, *args: Any, **keywords: Any) -> np.ndarray:
    x = Tensor(np.zeros(SHAPE, np.float32), requires_grad=True)
    assert f(x, *args, **keywords) is x
    assert x.is_leaf
    return x.numpy().astype(np.float64)


@pytest.mark.parametrize(("f", "keywords", "std"), [
    (init.uniform_, {"a": -3.0, "b": 3.0}, math.sqrt(3)),
    (init.normal_, {"std": 0.2}, 0.2),
    (init.xavier_uniform_, {"gain": 2.0}, 2 * math.sqrt(2 / (FAN_IN + FAN_OUT))),
    (init.xavier_normal_, {}, math.sqrt(2 / (FAN_IN + FAN_OUT))),
    (init.kaiming_uniform_, {"a": math.sqrt(5)}, math.sqrt(2 / 6 / FAN_IN)),
    (init.kaiming_normal_, {"mode": "fan_out", "nonlinearity": "relu"}, math.sqrt(2 / FAN_OUT)),
    (init.trunc_normal_, {}, 0.8796256610342398),  # of a standard normal cut off at two
])  # fmt: skip
def test_moments(f: Any, keywords: Any, std: float) -> None:
    """Of 10,000 numbers: mean and standard deviation within five of their own standard deviations."""
    x = drawn(f, **keywords)
    assert abs(x.mean()) < 5 * std / math.sqrt(x.size)
    assert abs(x.std() - std) < 5 * std / math.sqrt(2 * x.size)
    if "uniform" in f.__name__:
        assert np.abs(x).max() <= math.sqrt(3) * std * (1 + 1e-6)


def test_constants() -> None:
    assert (drawn(init.constant_, 2.5) == 2.5).all()
    assert (drawn(init.ones_) == 1).all()
    assert not drawn(init.zeros_).any()
    assert init.eye_(Tensor(np.zeros((2, 3)))).tolist() == [[1, 0, 0], [0, 1, 0]]


def test_truncation() -> None:
    x = drawn(init.trunc_normal_, 1.0, 2.0, 0.5, 1.5)
    assert 0.5 <= x.min() < 0.51
    assert 1.49 < x.max() <= 1.5


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (4, 2, 2, 3)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    x = Tensor(np.zeros(shape))
    init.orthogonal_(x, gain=3.0)
    w = x.numpy().reshape(shape[0], -1)
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(product, 9 * np.eye(min(w.shape)), atol=1e-12)


def test_the_seed_decides() -> None:
    a = nn.Linear(3, 4)
    b = nn.Linear(3, 4)
    manual_seed(17)
    c = nn.Linear(3, 4)
    assert (a.weight.numpy() != b.weight.numpy()).all()
    np.testing.assert_array_equal(a.weight.numpy(), c.weight.numpy())
    np.testing.assert_array_equal(a.bias.numpy(), c.bias.numpy())


def test_layers_begin_as_pytorchs() -> None:
    """Uniform within 1 / sqrt(fan_in); tables normal; norms 1 and 0."""
    for layer, fan in (
        (nn.Linear(400, 50), 400),
        (nn.Conv2d(16, 50, 5), 400),
        (nn.Bilinear(400, 2, 20), 400),
    ):
        for x in layer.parameters():
            assert 0.9 / math.sqrt(fan) < np.abs(x.numpy()).max() <= 1 / math.sqrt(fan)
    transposed = nn.ConvTranspose2d(50, 16, 5)  # PyTorch takes the second axis of any weight for the inputs
    assert 0.9 / 20 < np.abs(transposed.weight.numpy()).max() <= 1 / 20
    assert abs(nn.Embedding(100, 100).weight.numpy().std() - 1) < 0.05
    for norm in (nn.BatchNorm2d(3), nn.LayerNorm(3), nn.GroupNorm(1, 3)):
        assert norm.weight.tolist() == [1, 1, 1]
        assert norm.bias.tolist() == [0, 0, 0]


@pytest.mark.peers
def test_gains_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for name in init.GAINS:
        assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name), rel=1e-15)
    for slope in (None, 0.3, math.sqrt(5)):
        expected = torch.nn.init.calculate_gain("leaky_relu", slope)
        assert init.calculate_gain("leaky_relu", slope) == pytest.approx(expected, rel=1e-15)
