"""The cases of hard gates lie where a difference has a meaning, and on each side of every corner."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import cortex_core.verify.recurrent_cases  # noqa: F401  registers the cases
from cortex_core.tensor import Tensor
from cortex_core.verify.case import GAP, Case, cases_of

Array = np.ndarray
HARD = [("lstm", "hard"), ("lstm", "hard_relu"), ("gru", "hard"), ("gru", "hard_relu_before")]
CORNER = 2.5  # where 0.2 a + 1/2 is 1, and with the other sign 0
FRESH = {
    "hard": np.tanh,
    "hard_relu": lambda a: np.maximum(a, 0),
    "hard_relu_before": lambda a: np.maximum(a, 0),
}


def hard(a: Array) -> Array:
    return np.clip(0.2 * a + 0.5, 0, 1)


def lstm_steps(case: Case) -> Iterator[tuple[Array, Array, Array]]:
    """The sums of the gates and those that relu sees, and the state, step by step."""
    x, _, w, u, b, _ = case.arrays
    h = c = np.zeros((len(x), 2))
    for t in range(x.shape[1]):
        a = x[:, t] @ w + h @ u + b
        i, f, g, o = np.split(a, 4, 1)
        c = hard(f) * c + hard(i) * FRESH[case.name](g)
        h = hard(o) * FRESH[case.name](c)
        yield np.hstack([i, f, o]), np.hstack([g, c]), h


def gru_steps(case: Case) -> Iterator[tuple[Array, Array, Array]]:
    x, _, w, u, b, *n = case.arrays[:-1]
    h = np.zeros((len(x), 2))
    for t in range(x.shape[1]):
        r, z, m = np.split(x[:, t] @ w + b, 3, 1)
        of_r, of_z, of_m = np.split(h @ u, 3, 1)
        r, z = r + of_r, z + of_z
        m = m + (hard(r) * (of_m + n[0]) if n else (hard(r) * h) @ u[:, 4:])
        h = (1 - hard(z)) * FRESH[case.name](m) + hard(z) * h
        yield np.hstack([r, z]), m, h


@pytest.mark.parametrize(("kind", "name"), HARD)
def test_no_sum_lies_at_a_corner(kind: str, name: str) -> None:
    (case,) = (c for c in cases_of("layer", kind) if c.name == name)
    mask = case.arrays[1]
    steps = [*(lstm_steps if kind == "lstm" else gru_steps)(case)]
    seen = [mask[:, t] for t in range(mask.shape[1])]
    sums, fresh, y = (
        np.stack([part * m[:, None] for part, m in zip(parts, seen)], 1) for parts in zip(*steps)
    )
    found = case.function(*map(Tensor, case.arrays)).numpy()
    np.testing.assert_allclose(found[: y.size], y.ravel(), rtol=1e-12, atol=1e-15)
    counted = sums[mask]
    assert np.abs(np.abs(counted) - CORNER).min() >= GAP
    assert name == "hard" or np.abs(fresh[mask]).min() >= GAP
    assert (counted > CORNER).any()
    assert (counted < -CORNER).any()
    assert (np.abs(counted) < CORNER).any()
