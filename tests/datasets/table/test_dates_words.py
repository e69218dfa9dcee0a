"""Dates and text."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from cortex_compute.errors import DataError
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
