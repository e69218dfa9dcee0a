"""Dates and text."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from cortex_compute.errors import DataError
from cortex_core.registry import Invalid
from tests.datasets.table.tables import every, features, given, streams

DAYS = ["2020-01-01", "2020-07-01", "2021-12-31", None]


def test_a_date_is_its_time_and_where_it_stands_in_year_month_and_week() -> None:
    made = features({"d": DAYS})
    days = np.array([datetime.date.fromisoformat(day).toordinal() for day in DAYS[:3]])
    np.testing.assert_allclose(made[:3, 0], (days - days.mean()) / days.std(), rtol=1e-5, atol=1e-6)
    for row, day in enumerate(DAYS[:3]):
        date = datetime.date.fromisoformat(day)
        months = (
            datetime.date(date.year + date.month // 12, date.month % 12 + 1, 1) - date.replace(day=1)
        ).days
        phases = [(date.month - 1) / 12, (date.day - 1) / months, date.weekday() / 7]
        turns = [turn(2 * np.pi * phase) for phase in phases for turn in (np.sin, np.cos)]
        np.testing.assert_allclose(made[row, 1:7], turns, atol=1e-6)
    np.testing.assert_array_equal(made[:, 7], [0, 0, 0, 1])
    np.testing.assert_array_equal(made[3, :7], np.zeros(7))


def test_times_of_day_count_where_training_had_them() -> None:
    examples = given({"d": ["2020-01-01T06:00", "2020-01-02T12:00+02:00"]})
    encoding = examples.learn(every(examples), ["features"], [])
    assert [part for _, part in encoding.parts][-2:] == ["hour sine", "hour cosine"]
    made = streams(encoding, examples, "features")["features"]
    np.testing.assert_allclose(
        made[:, -2:], [[1, 0], [np.sin(2 * np.pi * 10 / 24), np.cos(2 * np.pi * 10 / 24)]], atol=1e-6
    )


@pytest.mark.parametrize(
    "cells",
    [
        ["2020-01-31", "1969-12-31", "2100-02-28"],
        ["31.01.2020", "31.12.1969", "28.02.2100"],
        ["31 Jan 2020", "31 Dec 1969", "28 Feb 2100"],
    ],
)
def test_a_date_alone_gives_the_day_back(cells: list[str]) -> None:
    examples = given({"d": cells})
    encoding = examples.learn(every(examples), ["d"], [])
    made = streams(encoding, examples, "d")["d"]
    assert made.shape == (3, *encoding.streams["d"].shape)
    expected = ["2020-01-31T00:00:00", "1969-12-31T00:00:00", "2100-02-28T00:00:00"]
    assert encoding.decode("d", made).astype(str).tolist() == expected


def test_a_form_of_dates_may_be_declared() -> None:
    american = features({"d": ["03/04/2020", "12/31/2020"]}, columns={"d": {"date": "%m/%d/%Y"}})
    np.testing.assert_array_equal(american, features({"d": ["2020-03-04", "2020-12-31"]}))
    with pytest.raises(DataError, match=r"'d': 1 cell of 2 no date: '31/12/2020' in the data given, row 1"):
        features({"d": ["03/04/2020", "31/12/2020"]}, columns={"d": {"date": "%m/%d/%Y"}})


DOTTED = [f"{n % 28 + 1:02d}.{n % 12 + 1:02d}.20{n:02d}" for n in range(30)]


def test_the_form_is_learned_from_training_rows_alone() -> None:
    states = []
    for first, last in (("31.12.2050", "soon"), ("soon", "2050-12-31"), ("Dec 31, 2050", "1/2/3")):
        examples = given({"d": [first, *DOTTED, last]})
        encoding = examples.learn(np.arange(1, 31), ["features"], [])
        assert encoding.notes == ("taken for date in %d.%m.%Y: 'd'",)
        states.append(encoding.state())
    assert states[0] == states[1] == states[2]


def test_the_form_that_was_learned_reads_rows_to_predict_whatever_stands_beside_them() -> None:
    examples = given({"d": DOTTED})
    encoding = examples.learn(every(examples), ["features"], [])
    expected = streams(encoding, given({"d": ["31.12.2005"]}), "features")["features"][0]
    assert expected.any()
    for others in (["soon"], ["2006-01-01"], [datetime.date(2006, 1, 1)]):
        made = streams(encoding, given({"d": [*others, "31.12.2005", "2005-12-31"]}), "features")["features"]
        np.testing.assert_array_equal(made[1:], [expected, expected])


def test_the_second_comes_back_from_a_date_with_a_time() -> None:
    moments = ["2000-01-01T10:20:30", "2020-05-06T01:02:03", "2010-12-31T23:59:59", "1969-12-31T00:00:01"]
    examples = given({"d": [*moments, "2025-06-07"]}, columns={"d": "date"})
    encoding = examples.learn(every(examples), ["d"], [])
    back = encoding.decode("d", streams(encoding, examples, "d")["d"])
    assert back.astype(str).tolist() == [*moments, "2025-06-07T00:00:00"]


def test_far_dates_are_cut_off_and_said_and_one_moment_is_no_noise() -> None:
    examples = given({"d": ["2020-01-01T00:00:00", "2020-01-01T00:00:01"] * 5}, columns={"d": "date"})
    encoding = examples.learn(every(examples), ["features"], [])
    source = encoding.encode(given({"d": ["2920-01-01"]}), np.arange(1), ["features"])
    assert source.notes == ("d: 1 cell a million times as far out as training's, cut off there",)
    made = features({"d": ["2020-01-01T10:20:30"] * 7}, columns={"d": "date"})
    np.testing.assert_array_equal(made[:, 0], np.zeros(7))


def test_moments_beyond_the_calendar() -> None:
    pandas = pytest.importorskip("pandas")
    assert given({"d": ["9999-12-31T23:59:59-05:00", "x"]}).columns["d"].dates().astype(str).tolist() == [
        "NaT",
        "NaT",
    ]
    frame = pandas.DataFrame({"d": np.array(["2020-01-01", "20000-01-01"], "datetime64[s]")})
    with pytest.raises(DataError, match=r"'d': 20000-01-01T00:00:00 in row 1 lies beyond the years"):
        given(frame)


@pytest.mark.parametrize("form", ["%Y %Y", "%", "%Q"])
def test_a_form_that_strptime_cannot_read_is_refused_where_it_stands(form: str) -> None:
    with pytest.raises(Invalid) as error:
        given({"d": ["2020 2020"]}, columns={"d": {"date": {"format": form}}})
    assert error.value.faults[0].path == ("columns", "d", "date", "format")


def test_moments_of_pandas_are_dates() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"d": pandas.to_datetime(["2020-01-01", "2020-07-01", "2021-12-31", None])})
    np.testing.assert_array_equal(features(frame), features({"d": DAYS}))


TEXTS = ["The cat sat; the dog ran.", "A DOG, a cat and 2 mice!", "nothing here", None, "die Maus läuft"]


def test_words_are_those_in_most_rows_as_scikit_learn_counts_them() -> None:
    text = pytest.importorskip("sklearn.feature_extraction.text")
    vectorizer = text.CountVectorizer(binary=True, token_pattern=r"(?u)\b\w+\b")
    expected = vectorizer.fit_transform([cell or "" for cell in TEXTS]).toarray()
    np.testing.assert_array_equal(features({"t": TEXTS}, columns={"t": "text"}), expected)
    frequent = features({"t": TEXTS}, columns={"t": {"text": {"words": 2}}})
    columns = [vectorizer.vocabulary_[word] for word in ("cat", "dog")]
    np.testing.assert_array_equal(frequent, expected[:, columns])


def test_a_text_cannot_be_told_from_its_words() -> None:
    examples = given({"t": TEXTS}, columns={"t": "text"})
    encoding = examples.learn(every(examples), ["t"], [])
    with pytest.raises(DataError, match="cannot be told"):
        encoding.decode("t", streams(encoding, examples, "t")["t"])


@pytest.mark.parametrize("cell", ["!!! ??? ...", "--- --- ---"])
def test_text_without_a_word(cell: str) -> None:
    cells = [cell + "." * n for n in range(30)]
    with pytest.raises(DataError, match="'t' is declared text, and no training row has a word"):
        features({"t": cells}, columns={"t": "text"})
    examples = given({"t": cells, "x": np.arange(30) / 7})
    encoding = examples.learn(every(examples), ["features"], [])
    assert encoding.features == ("x",)
    assert any(note.startswith("t: not read") for note in encoding.notes)


@pytest.mark.parametrize(
    ("cell", "form", "suggested"),
    [
        ("01/13/2021", None, "%m/%d/%Y"),
        ("31/12/2020", None, "%d/%m/%Y"),
        ("2020-01-01", "%m/%d/%Y", "%Y-%m-%d"),
    ],
)
def test_the_form_that_is_suggested_fits_the_cell(cell: str, form: str | None, suggested: str) -> None:
    rule = {"d": {"date": {"format": form}}}
    examples = given({"d": [cell]}, columns=rule)
    with pytest.raises(DataError, match=f'columns: {{d: {{date: {{format: "{suggested}"}}}}}}'):
        examples.learn(every(examples), ["features"], [])


def test_a_cell_that_no_form_fits_may_be_taken_as_missing() -> None:
    examples = given({"d": ["2020-01-01", "soon"]}, columns={"d": "date"})
    with pytest.raises(DataError, match="unreadable: missing"):
        examples.learn(every(examples), ["features"], [])
