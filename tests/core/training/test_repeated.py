"""Examples in two parts are counted: as sets of rows would, and no others."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cortex_core.training.repeated import repeated
from cortex_core.training.source import Arrays
from tests.core.training.test_lengths import Ragged

rows = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.0, 0.5, -1.0])), min_size=1, max_size=30)


def source(of: list[tuple[int, float]]) -> Arrays:
    return Arrays({"i": np.array([i for i, _ in of]), "x": np.array([[x, 1.0] for _, x in of])})


@given(rows, rows)
def test_rows_that_are_in_both(a: list[tuple[int, float]], b: list[tuple[int, float]]) -> None:
    assert repeated(source(a), source(b), ["i", "x"]) == sum(row in a for row in b)
    assert repeated(source(a), source(b), ["x"]) == sum(x in [y for _, y in a] for _, x in b)


def test_a_row_that_stands_twice_in_the_second_counts_twice() -> None:
    generator = np.random.default_rng(0)
    a = generator.standard_normal((1000, 7)).astype(np.float32)
    b = np.concatenate([generator.standard_normal((300, 7)).astype(np.float32), a[::20], a[:3]])
    assert repeated(Arrays({"x": a}), Arrays({"x": b}), ["x"]) == 53
    assert repeated(Arrays({"x": b}), Arrays({"x": a}), ["x"]) == 52  # rows 1 and 2 besides the 50


def test_a_difference_of_one_bit_is_one() -> None:
    a = np.zeros((1, 784), np.float32)
    b = np.zeros((784, 784), np.float32)
    b.view(np.uint32)[np.arange(784), np.arange(784)] = 1 << (np.arange(784) % 31)
    assert repeated(Arrays({"x": a}), Arrays({"x": b}), ["x"]) == 0


def test_examples_of_several_lengths() -> None:
    data = Ragged(60)
    assert repeated(data.select(np.arange(40)), data.select(np.arange(30, 60)), ["x", "t"]) == 10
