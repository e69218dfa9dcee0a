"""erf against the C library's, over a dense grid."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cortex_compute.numpy_backend.erf import SPLIT, erf_steps


def erf(x: np.ndarray) -> np.ndarray:
    """The calls, run over ``x`` as one block."""
    out = np.full_like(x, 9)
    wide = np.float32 if x.dtype == np.float16 else x.dtype
    with np.errstate(all="ignore"):
        for call in erf_steps(x, out, [np.full(x.shape, 9, wide) for _ in range(4)]):
            call()
    return out


@pytest.mark.parametrize(("dtype", "bound"), [(np.float16, 1), (np.float32, 4), (np.float64, 4)])
def test_within_a_few_eps_everywhere(dtype: type, bound: float) -> None:
    grid = [np.linspace(-7, 7, 40001), np.geomspace(1e-30, 1, 4001), -np.geomspace(1e-30, 1, 4001)]
    edges = [SPLIT, np.nextafter(SPLIT, 1), 4, 6, np.nextafter(6, 7), 27, 1e300]
    with np.errstate(over="ignore"):
        x = np.concatenate([*grid, edges]).astype(dtype)
    wanted = np.array([math.erf(v) for v in x.tolist()])
    info = np.finfo(dtype)
    assert (abs(erf(x) - wanted) / (info.eps * abs(wanted) + info.tiny)).max() < bound


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_special_values(dtype: type) -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan], dtype)
    y = erf(x)
    np.testing.assert_array_equal(y, np.array([0, 0, 1, -1, np.nan, np.nan], dtype))
    np.testing.assert_array_equal(np.signbit(y[:4]), [False, True, False, True])


def test_odd_over_any_strides() -> None:
    x = np.random.default_rng(0).standard_normal((6, 10)).astype(np.float32)
    for view in (x.T, x[::2, ::-3], x[:0]):
        np.testing.assert_array_equal(erf(view), -erf(-view))
