"""Descriptions of tables, beside pandas; and what bad files get."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cortex_compute.errors import DataError
from cortex_datasets.describe import describe

ROWS = 300


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    made = pd.DataFrame(
        {
            "mass": rng.normal(50, 10, ROWS).round(3),
            "kind": rng.choice(["bat", "cat", "dog"], ROWS, p=[0.5, 0.3, 0.2]),
            "born": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, ROWS), "D"),
            "told": [f"this one weighs {i} times as much" for i in range(ROWS)],
            "never": np.nan,
        }
    )
    made["height"] = (made["mass"] * 2 + rng.normal(0, 5, ROWS)).round(3)
    made.loc[::7, "height"] = np.nan
    made.loc[::50, "kind"] = None
    return pd.concat([made, made.iloc[[3, 3, 9]]], ignore_index=True)


@pytest.fixture(scope="module", params=["csv", "parquet"])
def report(request: pytest.FixtureRequest, frame: pd.DataFrame, tmp_path_factory: Any) -> Any:
    path = tmp_path_factory.mktemp("tables") / f"t.{request.param}"
    frame.to_csv(path, index=False) if request.param == "csv" else frame.to_parquet(path)
    found = describe(path)
    assert found["bytes"] == path.stat().st_size
    return found


def column(report: Any, name: str) -> Any:
    return next(c for c in report["columns"] if c["name"] == name)


def test_what_every_column_has(report: Any, frame: pd.DataFrame) -> None:
    assert (report["kind"], report["rows"]) == ("table", len(frame))
    assert report["duplicates"] == frame.duplicated().sum() == 3
    assert [c["name"] for c in report["columns"]] == list(frame)
    for name in frame:
        assert column(report, name)["missing"] == frame[name].isna().sum()
        assert column(report, name)["distinct"] == frame[name].nunique()
    kinds = {c["name"]: c["kind"] for c in report["columns"]}
    assert kinds == {
        "mass": "number",
        "kind": "category",
        "born": "date",
        "told": "text",
        "never": "skip",
        "height": "number",
    }
    assert all(c["why"] for c in report["columns"])


@pytest.mark.parametrize("name", ["mass", "height"])
def test_numbers(report: Any, frame: pd.DataFrame, name: str) -> None:
    found, expected = column(report, name)["number"], frame[name].describe()
    assert [found["min"], *found["quartiles"], found["max"]] == pytest.approx(
        [expected[q] for q in ("min", "25%", "50%", "75%", "max")], rel=1e-12
    )
    assert found["mean"] == pytest.approx(expected["mean"], rel=1e-12)
    assert found["std"] == pytest.approx(expected["std"], rel=1e-12)
    assert sum(found["histogram"]["counts"]) == expected["count"]


def test_categories_dates_and_texts(report: Any, frame: pd.DataFrame) -> None:
    counts = frame["kind"].value_counts()
    assert {v["value"]: v["count"] for v in column(report, "kind")["category"]} == counts.to_dict()
    assert [v["count"] for v in column(report, "kind")["category"]] == sorted(counts, reverse=True)
    born = column(report, "born")["date"]
    assert pd.Timestamp(born["first"]) == frame["born"].min()
    assert pd.Timestamp(born["last"]) == frame["born"].max()
    assert sum(born["histogram"]["counts"]) == len(frame)
    told, lengths = column(report, "told")["text"], frame["told"].str.len()
    assert (told["min"], told["max"], told["words"]) == (lengths.min(), lengths.max(), 7)
    assert told["mean"] == pytest.approx(lengths.mean())
    assert told["example"] == frame["told"][0]
    assert not {"number", "category", "date", "text"} & set(column(report, "never"))


def test_correlations(report: Any, frame: pd.DataFrame) -> None:
    found = report["correlations"]
    assert found["columns"] == ["mass", "height", "kind"]
    pair = found["pairs"][0]
    assert (pair["a"], pair["b"], pair["measure"]) == ("mass", "height", "pearson")
    assert pair["value"] == pytest.approx(frame["mass"].corr(frame["height"]), abs=1e-12)
    assert pair["rows"] == frame["height"].count()


def test_the_report_is_plain_data(report: Any) -> None:
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_a_table_without_a_header(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("gr\xfcn;1\nrot;?\n".encode("latin-1"))
    found: Any = describe(path, header=["colour", "n"], separator=";", encoding="latin-1")
    assert found["rows"] == 2
    assert column(found, "colour")["distinct"] == 2
    assert column(found, "n")["missing"] == 1
    assert {v["value"] for v in column(found, "colour")["category"]} == {"grün", "rot"}


def test_cells_that_are_no_numbers_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x,y\n" + "".join(f"{i / 7},a\n" for i in range(100)) + "oops,a\n")
    x = column(describe(path), "x")
    assert (x["kind"], x["unreadable"]) == ("number", 1)
    assert x["number"]["max"] == 99 / 7


def test_duplicates_among_many_columns(tmp_path: Path) -> None:
    """More columns with more values than one 64-bit number tells apart."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.integers(0, 500, (1000, 12)) + 0.5, columns=list("abcdefghijkl"))
    frame = pd.concat([frame, frame.sample(200, random_state=1)])
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert describe(tmp_path / "t.csv")["duplicates"] == frame.duplicated().sum() == 200  # type: ignore


