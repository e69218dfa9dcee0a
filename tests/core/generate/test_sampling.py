"""Temperature, top-k and top-p, against numbers worked out by hand and against frequencies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex_compute.errors import NotFiniteError, SpecError
from cortex_core.generate.sampling import Sampler, distribution, log_softmax

# Probabilities 1/10, 4/10, 2/10, 3/10.
LOGITS = np.log(np.array([1.0, 4.0, 2.0, 3.0])) + 7.0


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p", "expected"),
    [
        (1.0, None, None, [0.1, 0.4, 0.2, 0.3]),
        (1.0, 0, 1.0, [0.1, 0.4, 0.2, 0.3]),
        (0.5, None, None, [1 / 30, 16 / 30, 4 / 30, 9 / 30]),  # p squared
        (0.0, None, None, [0, 1, 0, 0]),
        (0.0, 3, 0.9, [0, 1, 0, 0]),
        (1e-320, None, None, [0, 1, 0, 0]),
        (1.0, 1, None, [0, 1, 0, 0]),
        (1.0, 2, None, [0, 4 / 7, 0, 3 / 7]),
        (1.0, 9, None, [0.1, 0.4, 0.2, 0.3]),
        (1.0, None, 0.39, [0, 1, 0, 0]),
        (1.0, None, 0.41, [0, 4 / 7, 0, 3 / 7]),
        (1.0, None, 0.69, [0, 4 / 7, 0, 3 / 7]),
        (1.0, None, 0.71, [0, 4 / 9, 2 / 9, 3 / 9]),
        (1.0, None, 1e-9, [0, 1, 0, 0]),
        (1.0, 3, 0.75, [0, 4 / 7, 0, 3 / 7]),  # of 4/9, 3/9, 2/9 the first two hold 7/9
        (1.0, 3, 0.78, [0, 4 / 9, 2 / 9, 3 / 9]),
        (0.5, 2, 0.6, [0, 1, 0, 0]),  # of 16/25 and 9/25
    ],
)
def test_distributions(
    temperature: float, top_k: int | None, top_p: float | None, expected: list[float]
) -> None:
    found = distribution(LOGITS, temperature, top_k, top_p)
    np.testing.assert_allclose(found, expected, atol=1e-15)
    assert found.dtype == np.float64


def test_of_equals_the_first_counts() -> None:
    equal = np.zeros(4, np.float32)
    assert distribution(equal, 0.0, None, None).tolist() == [1, 0, 0, 0]
    assert distribution(equal, 1.0, 2, None).tolist() == [0.5, 0.5, 0, 0]
    assert distribution(equal, 1.0, None, 0.5).tolist() == [0.5, 0.5, 0, 0]


def test_scores_of_any_size() -> None:
    assert distribution(np.array([-1e30, 0, 1e30]), 1.0, None, None).tolist() == [0, 0, 1]
    assert distribution(np.array([-np.inf, 3.0]), 1.0, None, None).tolist() == [0, 1]
    np.testing.assert_allclose(log_softmax(np.array([1e4, 1e4])), [math.log(0.5)] * 2)
    np.testing.assert_allclose(np.exp(log_softmax(LOGITS)), [0.1, 0.4, 0.2, 0.3])


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=20), st.floats(0.01, 1.0), st.integers(0, 25))
def test_the_nucleus_is_the_least_that_holds_so_much(scores: list[float], top_p: float, top_k: int) -> None:
    logits = np.array(scores)
    whole = distribution(logits, 1.0, top_k, None)
    found = distribution(logits, 1.0, top_k, top_p)
    inside = found > 0
    assert whole[inside].sum() >= top_p - 1e-12
    assert whole[inside].sum() - whole[inside].min() <= top_p + 1e-12
    assert whole[inside].min() >= whole[~inside].max(initial=0)
    assert inside.sum() <= (top_k or len(logits))
    assert found.sum() == pytest.approx(1)


def test_frequencies() -> None:
    sampler = Sampler(seed=5)
    counts = np.bincount([sampler.draw(LOGITS) for _ in range(10_000)], minlength=4)
    # Each count is binomial: five standard deviations.
    p = np.array([0.1, 0.4, 0.2, 0.3])
    assert (abs(counts - 10_000 * p) < 5 * np.sqrt(10_000 * p * (1 - p))).all()


def test_a_seed_gives_the_same_everywhere() -> None:
    """The numbers of Philox4x64-10, key (7, BLAKE2b of "generate#0"), do not depend on the machine."""
    draws = [Sampler(seed=7).draw(LOGITS) for _ in range(2)]
    assert draws[0] == draws[1]
    sampler = Sampler(seed=7)
    drawn = [sampler.draw(np.zeros(1000)) for _ in range(5)]
    generator = np.random.Generator(np.random.Philox(key=[7, stream()]))
    assert drawn == [int(generator.random() * 1000) for _ in range(5)]
    other = Sampler(seed=8)
    assert drawn != [other.draw(np.zeros(1000)) for _ in range(5)]


def stream() -> int:
    from hashlib import blake2b

    return int.from_bytes(blake2b(b"generate#0", digest_size=8).digest(), "little")


def test_greedy_ignores_the_seed() -> None:
    assert {Sampler(temperature=0, seed=seed).draw(LOGITS) for seed in range(20)} == {1}


@pytest.mark.parametrize("last", [1.0, np.nextafter(1.0, 0.0)])
def test_the_last_number_draws_the_last_token_that_has_a_probability(
    monkeypatch: pytest.MonkeyPatch, last: float
) -> None:
    sampler = Sampler(top_k=2)
    monkeypatch.setattr(sampler, "_generator", type("Last", (), {"random": lambda self: last})())
    assert sampler.draw(np.array([0.0, 5.0, 5.0, 0.0])) == 2


def test_a_network_that_diverged() -> None:
    for bad in (math.nan, math.inf):
        with pytest.raises(NotFiniteError, match="diverged"):
            Sampler().draw(np.array([0.0, bad, 1.0]))
    with pytest.raises(NotFiniteError):
        Sampler().draw(np.full(3, -np.inf))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -0.1}, "temperature is -0.1: expected a number, at least 0"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"temperature": math.inf}, "temperature is inf"),
        ({"temperature": "hot"}, "temperature is 'hot'"),
        ({"temperature": True}, "temperature is True"),
        ({"temperature": 10**400}, "temperature is 1000"),
        ({"top_k": -1}, "top_k is -1: expected a whole number, at least 0"),
        ({"top_k": 1.5}, "top_k is 1.5"),
        ({"top_p": 0}, "top_p is 0: expected a number above 0 and at most 1"),
        ({"top_p": 1.1}, "top_p is 1.1"),
        ({"top_p": math.nan}, "top_p is nan"),
        ({"seed": -1}, "seed is -1: expected a whole number from 0"),
        ({"seed": 2**64}, "seed is 18446744073709551616"),
        ({"seed": 0.5}, "seed is 0.5"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        Sampler(**options)
    assert message in str(error.value)


def test_numpy_numbers_are_numbers() -> None:
    sampler = Sampler(np.float32(0.5), np.int64(2), np.float64(0.9), np.uint64(3))  # type: ignore[arg-type]
    assert 0 <= sampler.draw(LOGITS) < 4
