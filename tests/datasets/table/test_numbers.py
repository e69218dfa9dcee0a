"""Numbers: filled and scaled as scikit-learn does it, or in bins as published."""

from __future__ import annotations

import numpy as np
import pytest

from cortex_compute.errors import DataError, SpecError
from cortex_datasets.table import column
from cortex_datasets.table.numbers import Number
from tests.datasets.table.tables import Array, every, features, given, streams

VALUES = np.array([3.0, np.nan, -1, 8, 8, np.nan, 2.5, 1e4])
NUMBER = {"x": "number"}


@pytest.mark.parametrize(("rule", "strategy"), [("median", "median"), ("mean", "mean"), ("zero", "constant")])
def test_filling_and_scaling_are_those_of_scikit_learn(rule: str, strategy: str) -> None:
    impute = pytest.importorskip("sklearn.impute")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    filled = impute.SimpleImputer(strategy=strategy, fill_value=0).fit_transform(VALUES[:, None])
    # The scale comes from the cells that are there, the fill is scaled with them.
    scaled = preprocessing.StandardScaler().fit(VALUES[~np.isnan(VALUES)][:, None]).transform(filled)
    made = features({"x": VALUES}, columns={"x": {"number": {"missing": rule}}})
    np.testing.assert_allclose(made[:, :1], scaled, rtol=1e-6)
    np.testing.assert_array_equal(made[:, 1], np.isnan(VALUES))


def test_minmax_and_none() -> None:
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    values = VALUES[~np.isnan(VALUES)]
    made = features({"x": values}, columns={"x": {"number": "minmax"}})
    np.testing.assert_allclose(made, preprocessing.MinMaxScaler().fit_transform(values[:, None]), rtol=1e-6)
    np.testing.assert_array_equal(features({"x": values}, columns={"x": {"number": "none"}})[:, 0], values)


def piecewise(values: Array, edges: Array) -> Array:
    """Equation 1 of Gorishniy et al. 2022, as it stands there."""
    bins = len(edges) - 1
    made = np.empty((len(values), bins))
    for row, x in enumerate(values):
        for t in range(1, bins + 1):
            low, high = edges[t - 1], edges[t]
            if x < low and t > 1:
                made[row, t - 1] = 0
            elif x >= high and t < bins:
                made[row, t - 1] = 1
            else:
                made[row, t - 1] = (x - low) / (high - low)
    return made


def test_bins_are_those_of_the_paper_also_outside_of_what_was_seen() -> None:
    values = np.array([0.0] * 50 + [1, 2, 3, 5, 8, 13, 21, 34.5])
    examples = given({"x": values}, scale="piecewise", bins=4)
    encoding = examples.learn(every(examples), ["features"], [])
    edges = np.quantile(np.unique(values), [0, 0.25, 0.5, 0.75, 1])
    wanted = np.array([-7, 0, 0.5, 2, 4, 5, 21, 30, 34.5, 100])
    made = streams(encoding, given({"x": wanted}), "features")["features"]
    np.testing.assert_allclose(made, piecewise(wanted, edges), rtol=1e-6)


def test_bins_are_no_more_than_the_numbers_tell_apart() -> None:
    assert features({"x": [0.5, 2, 2, 4]}, scale="piecewise").shape == (4, 2)
    np.testing.assert_array_equal(features({"x": [2.5, 2.5]}, scale="piecewise"), [[0], [0]])


def test_the_scale_of_the_table_holds_unless_a_column_says_otherwise() -> None:
    data = {"x": np.arange(40) + 0.5, "y": np.arange(40) + 0.5}
    made = given(data, scale="piecewise", bins=5, columns={"y": {"number": {"scale": "standard"}}})
    encoding = made.learn(every(made), ["features"], [])
    assert [name for name, _ in encoding.parts] == ["x"] * 5 + ["y"]


def test_a_column_alone_is_standardised_and_gives_its_unit_back() -> None:
    examples = given({"x": VALUES[~np.isnan(VALUES)]}, scale="piecewise", columns=NUMBER)
    encoding = examples.learn(every(examples), ["x"], [])
    assert (encoding.streams["x"].shape, encoding.streams["x"].dtype) == ((1,), "float32")
    made = streams(encoding, examples, "x")["x"]
    assert abs(made.mean()) < 1e-6
    np.testing.assert_allclose(
        encoding.decode("x", made)[:, 0], VALUES[~np.isnan(VALUES)], rtol=1e-6, atol=1e-3
    )


def test_a_column_of_one_number_becomes_zero() -> None:
    np.testing.assert_array_equal(features({"x": [7, 7, 7.0]}, columns=NUMBER), np.zeros((3, 1)))


@pytest.mark.parametrize("value", [0.1, 0.7, 3.3, -9.9e20])
@pytest.mark.parametrize("rows", [3, 7, 333])
@pytest.mark.parametrize("scale", ["standard", "minmax"])
def test_one_number_many_times_is_no_noise(value: float, rows: int, scale: str) -> None:
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    scaler = preprocessing.StandardScaler if scale == "standard" else preprocessing.MinMaxScaler
    train, near = [[value]] * rows, [[value], [value * 1.001]]
    examples = given({"x": [row[0] for row in train]}, columns={"x": {"number": scale}})
    encoding = examples.learn(every(examples), ["features"], [])
    made = streams(encoding, given({"x": [row[0] for row in near]}), "features")["features"]
    expected = scaler().fit(train).transform(near)
    np.testing.assert_allclose(made, np.clip(expected, -1e6, 1e6), rtol=1e-5, atol=1e-7 * abs(expected[1, 0]))
    assert made[0, 0] == 0


