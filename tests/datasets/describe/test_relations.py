"""Pearson's r, Cramér's V and the correlation ratio, beside SciPy, pandas and their definitions."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from cortex_datasets.describe.relations import correlations

Array = np.ndarray


def value(a: str, b: str, numbers: dict[str, Array], categories: dict[str, Array]) -> float | None:
    pairs = correlations(numbers, categories).correlations["pairs"]
    return next((p["value"] for p in pairs if (p["a"], p["b"]) == (a, b)), None)


def test_numbers_are_compared_where_both_have_a_value() -> None:
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.normal(size=(400, 4)) @ rng.normal(size=(4, 4)), columns=list("abcd"))
    table = table.mask(rng.random(table.shape) < 0.2)
    table["d"] = table["d"] * 1e150 + 1e150
    found = correlations({name: table[name].to_numpy() for name in table}, {}).correlations
    expected = table.assign(d=table["d"] / 1e150).corr()
    assert len(found["pairs"]) == 6
    for pair in found["pairs"]:
        assert pair["measure"] == "pearson"
        assert pair["value"] == pytest.approx(expected.loc[pair["a"], pair["b"]], abs=1e-12)
        assert pair["rows"] == table[[pair["a"], pair["b"]]].dropna().shape[0]
    strengths = [abs(pair["value"]) for pair in found["pairs"]]
    assert strengths == sorted(strengths, reverse=True)


def test_categories() -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(0, 4, 500)
    y = np.where(rng.random(500) < 0.5, x, rng.integers(0, 4, 500)) % 3
    hidden = rng.random(500) < 0.1
    expected = scipy.stats.contingency.association(
        scipy.stats.contingency.crosstab(x[~hidden], y[~hidden]).count, method="cramer"
    )
    assert value("x", "y", {}, {"x": np.where(hidden, -1, x), "y": y}) == pytest.approx(expected, abs=1e-12)
    assert value("x", "y", {}, {"x": x, "y": (x + 1) % 4}) == 1


def test_a_number_and_a_category() -> None:
    rng = np.random.default_rng(3)
    groups = rng.integers(0, 3, 300) * 2  # codes 1 and 3 do not occur
    numbers = groups + rng.normal(size=300) + 1e6
    parts = [numbers[groups == g] for g in (0, 2, 4)]
    f = scipy.stats.f_oneway(*parts).statistic  # = (eta^2 / (k - 1)) / ((1 - eta^2) / (n - k))
    squared = f * 2 / (f * 2 + 297)
    assert value("n", "c", {"n": numbers}, {"c": groups}) == pytest.approx(squared**0.5, abs=1e-9)
    assert value("n", "c", {"n": groups * 1.0}, {"c": groups}) == pytest.approx(1)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e300])
def test_what_does_not_vary_goes_with_nothing(constant: float) -> None:
    numbers = {"same": np.full(20, constant), "x": np.arange(20.0), "never": np.full(20, np.nan)}
    categories = {"one": np.zeros(20, int), "two": np.arange(20) % 2, "none": np.full(20, -1)}
    pairs = correlations(numbers, categories).correlations["pairs"]
    assert [(p["a"], p["b"]) for p in pairs] == [("x", "two")]


def test_two_points_are_no_relation() -> None:
    assert value("a", "b", {"a": np.array([1.0, 2, np.nan]), "b": np.array([1.0, 2, 3])}, {}) is None


def test_rules_are_said() -> None:
    many = {"id": np.arange(60_000), "coin": np.arange(60_000) % 2}
    found = correlations({f"x{i}": np.random.default_rng(i).normal(size=60_000) for i in range(3)}, many)
    assert [note.partition(" ")[0] for note in found.notes] == ["correlations", "no"]
    assert "50,000 rows" in found.notes[0]
    assert "'id'" in found.notes[1]
    assert {p["rows"] for p in found.correlations["pairs"]} == {50_000}
    wide = correlations({f"x{i}": np.arange(3.0) for i in range(101)}, {})
    assert len(wide.correlations["columns"]) == 100
    assert "100 columns" in wide.notes[0]


def test_nothing_to_compare() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert correlations({}, {}).correlations == {"columns": [], "pairs": []}
        assert correlations({"x": np.array([])}, {"c": np.array([], int)}).correlations["pairs"] == []
