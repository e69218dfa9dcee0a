"""Data of the user's, and data by name."""

from __future__ import annotations

import numpy as np
import pytest

from cortex_compute.errors import DataError
from cortex_core.training.source import Arrays, as_source, find, known


def test_arrays_serve_float32_and_int64_rows_in_the_order_asked_for() -> None:
    source = Arrays({"x": np.arange(12.0).reshape(6, 2), "y": np.arange(6, dtype=np.uint8)})
    out = {"x": np.zeros((4, 2), np.float32), "y": np.zeros(4, np.int64)}
    source.gather(np.array([5, 0, 2]), out)
    np.testing.assert_array_equal(out["x"], [[10, 11], [0, 1], [4, 5], [0, 0]])
    np.testing.assert_array_equal(out["y"], [5, 0, 2, 0])
    assert (source.streams["x"].shape, source.streams["x"].dtype) == ((2,), "float32")
    assert (source.streams["y"].shape, source.streams["y"].dtype) == ((), "int64")


def test_a_selection_of_a_selection_is_one_of_the_whole() -> None:
    source = Arrays({"y": np.arange(10) * 10}).select(np.array([9, 8, 7, 6])).select(np.array([0, 3]))
    out = {"y": np.zeros(2, np.int64)}
    source.gather(np.array([1, 0]), out)
    assert len(source) == 2
    np.testing.assert_array_equal(out["y"], [60, 90])
    with pytest.raises(IndexError):
        source.gather(np.array([2]), out)


def test_arrays_that_fit_are_shared() -> None:
    x = np.zeros((3, 2), np.float32)
    assert Arrays({"x": x}).arrays["x"] is x


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, ["no arrays"]),
        ({"x": np.zeros(3), "y": np.zeros(4)}, ["'x' has 3", "'y' has 4"]),
        ({"x": np.array([[0.0], [np.nan]])}, ["'x'", "example 1", "nan"]),
        ({"x": np.array([[1.0, 2.0], [3.0, -np.inf]])}, ["'x'", "example 1", "-inf"]),
        ({"x": np.array([0.0, 1e300])}, ["example 1", "1e+300"]),
        ({"x": np.array(["a", "b"])}, ["'x'", "str", "numbers"]),
        ({"x": np.zeros(3, complex)}, ["complex128"]),
        ({"x": np.float32(1)}, ["shape ()"]),
        ({"x": [[1, 2], [3]]}, ["'x'"]),
    ],
)
def test_what_is_wrong_with_arrays_is_named(arrays: dict[str, object], words: list[str]) -> None:
    with pytest.raises(DataError) as error:
        Arrays(arrays)
    assert all(word in str(error.value) for word in words), error.value


def test_large_finite_numbers_whose_sum_overflows_pass() -> None:
    Arrays({"x": np.full((4, 3), 3e38, np.float32)})


def test_find_knows_the_installed_sets_and_names_the_nearest() -> None:
    assert "digits" in known()
    assert find("digits").lengths == {"train": 1438, "test": 359}
    with pytest.raises(DataError, match=r"unknown data set 'mnsit'.*Did you mean 'mnist'"):
        find("mnsit")


def test_data_of_another_kind_is_refused() -> None:
    with pytest.raises(DataError, match="list"):
        as_source([1, 2, 3])
