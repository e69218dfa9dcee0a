"""Statistics of numbers, beside NumPy's and pandas'."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cortex_datasets.describe.numbers import statistics


def test_as_pandas_has_them() -> None:
    values = np.random.default_rng(0).lognormal(3, 1, 1000)
    found = statistics(values)
    expected = pd.Series(values).describe()
    assert found["min"] == expected["min"]
    assert found["max"] == expected["max"]
    assert found["mean"] == pytest.approx(expected["mean"], rel=1e-12)
    assert found["std"] == pytest.approx(expected["std"], rel=1e-12)
    assert found["quartiles"] == pytest.approx([expected["25%"], expected["50%"], expected["75%"]], rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_bins_by_the_rule_of_freedman_and_diaconis(seed: int) -> None:
    values = np.random.default_rng(seed).uniform(size=2000)
    counts, edges = np.histogram(values, bins="fd")
    assert len(counts) <= 30
    histogram = statistics(values)["histogram"]
    assert histogram is not None
    assert histogram["counts"] == counts.tolist()
    np.testing.assert_allclose(histogram["edges"], edges)


def test_never_more_than_thirty_bins() -> None:
    values = np.append(np.random.default_rng(0).normal(size=1000), 1e9)
    histogram = statistics(values)["histogram"]
    assert histogram is not None
    assert len(histogram["counts"]) == 30
    assert sum(histogram["counts"]) == 1001


def test_twenty_bins_where_the_quartiles_are_equal() -> None:
    histogram = statistics(np.array([0.0] * 90 + [0.5] * 5 + [1000.0] * 5))["histogram"]
    assert histogram is not None
    assert len(histogram["counts"]) == 20
    assert histogram["counts"][0] == 95
    assert histogram["counts"][-1] == 5


def test_whole_numbers_have_a_bin_each() -> None:
    histogram = statistics(np.array([3.0, 1, 1, 5, 3, 1]))["histogram"]
    assert histogram == {"edges": [0.5, 1.5, 2.5, 3.5, 4.5, 5.5], "counts": [3, 0, 2, 0, 1]}


def test_infinite_numbers_are_counted_and_left_out() -> None:
    found = statistics(np.array([np.inf, 1, 2, -np.inf, 3]))
    assert found["infinite"] == 2
    assert (found["min"], found["max"], found["mean"], found["std"]) == (1, 3, 2, 1)


def test_nothing_but_infinity() -> None:
    found = statistics(np.array([np.inf]))
    assert (found["infinite"], found["mean"], found["histogram"]) == (1, None, None)


@pytest.mark.parametrize("values", [[-1.7e308, 1.7e308, 0], [5e-324, 0], [1e308] * 5, [0.1], [1, 1 + 2**-52]])
def test_the_ends_of_the_doubles(values: list[float]) -> None:
    found = statistics(np.array(values, float))
    assert found["mean"] == pytest.approx(float(np.mean([v / 4 for v in values])) * 4)
    assert found["histogram"] is not None
    assert sum(found["histogram"]["counts"]) == len(values)
    assert np.isfinite(found["histogram"]["edges"]).all()
    assert (found["std"] is None) == (len(values) == 1)


def test_bins_of_whole_numbers_have_a_whole_width() -> None:
    values = np.random.default_rng(0).integers(0, 1000, 5000).astype(float)
    histogram = statistics(values)["histogram"]
    assert histogram is not None
    edges = np.array(histogram["edges"])
    assert edges[0] == values.min() - 0.5
    assert edges[-1] > values.max()
    assert len(edges) <= 31
    widths = np.diff(edges)
    assert widths[0] == round(widths[0]) > 1
    assert (widths == widths[0]).all()
    assert histogram["counts"] == np.histogram(values, edges)[0].tolist()
    assert sum(histogram["counts"]) == 5000


def test_a_spread_that_no_double_holds_is_null() -> None:
    found = statistics(np.array([-1.7e308, 1.7e308]))
    assert (found["mean"], found["std"]) == (0, None)