@pytest.mark.parametrize("values", [[1e38, -1e38, 3e38], [1e-300, 2e-300, 5e-300], [1e30, 1e-30, 0]])
def test_numbers_of_any_size_have_a_mean_of_zero_and_a_deviation_of_one(values: list[float]) -> None:
    made = features({"x": np.array(values)}, columns=NUMBER)
    np.testing.assert_allclose([made.mean(), made.std()], [0, 1], atol=1e-6)


class TestRules:
    def test_missing_cells_where_training_had_none_are_filled_and_said(self) -> None:
        train = given({"x": [1.0, 2, 6]}, columns=NUMBER)
        encoding = train.learn(every(train), ["features"], [])
        source = encoding.encode(given({"x": [None, 3.0]}), np.arange(2), ["features"])
        assert source.notes == ("x: 1 missing cell filled with 2, though training had none",)
        np.testing.assert_allclose(
            streams(encoding, given({"x": [None, 2.0]}), "features")["features"], [[-1 / np.sqrt(14 / 3)]] * 2
        )

    def test_a_column_without_numbers(self) -> None:
        with pytest.raises(DataError, match=r"'x': every cell of the 2 training rows is missing.*x: skip"):
            features({"x": [None, "NA"], "y": [1, 2]}, columns=NUMBER)

    def test_a_cell_that_is_no_number_where_numbers_are_declared(self) -> None:
        with pytest.raises(DataError, match=r"'x': 2 cells of 4 no number .*'abc' in the data given, row 1"):
            features({"x": ["12", "abc", "3.5", "def"]}, columns=NUMBER)

    @pytest.mark.parametrize("cell", [np.inf, -np.inf, 1e39, "inf", "1e400", "0x10", "1_000", "1,5", ""])
    def test_what_no_float32_holds_is_no_number(self, cell: object) -> None:
        rule = {"x": {"number": {"missing": "error"}}}
        with pytest.raises(DataError, match=r"no number of float32|1 cell missing, first in"):
            features({"x": [1.0, 2.0, cell]}, columns=rule)

    def test_unreadable_cells_may_count_as_missing(self) -> None:
        rule = {"x": {"number": {"unreadable": "missing"}}}
        examples = given({"x": ["12", "abc", "4"]}, columns=rule)
        encoding = examples.learn(every(examples), ["features"], [])
        assert encoding.notes == ()  # said once, with the rows that are encoded
        assert encoding.encode(examples, every(examples), ["features"]).notes[:1] == (
            "x: 1 cell of 3 no number of float32: 'abc' in the data given, row 1, taken as missing",
        )
        made = streams(encoding, examples, "features")["features"]
        np.testing.assert_allclose(made, [[1, 0], [0, 1], [-1, 0]])

    def test_a_guessed_column_says_what_it_could_not_read(self) -> None:
        examples = given({"x": [n / 7 for n in range(95)] + ["oops"]})
        encoding = examples.learn(every(examples), ["features"], [])
        assert "taken for number: 'x'" in encoding.notes
        notes = encoding.encode(examples, every(examples), ["features"]).notes
        assert sum("'oops' in the data given, row 95" in note for note in [*encoding.notes, *notes]) == 1

    def test_far_outliers_are_cut_off_and_said(self) -> None:
        train = given({"x": [1.0, 2, 3]}, columns=NUMBER)
        encoding = train.learn(every(train), ["features"], [])
        source = encoding.encode(given({"x": [1e38]}), np.arange(1), ["features"])
        assert "a million times as far out" in source.notes[0]
        assert streams(encoding, given({"x": [1e38]}), "features")["features"] == [[1e6]]

    def test_cells_of_other_rows_are_not_counted(self) -> None:
        examples = given({"x": [1.0, 2, 3, 1e12, 1e13]}, columns=NUMBER)
        encoding = examples.learn(np.arange(3), ["features"], [])
        assert encoding.encode(examples, np.arange(3), ["features"]).notes == ()
        assert encoding.encode(examples, every(examples), ["features"]).notes == (
            "x: 2 cells a million times as far out as training's, cut off there",
        )

    def test_cells_are_parsed_once_for_all_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        parsed = []
        monkeypatch.setattr(column, "_number", lambda cell: parsed.append(cell) or float(cell))
        examples = given({"x": [str(n / 7) for n in range(50)]}, columns=NUMBER)
        encoding = examples.learn(np.arange(40), ["features"], [])
        for rows in (np.arange(40), np.arange(40, 50), np.arange(3)):
            encoding.encode(examples, rows, ["features"])
        assert len(parsed) == 50

    def test_a_target_is_never_filled(self) -> None:
        examples = given({"x": [1.5, None, 3.5], "y": [1, 2, 3]}, columns={"x": "number", "y": "number"})
        encoding = examples.learn(every(examples), ["features"], ["x"])
        with pytest.raises(DataError, match=r"'x': 1 cell missing, first in the data given, row 1.*drop"):
            encoding.encode(examples, every(examples), ["x"])

    def test_fields_are_checked(self) -> None:
        with pytest.raises(SpecError, match="scale"):
            Number(scale="stndard")
