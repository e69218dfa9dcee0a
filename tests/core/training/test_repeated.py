"""Examples in two parts are counted: as sets of rows would, and no others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex_core.training.repeated import leaks, repeated
from cortex_core.training.source import Arrays
from cortex_core.training.train import train
from tests.core.training.networks import blobs, description
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


def test_a_leak_is_said_once_and_what_is_too_large_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = Arrays({"x": np.arange(10.0)}), Arrays({"x": np.arange(8.0, 20)})
    parts = {"validation": b.select(np.arange(2, 12)), "test": b.select(np.arange(1, 12))}
    assert list(leaks(a, parts, ["x"])) == ["1 of 11 test examples is in the training part, too"]
    assert list(leaks(a, {"test": b}, ["x"])) == ["2 of 12 test examples are in the training part, too"]
    monkeypatch.setattr("cortex_core.training.repeated.LARGEST", 22 * (256 + 4) - 1)
    assert list(leaks(a, {"test": b}, ["x"])) == ["22 examples are too many to look for repeated ones"]
    assert list(leaks(a, {}, ["x"])) == []


def test_a_training_says_it(tmp_path: Path) -> None:
    data = blobs(40)
    data = {
        name: np.concatenate([x, x[:3]]) for name, x in data.items()
    }  # the last three are the first three
    run = train(description(epochs=1, validation=0.2), data, out=tmp_path, progress=False)
    assert "3 of 9 validation examples are in the training part, too" in run.summary["data"]["notes"]
