"""Random numbers by counter: Random123's known answers, statistics, and what they may depend on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cortex_datasets.augment.draw import NUMBERS, Draws, draw, key_of, philox

# kat_vectors of Random123 1.14, philox4x32 with 10 rounds: counter, key, result.
KNOWN = [
    ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_known_answers(counter: list[int], key: list[int], result: list[int]) -> None:
    words = philox(np.array(counter, np.uint64), np.array(key, np.uint64))
    assert words.tolist() == result


def test_known_answers_side_by_side() -> None:
    counters, keys, results = (np.array(part, np.uint64).T for part in zip(*KNOWN))
    np.testing.assert_array_equal(philox(counters, keys), results)


def one(seed: int = 0, count: int = 20_000, epoch: int = 0, position: int = 0, name: str = "flip") -> Draws:
    return draw([key_of(seed, position, name)], np.arange(count), epoch)[0]


def test_every_number_is_uniform() -> None:
    draws = one()
    for _ in range(NUMBERS):
        assert stats.kstest(draws.uniform(-2, 3), stats.uniform(-2, 5).cdf).pvalue > 1e-4


def test_numbers_of_one_sample_do_not_follow_from_each_other() -> None:
    draws = one()
    numbers = np.stack([draws.uniform() for _ in range(NUMBERS)])
    assert abs(np.corrcoef(numbers) - np.eye(NUMBERS)).max() < 0.03
    assert abs(np.corrcoef(numbers[0, 1:], numbers[0, :-1])[0, 1]) < 0.03


def test_integers_are_even_and_reach_both_ends() -> None:
    counts = np.bincount(one().below(7), minlength=7)
    assert len(counts) == 7
    assert stats.chisquare(counts).pvalue > 1e-4


def test_a_limit_for_each_sample() -> None:
    limits = np.arange(1, 20_001)
    drawn = one().below(limits)
    assert (drawn >= 0).all()
    assert (drawn < limits).all()


def test_happens_as_often_as_asked() -> None:
    draws = one()
    assert draws.happens(0.3).mean() == pytest.approx(0.3, abs=0.015)
    assert not draws.happens(0).any()
    assert draws.happens(1).all()


def test_normal_numbers() -> None:
    out = np.empty((2000, 5, 3), np.float32)
    one(count=2000).normal(out)
    assert stats.kstest(out.reshape(-1), stats.norm.cdf).pvalue > 1e-4
    assert abs(np.corrcoef(out[1:].reshape(-1), out[:-1].reshape(-1))[0, 1]) < 0.03


def test_normal_numbers_are_box_and_mullers_of_philox() -> None:
    """One sample by hand: 11 numbers need two blocks; the words of a stream stand behind the even numbers."""
    key, sample, epoch, stream = key_of(4, 2, "noise"), 2**40 + 3, 6, 1
    u, v = [], []
    for block in range(2):
        counter = [3, 2**8, epoch, (stream + 1) * 2**24 + block]
        words = philox(np.array(counter, np.uint64), key).tolist()
        u.append([(word // 65536 + 0.5) / 65536 for word in words])
        v.append([(word % 65536 + 0.5) / 65536 for word in words])
    radius, angle = np.sqrt(-2 * np.log(np.array(u).T)), 2 * np.pi * np.array(v).T  # the first words, ...
    expected = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)]).reshape(-1)[:11]
    out = np.empty((1, 11), np.float32)
    draw([key], np.array([sample]), epoch)[0].again(stream).normal(out)
    np.testing.assert_allclose(out[0], expected, rtol=1e-5, atol=1e-6)


def test_normal_numbers_of_one_sample_do_not_follow_from_each_other() -> None:
    out = np.empty((20_000, 16), np.float32)
    one().normal(out)
    assert abs(np.corrcoef(out.T) - np.eye(16)).max() < 0.03
    assert abs(np.corrcoef(out.T**2) - np.eye(16)).max() < 0.03


@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}, {"position": 1}, {"name": "crop"}])
def test_everything_that_should_changes_all_numbers(change: dict[str, int]) -> None:
    assert (one(count=500).uniform() != one(count=500, **change).uniform()).all()  # type: ignore[arg-type]
    a, b = np.empty((50, 4), np.float32), np.empty((50, 4), np.float32)
    one(count=50).normal(a)
    one(count=50, **change).normal(b)  # type: ignore[arg-type]
    assert (a != b).all()


def test_a_sample_draws_alone_what_it_draws_among_others() -> None:
    keys = [key_of(3, 0, "flip"), key_of(3, 1, "crop")]
    samples = np.array([7, 0, 2**33 + 7, 7])
    together = draw(keys, samples, 5)[1]
    alone = [draw(keys[1:], samples[i : i + 1], 5)[0] for i in range(4)]
    numbers = together.uniform()
    assert numbers.tolist() == [a.uniform()[0] for a in alone]
    assert numbers[0] == numbers[3] != numbers[2]  # all 64 bits of the sample count
    out = np.empty((4, 6), np.float32)
    together.normal(out)
    for row, a in zip(out, alone):
        single = np.empty((1, 6), np.float32)
        a.normal(single)
        np.testing.assert_array_equal(single[0], row)


def test_a_part_draws_the_same() -> None:
    whole = one(count=10)
    part = whole.part(slice(4, 7))
    first, second = whole.uniform(), whole.uniform()
    assert part.uniform().tolist() == first[4:7].tolist()
    assert part.uniform().tolist() == second[4:7].tolist()
    assert whole.again(1).uniform().tolist() == first.tolist()
