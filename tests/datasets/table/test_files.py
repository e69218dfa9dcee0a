"""Reading: CSV, Parquet, objects in memory; what cannot be read says where."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import numpy as np
import pytest

from cortex_compute.errors import DataError
from cortex_core.registry import build
from cortex_datasets.table import Table
from cortex_datasets.table.files import LONGEST, Format, read_file
from cortex_datasets.table.sheet import Sheet
from tests.datasets.table.tables import every, given, opened, streams, written


def cells(sheet: Sheet, name: str) -> list[str | None]:
    column = sheet.columns[name]
    return [None if code < 0 else column.texts[code] for code in column.codes]


def test_cells_of_a_csv_are_those_that_pandas_reads(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "plain": ["a", "b", "a"],
            "with, comma": ["x,y", 'he said "no"', "two\nlines"],
            "größe ☃": ["ä", None, "漢字"],
            'a "quoted" name': ["1", "2.5", "-3e4"],
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    sheet = read_file(tmp_path / "t.csv")
    assert list(sheet.columns) == list(frame.columns)
    for name in frame:
        assert cells(sheet, name) == [value if isinstance(value, str) else None for value in frame[name]]


def test_a_row_stands_in_the_line_in_which_it_begins(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", "a,b", '"two', 'lines",1', "", "x,2", "")
    sheet = read_file(path)
    assert [sheet.where(row) for row in range(2)] == ["t.csv, line 2", "t.csv, line 5"]
    assert sheet.notes == ("t.csv: 1 blank line left out",)


def test_blanks_around_a_cell_are_no_part_of_it_and_words_for_missing_are_missing(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", "a, b", "x,  y ", "?, NA", "  ,NULL", "none,null", "nan,N/A", "NaN,-")
    sheet = read_file(path)
    assert cells(sheet, "a") == ["x", None, None, "none", None, None]
    assert cells(sheet, "b") == ["y", None, None, None, None, "-"]
    sheet = read_file(path, Format(missing=("-", "none")))
    assert cells(sheet, "a") == ["x", "?", None, None, "nan", "NaN"]
    assert cells(sheet, "b")[-1] is None


@pytest.mark.parametrize(
    ("separator", "line"), [(", ", "1, 2"), (";", "1;2"), ("\t", "1\t2"), (" ", "1 2"), ("|", "1 | 2")]
)
def test_separators(tmp_path: Path, separator: str, line: str) -> None:
    sheet = opened(
        written(tmp_path / "t.csv", line.replace("1", "a").replace("2", "b"), line), separator=separator
    )
    assert sheet.columns["a"].texts[0] == "1"
    assert sheet.columns["b"].texts[0] == "2"


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("\ufeffa,b\r\n1,2\r\n".encode())
    assert list(read_file(tmp_path / "t.csv").columns) == ["a", "b"]


def test_names_are_given_where_the_file_has_none(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", "1,x", "2,y")
    examples = opened(path, header=["size", "kind"])
    assert len(examples) == 2
    assert examples.column("kind").tolist() == ["x", "y"]
    assert examples.where(0) == "t.csv, line 1"


def test_a_first_line_that_repeats_the_names_is_no_row(tmp_path: Path) -> None:
    examples = opened(written(tmp_path / "t.csv", "size,kind", "1,x"), header=["size", "kind"])
    assert len(examples) == 1
    assert examples.notes == ["t.csv: the first line repeats `header`, it is no row"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "t.csv is empty"),
        (b"\n\n", "t.csv is empty"),
        (b"a,b\n", "t.csv holds a header and no rows"),
        (b"a,b\n1,2\n3\n4,5\n", "t.csv, line 3: 1 cell, expected 2, one per name"),
        (b"a,b\n1,2\n\n3,4,5\n", "t.csv, line 4: 3 cells, expected 2"),
        (b"a,b,a\n1,2,3\n", "several columns are called 'a'"),
        (b'a,b\n1,2\n"3,4\n5,6\n', "t.csv, line 3: a quote is opened and never closed"),
        (b'a,b\n1,"2"3\n', "t.csv, line 2: text follows a closing quote"),
        (b"a,b\n1,2\n3,caf\xe9\n", "t.csv, line 3: byte 13 is no utf-8.*`encoding: latin-1`"),
        ("a,b\n1,2\n".encode("utf-16-le"), "t.csv, line 1: byte 1 is no utf-8.*`encoding: utf-16-le`"),
        ("a,b\n1,2\n".encode("utf-16"), "t.csv, line 1: byte 0 is no utf-8.*`encoding: utf-16`"),
    ],
)
def test_what_cannot_be_read_says_where(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=said):
        opened(tmp_path / "t.csv")


def test_an_encoding_that_is_named_is_used(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("a\ncafé\n".encode("latin-1"))
    assert opened(tmp_path / "t.csv", encoding="latin-1").column("a").tolist() == ["café"]
    (tmp_path / "t.csv").write_bytes("a\ncafé\n".encode("utf-16"))
    assert opened(tmp_path / "t.csv", encoding="utf-16").column("a").tolist() == ["café"]


@pytest.mark.parametrize("encoding", ["utf-16", "undefined"])
def test_an_encoding_that_does_not_fit_is_one_line(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(DataError, match=f"t.csv, line 1: byte 0 is no {encoding}; name the encoding"):
        opened(written(tmp_path / "t.csv", "a,b", "1,2"), encoding=encoding)


@pytest.mark.parametrize("missing", [[-999], ["-999"], [" -999.0 "]])
@pytest.mark.parametrize("form", ["csv", "parquet", "frame", "dicts", "columns"])
def test_missing_cells_are_compared_by_value(tmp_path: Path, form: str, missing: list[object]) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"whole": [1, -999, 3], "real": [0.5, 2.5, -999.0]})
    if form == "csv":
        frame.to_csv(tmp_path / "t.csv", index=False)
        examples = opened(tmp_path / "t.csv", missing=missing)
    elif form == "parquet":
        pytest.importorskip("pyarrow")
        frame.to_parquet(tmp_path / "t.parquet")
        examples = opened(tmp_path / "t.parquet", missing=missing)
    else:
        made = {"frame": frame, "dicts": frame.to_dict("records"), "columns": frame.to_dict("list")}
        examples = given(made[form], missing=missing)
    assert examples.column("whole").tolist() == ["1", "", "3"]
    assert examples.column("real").tolist() == ["0.5", "2.5", ""]


def test_a_path_that_no_file_can_have() -> None:
    def find(name: str) -> Path:
        open(name).close()
        return Path(name)

    for name in ("x" * 5000, "a\0b"):
        with pytest.raises(DataError, match="there is no data file"):
            build(Table, {}).read(name, find)


def test_another_separator_is_suspected(tmp_path: Path) -> None:
    notes = opened(written(tmp_path / "t.csv", "a;b", "1;2")).notes
    assert notes == ["t.csv: one column, with ';' in its name; is that the `separator: \";\"`?"]


def test_names_that_are_numbers_are_said(tmp_path: Path) -> None:
    for line, said in (
        (
            "0.13,-0.13,ax,b",
            "the first line looks like data: '0.13', '-0.13', 'ax' and 1 more; name the columns",
        ),
        ("7", "the first line looks like data: '7'; name the columns by `header: [...]`"),
        (
            "39,a,b",
            "of the 3 names in the first line some are numbers, such as 39; if that line is data, give",
        ),
    ):
        (note,) = opened(written(tmp_path / "t.csv", line, line)).notes
        assert note.startswith(f"t.csv: {said}")
    assert not opened(written(tmp_path / "t.csv", "a,b", "1,2")).notes


@pytest.mark.parametrize("mark", [";", "|", "\t"])
def test_another_separator_is_suggested_where_a_line_does_not_fit(tmp_path: Path, mark: str) -> None:
    path = written(tmp_path / "t.csv", f"a{mark}b", f"1,5{mark}2,5")
    with pytest.raises(DataError, match="line 2: 3 cells, expected 1, one column, with") as caught:
        opened(path)
    suggested = str(caught.value).partition("`separator: ")[2].partition("`?")[0]
    assert list(opened(path, separator=json.loads(suggested)).columns) == ["a", "b"]


def test_a_tab_may_be_typed_as_in_a_shell(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", "a\tb", "1\t2")
    assert list(opened(path, separator=r"\t").columns) == ["a", "b"]


def test_a_cell_of_ten_megabytes_is_a_cell(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", "a,b", f"{'x' * 10_000_000},1")
    assert len(opened(path).columns["a"].texts[0]) == 10_000_000


def test_a_longer_cell_is_refused_in_one_short_line(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", "a,b", f"{'x' * (LONGEST + 1)},1")
    with pytest.raises(
        DataError, match=r"t.csv, line 2: a cell has more than 16,777,216 characters"
    ) as error:
        opened(path)
    assert len(str(error.value)) < 200


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone.csv cannot be read: No such file"):
        opened(tmp_path / "gone.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=r"folder.csv cannot be read: Is a directory"):
        opened(tmp_path / "folder.csv")


def test_parts_from_files_of_their_own_stand_behind_each_other(tmp_path: Path) -> None:
    written(tmp_path / "test.csv", "b,a,c", "y,3,!")
    examples = opened(written(tmp_path / "t.csv", "a,b", "1,x", "2,y"), test="test.csv")
    assert {part: rows.tolist() for part, rows in examples.parts.items()} == {"train": [0, 1], "test": [2]}
    assert examples.column("b").tolist() == ["x", "y", "y"]
    assert examples.where(2) == "test.csv, line 2"
    assert examples.notes == ["columns that only some parts have, not read: 'c'"]
    written(tmp_path / "test.csv", "bb,a", "y,3")
    examples = opened(tmp_path / "t.csv", test="test.csv")
    with pytest.raises(DataError, match=r"test.csv has no column 'b'. Did you mean 'bb'\?"):
        examples.learn(examples.parts["train"], ["features"], ["b"])


def test_a_part_may_lack_a_column_that_nobody_reads(tmp_path: Path) -> None:
    written(tmp_path / "test.csv", "x,y", "3,a", "1,b")
    path = written(tmp_path / "t.csv", "id,x,y", "1,1,a", "2,3,b", "3,5,a")
    for columns in ({"id": "skip"}, {}):
        examples = opened(path, test="test.csv", columns={"x": "number", **columns})
        encoding = examples.learn(examples.parts["train"], ["features"], ["y"])
        assert encoding.features == ("x",)
        made = streams(encoding, examples, "features")["features"]
        np.testing.assert_allclose(made[3:, 0], [0, -np.sqrt(1.5)], atol=1e-6)
    with pytest.raises(DataError, match=r"test.csv has no column 'id'"):
        opened(path, test="test.csv", columns={"id": "number"}).learn(np.arange(3), ["features"], ["y"])


class TestLinesWithoutNames:
    """A file that has no header, beside the names that the description gives."""

    HEADER = ("size", "kind", "answer")

    def encode(self, tmp_path: Path, answers: str, *lines: str) -> tuple[np.ndarray, tuple[str, ...]]:
        """Features and notes of raw lines, by what was learned from 30 lines of three cells."""
        rows = [f"{n}.5,{'xyz'[n % 3]},{answers[n % len(answers)]}" for n in range(30)]
        examples = opened(written(tmp_path / "t.csv", *rows), header=list(self.HEADER))
        encoding = examples.learn(every(examples), ["features"], ["answer"])
        raw = examples.reader.read(written(tmp_path / "raw.csv", *lines), Path)
        source = encoding.encode(raw, every(raw), ["features"])
        out = np.empty((len(raw), 4), np.float32)
        source.gather(every(raw), {"features": out})
        return out, tuple(source.notes)

    @pytest.mark.parametrize("answers", ["ab", "1234567"])
    def test_the_target_may_be_absent_however_it_was_guessed(self, tmp_path: Path, answers: str) -> None:
        whole, notes = self.encode(tmp_path, answers, f"3.5,z,{answers[0]}")
        assert notes == ()
        made, notes = self.encode(tmp_path, answers, "3.5,z")
        np.testing.assert_array_equal(made, whole)
        assert notes == ("raw.csv: lines of 2 cells, read as `header` without 'answer'",)
        made, _ = self.encode(tmp_path, answers, "size,kind", "3.5,z")
        np.testing.assert_array_equal(made, whole)

    @pytest.mark.parametrize("line", ["3.5", "3.5,z,a,b"])
    def test_lines_of_another_width_are_no_silent_shift(self, tmp_path: Path, line: str) -> None:
        with pytest.raises(DataError, match=r"raw.csv: lines of [14] cells?; expected the 3 of `header`"):
            self.encode(tmp_path, "ab", line)


class TestFrames:
    def test_parquet_holds_what_the_frame_held(self, tmp_path: Path) -> None:
        pandas = pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")
        frame = pandas.DataFrame(
            {
                "whole": [1, 2, 3],
                "real": [0.5, None, 2],
                "flag": [True, False, True],
                "text": ["a", None, "?"],
                "when": pandas.to_datetime(["2020-01-02 00:00", None, "2021-03-04 05:06"]),
            }
        )
        frame.to_parquet(tmp_path / "t.parquet")
        sheet = read_file(tmp_path / "t.parquet")
        assert cells(sheet, "whole") == ["1", "2", "3"]
        assert cells(sheet, "real") == ["0.5", None, "2"]
        assert cells(sheet, "flag") == ["True", "False", "True"]
        assert cells(sheet, "text") == ["a", None, None]
        assert cells(sheet, "when") == ["2020-01-02T00:00:00", None, "2021-03-04T05:06:00"]

    def test_a_damaged_parquet_file_is_one_line(self, tmp_path: Path) -> None:
        pytest.importorskip("pyarrow")
        (tmp_path / "t.parquet").write_bytes(b"PAR1 and nothing that follows")
        with pytest.raises(DataError, match=r"t.parquet is no Parquet file, or damaged"):
            opened(tmp_path / "t.parquet")

    def test_dtypes_of_pandas(self) -> None:
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(
            {
                "Int64": pandas.array([1, None, 3], "Int64"),
                "category": pandas.Categorical(["x", None, "y"]),
                "string": pandas.array(["p", None, "q"], "string"),
                "boolean": pandas.array([True, None, False], "boolean"),
                "mixed": [1, "b", 2.5],
                "day": [datetime.date(2020, 1, 2), None, datetime.date(2021, 1, 2)],
                "zone": pandas.to_datetime(["2020-01-02T03:00+02:00"] * 3),
                "big": [2**60 + 1, 2**60 + 2, 3],
            }
        )
        columns = given(frame)
        assert columns.column("Int64").tolist() == ["1", "", "3"]
        assert columns.column("category").tolist() == ["x", "", "y"]
        assert columns.column("string").tolist() == ["p", "", "q"]
        assert columns.column("boolean").tolist() == ["True", "", "False"]
        assert columns.column("mixed").tolist() == ["1", "b", "2.5"]
        assert columns.column("day").tolist() == ["2020-01-02", "", "2021-01-02"]
        assert columns.column("zone").tolist() == ["2020-01-02T01:00:00"] * 3
        assert columns.column("big").tolist() == [str(2**60 + 1), str(2**60 + 2), "3"]

    def test_names_of_columns_need_not_be_text_but_distinct(self) -> None:
        pandas = pytest.importorskip("pandas")
        assert list(given(pandas.DataFrame([[1, 2]])).columns) == ["0", "1"]
        with pytest.raises(DataError, match="several columns are called 'a'"):
            given(pandas.DataFrame([[1, 2]], columns=["a", "a"]))
        for empty in (pandas.DataFrame(), pandas.DataFrame({"a": []})):
            with pytest.raises(DataError, match="holds no"):
                given(empty)


class TestObjects:
    def test_rows_columns_and_a_single_row(self) -> None:
        rows = given([{"a": 1, "b": "x"}, {"b": "y", "c": None}])
        assert {name: rows.column(name).tolist() for name in rows.columns} == {
            "a": ["1", ""],
            "b": ["x", "y"],
            "c": ["", ""],
        }
        assert given({"a": np.arange(2), "b": ["x", "y"]}).column("a").tolist() == ["0", "1"]
        assert len(given({"a": 1.5, "b": "x"})) == 1

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            (5, "is a int; expected a file, a DataFrame"),
            (["a"], "is a list; expected a file, a DataFrame"),
            ([], "holds no rows"),
            ({}, "holds no rows"),
            ({"a": []}, "holds no rows"),
            ({"a": [1, 2], "b": [1]}, "unequal lengths"),
            ({"a": [[1, 2], [3, 4]]}, "column 'a' holds a list; expected one value per cell"),
            ({"a": [[1], [1, 2]], "b": [1, 2]}, "column 'a' holds a list"),
            ({"name": "ab", "age": [1, 2]}, "one value for 'name', several for 'age'"),
            ({"a": [1, 2], "b": 3}, "one value for 'b', several for 'a'"),
            ([{1: 5, "1": 6}], "several columns are called '1'"),
            ({1: [5], "1": [6]}, "several columns are called '1'"),
            ([{"a": {"b": 1}}], "column 'a' holds a dict"),
            ({"a": [b"\xff"]}, "bytes that are no UTF-8"),
        ],
    )
    def test_what_is_no_table(self, data: object, said: str) -> None:
        with pytest.raises(DataError, match=said):
            given(data)