def test_a_cell_of_ten_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "x" * 10_000_000 + ",1\ny z w,2\n")
    found: Any = describe(path)
    assert len(json.dumps(found)) < 5000


def test_memory_is_that_of_the_distinct_cells(tmp_path: Path) -> None:
    """Every cell repeats: as texts of their own, 180,000 cells would take 50 bytes each and more."""
    path = tmp_path / "t.csv"
    path.write_text("a,b,c\n" + "red01,blue2,3.25\n" * 30_000 + "red02,blue3,4.25\n" * 30_000)
    tracemalloc.start()
    try:
        assert describe(path)["duplicates"] == 59_998  # type: ignore[typeddict-item]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 180_000 * 50


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"", "empty"),
        ("t.csv", b"a,b\n", "no rows"),
        ("t.csv", b"a,b\n1\n", "line 2"),
        ("t.csv", b"a,a\n1,2\n", "'a'"),
        ("t.csv", b"a\n\xff\xfe\n", "encoding"),
        ("t.parquet", b"PAR1 no more", "Parquet"),
        ("t.xyz", b"1", ".xyz"),
    ],
)
def test_files_that_are_no_tables(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        describe(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        describe(tmp_path / "t.csv")


CELLS = st.one_of(
    st.just(""),
    st.integers(-(10**6), 10**6).map(str),
    st.floats(allow_nan=True, allow_infinity=True).map(repr),
    st.dates().map(str),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_table(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.text("ab ,\"'ü\n<&", max_size=6).map(str.strip), min_size=1, max_size=4))
    names = [f"{name}{i}" for i, name in enumerate(names)]
    rows = data.draw(st.lists(st.tuples(*[CELLS] * len(names)), min_size=1, max_size=12))
    path = tmp_path_factory.mktemp("any") / "t.csv"
    frame = pd.DataFrame(rows, columns=names)
    frame.to_csv(path, index=False, quoting=1)
    found: Any = describe(path)
    assert found["rows"] == len(rows)
    assert [c["name"] for c in found["columns"]] == [name.strip() for name in names]
    assert all(0 <= c["missing"] + c["distinct"] <= len(rows) for c in found["columns"])
    assert all(-1 <= p["value"] <= 1 for p in found["correlations"]["pairs"])
    json.dumps(found, allow_nan=False)


def test_dates_in_another_form(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("day\n24.12.2020\n01.02.2019\n2020-03-04\n")
    (column,) = describe(tmp_path / "t.csv")["columns"]  # type: ignore[typeddict-item]
    assert (column["kind"], column["unreadable"]) == ("date", 0)
    assert (column["date"]["first"], column["date"]["last"]) == ("2019-02-01", "2020-12-24")


def test_a_first_line_that_is_data_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("39, State-gov, 77516\n50, Private, 83311\n")
    notes = describe(tmp_path / "t.csv")["notes"]
    assert notes[:1] == [
        "t.csv: the first line looks like data: '39', 'State-gov', '77516'; "
        "name the columns by `header: [...]`"
    ]


def test_what_speaks_for_another_kind_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("zip,share\n06495,12%\n10115,3%\n80331,7.5%\n")
    notes = describe(tmp_path / "t.csv")["notes"]
    assert notes[0].startswith("zip: numbers with leading zeros look like codes: `columns: {zip: category}`")
    assert notes[1].startswith("share: cells look like numbers with %, such as '12%': not read as numbers")
