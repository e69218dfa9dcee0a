"""Categories and labels."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from cortex_compute.errors import DataError
from tests.datasets.table.tables import every, features, given, opened, streams, written

COLOURS = ["red", "blue", None, "red", "green", None, "blue"]
CATEGORY = {"c": "category"}


def test_one_column_for_each_name_and_one_for_missing_cells_as_pandas_has_it() -> None:
    pandas = pytest.importorskip("pandas")
    expected = pandas.get_dummies(pandas.Series(COLOURS), dummy_na=True)
    np.testing.assert_array_equal(features({"c": COLOURS}, columns=CATEGORY), expected.to_numpy(float))


def test_names_that_training_did_not_see_are_zero_as_in_scikit_learn_and_counted() -> None:
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    train, test = [["red"], ["blue"], ["red"]], [["green"], ["blue"], ["pink"]]
    encoder = preprocessing.OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(train)
    examples = given({"c": [row[0] for row in train]}, columns=CATEGORY)
    encoding = examples.learn(every(examples), ["features"], [])
    other = given({"c": [row[0] for row in test]})
    np.testing.assert_array_equal(streams(encoding, other, "features")["features"], encoder.transform(test))
    source = encoding.encode(other, every(other), ["features"])
    assert source.notes == ("c: 2 cells with names that training did not see, such as 'green'",)


def test_a_missing_cell_where_training_had_none_is_zero_and_counted() -> None:
    examples = given({"c": ["red", "blue"]}, columns=CATEGORY)
    encoding = examples.learn(every(examples), ["features"], [])
    other = given({"c": [None, "red"]})
    np.testing.assert_array_equal(streams(encoding, other, "features")["features"], [[0, 0], [0, 1]])
    assert encoding.encode(other, every(other), ["features"]).notes == (
        "c: 1 missing cell, though training had none",
    )


def test_rare_names_share_a_column_with_those_never_seen() -> None:
    examples = given({"c": ["a", "a", "b", "d", None]}, columns={"c": {"category": {"minimum": 2}}})
    encoding = examples.learn(every(examples), ["features"], [])
    assert encoding.notes == ("c: 2 names with fewer than 2 rows pooled",)
    assert encoding.parts == [("c", "a"), ("c", "(missing)"), ("c", "(other)")]
    made = streams(encoding, given({"c": ["a", "b", "new", None]}), "features")["features"]
    np.testing.assert_array_equal(made, [[1, 0, 0], [0, 0, 1], [0, 0, 1], [0, 1, 0]])


def test_a_missing_cell_is_no_rare_name() -> None:
    examples = given({"c": ["a", "a", "b"]}, columns={"c": {"category": {"minimum": 2}}})
    encoding = examples.learn(every(examples), ["features"], [])
    made = streams(encoding, given({"c": [None, "b"]}), "features")["features"]
    np.testing.assert_array_equal(made, [[0, 0], [0, 1]])


def test_a_category_alone_is_an_index_and_gives_its_name_back() -> None:
    examples = given({"c": COLOURS}, columns=CATEGORY)
    encoding = examples.learn(every(examples), ["c"], [])
    stream = encoding.streams["c"]
    assert (stream.shape, stream.dtype) == ((), "int64")
    assert stream.classes == ("blue", "green", "red", "(missing)", "(other)")
    made = streams(encoding, examples, "c")["c"]
    assert made.tolist() == [2, 0, 3, 2, 1, 3, 0]
    assert encoding.decode("c", made).tolist() == COLOURS
    assert streams(encoding, given({"c": ["pink"]}), "c")["c"].tolist() == [4]


def test_names_that_are_numbers_stand_by_value_and_are_known_in_any_form() -> None:
    examples = given({"c": ["10", "9", "2.50", "9"]}, columns=CATEGORY)
    encoding = examples.learn(every(examples), ["c"], [])
    assert encoding.streams["c"].classes[:3] == ("2.50", "9", "10")
    assert streams(encoding, given({"c": np.array([9.0, 10, 2.5, 11])}), "c")["c"].tolist() == [1, 2, 0, 4]


def test_spellings_of_one_number_or_truth_are_one_name() -> None:
    examples = given({"c": ["1", "1.0", "2", "1.00", None]}, columns=CATEGORY)
    encoding = examples.learn(every(examples), ["c"], [])
    assert encoding.streams["c"].classes[:2] == ("1", "2")
    assert streams(encoding, examples, "c")["c"].tolist() == [0, 0, 1, 0, 2]
    assert streams(encoding, given({"c": np.array([2.0, 1.0])}), "c")["c"].tolist() == [1, 0]
    zip_codes = given({"c": ["01234", "1234"]}, columns=CATEGORY)
    assert zip_codes.learn(every(zip_codes), ["c"], []).streams["c"].classes[:2] == ("01234", "1234")


@pytest.mark.parametrize(
    "cells", [["true", "false"], ["TRUE", "False"], [True, False], np.array([True, False])]
)
def test_truths_have_one_spelling(cells: object) -> None:
    examples = given({"f": ["true", "false"] * 5}, columns={"f": "category"})
    encoding = examples.learn(every(examples), ["features"], [])
    made = streams(encoding, given({"f": cells}), "features")["features"]
    np.testing.assert_array_equal(made, [[0, 1], [1, 0]])


def test_long_numbers_that_float64_cannot_tell_apart_stay_apart() -> None:
    # 2 ** 53 = 9007199254740992: float64 has no odd numbers beyond it.
    names = ["90071992547409920", "90071992547409930"]
    assert float("90071992547409921") == float(names[0])
    examples = given({"c": names}, columns={"c": "category"})
    encoding = examples.learn(every(examples), ["c"], [])
    assert streams(encoding, given({"c": ["90071992547409921", names[0]]}), "c")["c"].tolist() == [3, 0]


def test_names_that_share_a_column_are_counted() -> None:
    examples = given({"c": ["a", "a", "b"]}, columns={"c": {"category": {"minimum": 2}}})
    encoding = examples.learn(every(examples), ["features"], [])
    notes = encoding.encode(given({"c": ["new", "b", "a"]}), np.arange(3), ["features"]).notes
    assert notes == ("c: 2 cells with rare names, or names that training did not see, such as 'new', pooled",)


def test_alone_a_class_that_was_not_trained_is_said() -> None:
    examples = given({"c": ["a", "b"]}, columns=CATEGORY)
    encoding = examples.learn(every(examples), ["c"], [])
    assert encoding.encode(given({"c": ["new", None]}), np.arange(2), ["c"]).notes == (
        "c: 1 cell with names that training did not see, such as 'new', a class that was not trained",
        "c: 1 missing cell, though training had none, a class that was not trained",
    )


def test_a_cell_that_looks_like_a_mark_is_a_name() -> None:
    cells = ["(missing)", "a", None, "((other))"]
    examples = given({"c": cells}, columns=CATEGORY)
    encoding = examples.learn(every(examples), ["c"], [])
    classes = encoding.streams["c"].classes
    assert len(set(classes)) == len(classes) == 5
    assert encoding.decode("c", streams(encoding, examples, "c")["c"]).tolist() == cells


def test_many_names_of_few_rows_take_little_memory() -> None:
    examples = given({"c": [f"n{n}" for n in range(5000)]}, columns=CATEGORY)
    encoding = examples.learn(every(examples), ["features"], [])
    tracemalloc.start()
    encoding.encode(examples, np.arange(10), ["features"])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5000 * 5000 * 4 / 20  # a table of all names times all names


def test_classes_that_only_look_like_numbers_are_in_order_of_text() -> None:
    examples = given({"y": ["2", "10", "NAN", "0"] * 10, "x": np.arange(40) / 7}, columns={"y": "label"})
    encoding = examples.learn(every(examples), ["features"], ["y"])
    assert encoding.streams["y"].classes == ("0", "10", "2", "NAN")


class TestLabels:
    def test_classes_are_sorted_names(self) -> None:
        examples = given({"y": ["b", "a", "c", "a"], "x": [1, 2, 3, 4]})
        encoding = examples.learn(every(examples), ["features"], ["y"])
        stream = encoding.streams["y"]
        assert (stream.shape, stream.dtype, stream.classes) == ((), "int64", ("a", "b", "c"))
        made = streams(encoding, examples, "y")["y"]
        assert made.tolist() == [1, 0, 2, 0]
        assert encoding.decode("y", made).tolist() == ["b", "a", "c", "a"]
        assert "y: one training row only for 'b', 'c'" in encoding.notes

    def test_a_missing_label_says_how_many_and_where(self, tmp_path) -> None:
        path = written(tmp_path / "t.csv", "x,y", "1,a", "2,", "3,b", "4,NA")
        examples = opened(path)
        with pytest.raises(DataError, match=r"'y': 2 labels missing, first in t.csv, line 3.*missing: drop"):
            examples.learn(every(examples), ["features"], ["y"])

    def test_rows_without_label_are_left_out_where_the_description_says_so(self, tmp_path) -> None:
        path = written(tmp_path / "t.csv", "x,y", "1,a", "2,", "3,b", "4,NA")
        examples = opened(path, columns={"y": {"label": {"missing": "drop"}}})
        notes = examples.learn(examples.parts["train"], ["features"], ["y"]).notes
        assert "2 rows without 'y' left out of training and evaluation" in notes
        assert examples.notes == []  # which are said of rows to predict, too, and these are all there
        assert examples.parts["train"].tolist() == [0, 2]
        assert examples.where(2) == "t.csv, line 4"
        with pytest.raises(DataError, match="no row is left"):
            opened(written(path, "x,y", "1,", "2,"), columns={"y": {"label": {"missing": "drop"}}})

    @pytest.mark.parametrize("unreadable", ["", "abc"])
    def test_what_is_learned_is_the_same_from_a_file_and_a_frame(self, tmp_path, unreadable: str) -> None:
        pandas = pytest.importorskip("pandas")
        target = {"number": {"missing": "drop", "unreadable": "missing"}}
        path = written(tmp_path / "t.csv", "x,y", "1,1.5", "2,2.5", "6,3.5", f"1000,{unreadable}")
        frame = pandas.DataFrame({"x": [1, 2, 6, 1000], "y": [1.5, 2.5, 3.5, unreadable or None]})
        for examples in (
            opened(path, columns={"x": "number", "y": target}),
            given(frame, columns={"x": "number", "y": target}),
        ):
            encoding = examples.learn(every(examples), ["features"], ["y"])
            assert examples.parts["train"].tolist() == [0, 1, 2]
            assert "1 row without 'y' left out of training and evaluation" in encoding.notes
            source = encoding.encode(examples, every(examples), ["features", "y"])
            made = np.empty((3, 1), np.float32)
            source.gather(np.arange(3), {"features": made})
            np.testing.assert_allclose(made[:, 0], np.array([-2, -1, 3]) / np.sqrt(14 / 3), rtol=1e-6)

    @pytest.mark.parametrize("kind", ["label", "number"])
    def test_rows_to_evaluate_lack_no_target_and_rows_to_predict_may(self, kind: str) -> None:
        columns = {"y": {kind: {"missing": "drop"}}}
        train = given({"x": [1.5, 2.5, 3.5], "y": [0, 1, 1]}, columns=columns)
        encoding = train.learn(every(train), ["features"], ["y"])
        other = given({"x": [3.5, 1.5, 2.5], "y": [None, 1, 0]}, columns=columns)
        source = encoding.encode(other, every(other), ["features", "y"])
        assert source.notes == ("1 row without 'y' left out",)
        assert len(source) == 2
        out = {"features": np.zeros((2, 1), np.float32)}
        source.gather(np.arange(2), out)
        np.testing.assert_allclose(out["features"][:, 0], [-1.2247449, 0], atol=1e-6)
        assert len(encoding.encode(other, every(other), ["features"])) == 3
        with pytest.raises(DataError, match="no row of the data given has 'y'"):
            encoding.encode(other, np.array([0]), ["y"])

    def test_a_class_that_training_did_not_see_is_an_error(self, tmp_path) -> None:
        written(tmp_path / "test.csv", "x,y", "1,yes", "2,yess", "3,no.")
        path = written(tmp_path / "t.csv", "x,y", "1,yes", "2,no")
        examples = opened(path, test="test.csv")
        encoding = examples.learn(examples.parts["train"], ["features"], ["y"])
        with pytest.raises(
            DataError, match=r"'y': 2 labels .*'yess' in test.csv, line 3. Did you mean 'yes'"
        ):
            encoding.encode(examples, examples.parts["test"], ["y"])

    def test_ends_of_a_label_may_be_stripped(self, tmp_path) -> None:
        written(tmp_path / "test.csv", "x,y", "1,yes.", "2,no.")
        path = written(tmp_path / "t.csv", "x,y", "1,yes", "2,no")
        examples = opened(path, test="test.csv", columns={"y": {"label": {"strip": "."}}})
        encoding = examples.learn(examples.parts["train"], ["features"], ["y"])
        assert streams(encoding, examples, "y")["y"].tolist() == [1, 0, 1, 0]
        assert examples.column("y").tolist() == ["yes", "no", "yes", "no"]

    def test_a_label_is_no_feature_and_need_not_be_there_to_predict(self) -> None:
        examples = given(
            {"x": [1.5, 2.5], "y": ["a", "b"], "z": ["c", "d"]}, columns={"y": "label", "z": "label"}
        )
        encoding = examples.learn(every(examples), ["features"], ["y"])
        assert {name for name, _ in encoding.parts} == {"x"}
        source = encoding.encode(given({"x": [2.5]}), np.arange(1), ["features"])
        assert len(source) == 1

    def test_codes_are_classes_and_other_numbers_are_not(self) -> None:
        examples = given({"code": [0, 1] * 5, "price": np.arange(10) / 3, "x": np.arange(10)})
        encoding = examples.learn(every(examples), ["features"], ["code", "price"])
        assert encoding.streams["code"].classes == ("0", "1")
        assert encoding.streams["price"].dtype == "float32"

    @pytest.mark.parametrize("kind", ["date", "text", "skip"])
    def test_what_cannot_be_a_target(self, kind: str) -> None:
        examples = given({"x": [1, 2], "y": ["2020-01-01", "2020-01-02"]}, columns={"y": kind})
        with pytest.raises(DataError, match=f"column 'y' is declared {kind}, which cannot be a target"):
            examples.learn(every(examples), ["features"], ["y"])


class TestLongNames:
    @pytest.mark.parametrize(
        ("targets", "remedy"), [([], r"columns: \{x: text\}"), (["x"], "leave the row out")]
    )
    def test_a_name_of_ten_megabytes_is_refused_in_one_short_line(
        self, targets: list[str], remedy: str
    ) -> None:
        examples = given({"x": ["a", "x" * 10_000_000, "a"], "y": [1, 2, 3]}, columns={"x": "category"})
        said = f"'x': a name of 10,000,000 characters in the data given, row 1, 1,000 at most; .*{remedy}"
        with pytest.raises(DataError, match=said) as caught:
            examples.learn(every(examples), ["features"], targets)
        assert len(str(caught.value)) < 250

    def test_what_is_no_name_of_the_model_may_be_as_long(self) -> None:
        long = ["a b c", "b " * 5_000, "a", "x" * 10_000]
        for kind in ("text", {"category": {"minimum": 2}}, "skip"):
            examples = given({"x": [*long, "a"], "y": [1, 2, 3, 4, 5]}, columns={"x": kind})
            state = examples.learn(every(examples), ["features"], []).state()
            assert len(str(state)) < 1_000
            assert (
                kind != "text"
                or "x: 1 word of more than 1,000 characters left out"
                in examples.learn(every(examples), ["features"], []).notes
            )

    def test_a_name_of_a_thousand_characters_is_one(self) -> None:
        examples = given({"x": ["x" * 1000, "a"]}, columns={"x": "category"})
        assert examples.learn(every(examples), ["x"], []).columns["x"].names == ("a", "x" * 1000)


def test_a_target_without_any_cell_is_told_as_such() -> None:
    for columns in ({}, {"y": "label"}, {"y": "number"}):
        examples = given({"x": [1, 2, 3], "y": [None, None, None]}, columns=columns)
        with pytest.raises(DataError, match="column 'y': every cell") as caught:
            examples.learn(every(examples), ["features"], ["y"])
        assert "drop" not in str(caught.value)


def test_a_label_that_training_lacks_has_a_remedy() -> None:
    examples = given({"y": ["a", "b", "a", "rare"]})
    encoding = examples.learn(np.arange(3), [], ["y"])
    with pytest.raises(
        DataError,
        match=r"'rare' in the data given, row 3\. The classes are 'a', 'b'\. "
        r".*leave such rows out.*`split: stratified`",
    ):
        encoding.encode(examples, every(examples), ["y"])
