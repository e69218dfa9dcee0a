"""Any table goes in: mixed types, missing cells, odd names.  What comes out is finite and has its shape."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cortex_core.registry import build
from cortex_datasets.table.reader import Table
from tests.datasets.table.tables import every, streams

NAMES = st.text(
    st.one_of(
        st.sampled_from(" ,\"';\n\t#:{}[]é漢☃\\"), st.characters(codec="utf-8", exclude_characters="\r\0")
    ),
    max_size=12,
).map(str.strip)
NUMBERS = st.one_of(
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, 1, 1e39]),
)
WORDS = st.sampled_from(["red", "blue", "a, b", 'say "no"', "two\nlines", "ünï", "?", "inf", "3", "x" * 300])
DATES = st.datetimes().map(lambda moment: moment.isoformat(timespec="seconds"))
CELLS = st.one_of(NUMBERS.map(repr), WORDS, DATES, NAMES, st.just(""))
KINDS = st.sampled_from([NUMBERS.map(repr), WORDS, DATES, NAMES, CELLS])


@st.composite
def tables(draw: Any) -> dict[str, list[str]]:
    """Columns by name; cells of a kind or of all, some of them missing; a label with no cell missing."""
    rows = draw(st.integers(2, 30))
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True).filter(lambda n: "the label" not in n))
    columns = {}
    for name in names:
        cell = st.one_of(draw(KINDS), st.just("")) if draw(st.booleans()) else draw(KINDS)
        columns[name] = draw(st.lists(cell, min_size=rows, max_size=rows))
    columns["the label"] = [
        *draw(st.lists(st.sampled_from("abc"), min_size=rows - 1, max_size=rows - 1)),
        "a",
    ]
    columns["x"] = [repr(value) for value in draw(st.lists(st.floats(-9, 9), min_size=rows, max_size=rows))]
    return columns


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables(), st.sampled_from(["standard", "piecewise", "minmax"]))
def test_any_table(tmp_path: Path, columns: dict[str, list[str]], scale: str) -> None:
    path = tmp_path / "t.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values()))
    table = build(Table, {"file": "t.csv", "scale": scale, "columns": {"the label": "label"}})
    examples = table.open(lambda name: tmp_path / name)
    assert len(examples) == len(columns["x"])
    train = every(examples)[: len(examples) // 2 + 1]
    encoding = examples.learn(train, ["features"], [])
    made = streams(encoding, examples, "features")["features"]
    assert made.shape == (len(examples), *encoding.streams["features"].shape)
    assert np.isfinite(made).all()
    kept = table.restore(json.loads(json.dumps(encoding.state())))
    np.testing.assert_array_equal(streams(kept, examples, "features")["features"], made)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(WORDS, NAMES), min_size=1, max_size=30))
def test_categories_and_labels_come_back(values: list[str]) -> None:
    stripped = [None if value.strip() in ("", "?") else value.strip() for value in values]
    if not any(stripped):
        return
    table = build(Table, {"columns": {"c": "category"}, "missing": ["?"]})
    examples = table.read({"c": values}, Path)
    encoding = examples.learn(every(examples), ["c"], [])
    assert encoding.decode("c", streams(encoding, examples, "c")["c"]).tolist() == stripped
    labels = table.read({"c": [value for value in stripped if value]}, Path)
    encoding = labels.learn(every(labels), [], ["c"])
    back = encoding.decode("c", streams(encoding, labels, "c")["c"]).tolist()
    assert back == [value for value in stripped if value]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-1e30, 1e30, allow_subnormal=False), min_size=1, max_size=30),
    st.sampled_from(["standard", "minmax"]),
)
def test_numbers_come_back(values: list[float], scale: str) -> None:
    examples = build(Table, {"scale": scale, "columns": {"x": "number"}}).read({"x": np.array(values)}, Path)
    encoding = examples.learn(every(examples), ["x"], [])
    back = encoding.decode("x", streams(encoding, examples, "x")["x"])[:, 0]
    # A number is kept to float32's rounding of its distance from the middle.
    np.testing.assert_allclose(back, values, rtol=1e-6, atol=1e-6 * max(np.ptp(values), 1e-30))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.dates(), min_size=1, max_size=20))
def test_dates_come_back(days: list[Any]) -> None:
    examples = build(Table, {"columns": {"d": "date"}}).read({"d": days}, Path)
    encoding = examples.learn(every(examples), ["d"], [])
    back = encoding.decode("d", streams(encoding, examples, "d")["d"])
    assert back.astype("datetime64[D]").tolist() == days


def test_adult_opens_learns_and_encodes() -> None:
    """The real thing, where it lies: counts from its manifest."""
    folder = Path(os.environ.get("CORTEX_DATA", ""), "tabular")
    if not (folder / "adult-train.csv").exists():
        pytest.skip("no adult in CORTEX_DATA")
    header = "age work weight education years marital occupation relationship race sex gain loss hours"
    table = build(
        Table,
        {
            "file": "adult-train.csv",
            "test": "adult-test.csv",
            "header": [*header.split(), "country", "income"],
            "columns": {"income": {"label": {"strip": "."}}},
        },
    )
    examples = table.open(lambda name: folder / name)
    assert [len(rows) for rows in examples.parts.values()] == [32_561, 16_281]
    encoding = examples.learn(examples.parts["train"], ["features"], ["income"])
    assert encoding.streams["income"].classes == ("<=50K", ">50K")
    made = streams(encoding, examples, "features", "income")
    assert made["income"][:32_561].sum() == 7_841  # the fraction of adult.names: 24.08 %
    train = made["features"][:32_561]
    numbers = [place for place, (_, part) in enumerate(encoding.parts) if part == "scaled"]
    np.testing.assert_allclose(train[:, numbers].mean(axis=0, dtype=float), 0, atol=1e-6)
    np.testing.assert_allclose(train[:, numbers].std(axis=0, dtype=float), 1, atol=1e-5)
