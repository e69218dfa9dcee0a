"""The random ops: what a key, a stream and a run decide, and that the draws have their distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cortex_compute.errors import DTypeError, ShapeError
from cortex_core.ops.random import bernoulli, random_normal, random_uniform, stream_of
from cortex_core.tensor import Tensor

KEY = Tensor(np.array([11, 0], np.uint64))
N = 100_000


def test_streams_and_runs_are_independent() -> None:
    stream = stream_of("encoder/dropout")
    draws = [
        random_uniform(Tensor(np.array([seed, run], np.uint64)), (1000,), s).data
        for seed, run, s in [(11, 0, stream), (11, 1, stream), (12, 0, stream), (11, 0, stream + 1)]
    ]
    assert abs(np.corrcoef(draws) - np.eye(4)).max() < 5 / math.sqrt(1000)
    np.testing.assert_array_equal(random_uniform(KEY, (1000,), stream).data, draws[0])


def test_a_shorter_draw_is_the_beginning_of_a_longer_one() -> None:
    for draw in (random_uniform, random_normal):
        np.testing.assert_array_equal(draw(KEY, (5,), 3).data, draw(KEY, (4, 9), 3).data.reshape(-1)[:5])


def test_stream_of_is_fixed_and_differs() -> None:
    # printf 'dropout1#0' | b2sum -l 64, read as little-endian: resuming a run with the same bits needs it
    assert stream_of("dropout1", 0).to_bytes(8, "little").hex() == "e88713f47fdf6ee8"
    names = [(f"layer{i}", k) for i in range(100) for k in range(10)]
    assert len({stream_of(*x) for x in names}) == 1000


def test_moments() -> None:
    """Within five standard errors of the distribution's own moments."""
    u = random_uniform(KEY, (N,), 1, "float64").data
    assert abs(u.mean() - 0.5) < 5 * math.sqrt(1 / 12 / N)
    assert abs(np.histogram(u, 16, (0, 1))[0] - N / 16).max() < 5 * math.sqrt(N / 16)
    z = random_normal(KEY, (N,), 2, "float64").data
    assert abs(z.mean()) < 5 / math.sqrt(N)
    assert abs((z**2).mean() - 1) < 5 * math.sqrt(2 / N)
    assert abs((z**4).mean() - 3) < 5 * math.sqrt(96 / N)
    assert abs((z[::2] * z[1::2]).mean()) < 5 / math.sqrt(N / 2)
    for p in (0.1, 0.5, 0.97):
        assert abs(bernoulli(KEY, p, (N,), 3).data.mean() - p) < 5 * math.sqrt(p * (1 - p) / N)


def test_normals_have_the_distribution() -> None:
    stats = pytest.importorskip("scipy.stats")
    assert stats.kstest(random_normal(KEY, (N,), 4).data, "norm").pvalue > 1e-3


def test_certain_and_impossible() -> None:
    assert bernoulli(KEY, 1.0, (5000,), 1).data.all()
    assert not bernoulli(KEY, 0.0, (5000,), 1).data.any()


def test_rejections() -> None:
    with pytest.raises(DTypeError, match="key is float64"):
        random_uniform(Tensor(np.zeros(2)), (3,), 1)
    with pytest.raises(ShapeError, match=r"key has shape \(3,\)"):
        random_uniform(Tensor(np.zeros(3, np.uint64)), (3,), 1)
    with pytest.raises(ShapeError, match=r"p is 1\.5"):
        bernoulli(KEY, 1.5, (3,), 1)
    with pytest.raises(DTypeError, match="normal gives float32 or float64, not int32"):
        random_normal(KEY, (3,), 1, "int32")
    with pytest.raises(ShapeError, match="stream is -1"):
        random_normal(KEY, (3,), -1)
