"""What is learned from training rows, kept as JSON, and applied to other rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import DataError
from cortex_core.registry import Invalid, build, data_of
from cortex_datasets.table import encoding as table_encoding
from cortex_datasets.table.encoding import TableEncoding
from cortex_datasets.table.reader import Table
from tests.datasets.table.tables import every, given, opened, streams, written

PEOPLE = {
    "age": [22.0, None, 35.5, 58, 22, 41, 30.5, 19],
    "port": ["S", "C", None, "S", "Q", "S", "C", "S"],
    "joined": [
        "2020-01-31",
        None,
        "2021-05-06",
        "2020-02-29",
        "2019-12-31",
        "2020-07-08",
        "2020-07-08",
        "2018-01-01",
    ],
    "said": ["a b c", "b c d", "c d e", None, "the end of it", "a b c d", "no", "x y z"],
    "answer": ["no", "yes", "no", "yes", "yes", "no", "no", "yes"],
}
KINDS = {"said": {"text": {"words": 3}}, "joined": "date", "port": "category"}
STREAMS = ("features", "port", "age", "answer")


def learned() -> tuple[Any, TableEncoding]:
    examples = given(PEOPLE, columns=KINDS)
    return examples, examples.learn(every(examples), ["features", "port", "age"], ["answer"])


def test_features_are_the_columns_that_nothing_else_takes_side_by_side() -> None:
    examples, encoding = learned()
    assert [name for name, _ in encoding.parts] == ["joined"] * 8 + ["said"] * 3
    assert encoding.streams["features"].shape == (11,)
    whole = given(PEOPLE, columns=KINDS)
    parts = whole.learn(every(whole), ["features"], ["answer"]).parts
    assert list(dict.fromkeys(name for name, _ in parts)) == ["age", "port", "joined", "said"]
    made = streams(encoding, examples, *STREAMS)
    for name, stream in encoding.streams.items():
        assert made[name].shape == (8, *stream.shape)
        assert np.isfinite(made[name]).all()


def test_what_is_learned_comes_from_the_training_rows_alone() -> None:
    train = np.array([0, 2, 3, 5, 7])
    changed = {name: list(values) for name, values in PEOPLE.items()}
    for row, values in {
        1: (1e6, "Z", "1900-01-01", "q q q", "never"),
        6: (-5, None, None, None, None),
    }.items():
        for name, value in zip(changed, values):
            changed[name][row] = value
    states = [
        given(data, columns=KINDS).learn(train, ["features", "port"], ["answer"]).state()
        for data in (PEOPLE, changed)
    ]
    assert states[0] == states[1]
    more = given(changed, columns=KINDS).learn(np.delete(np.arange(8), 6), ["features", "port"], ["answer"])
    assert more.state() != states[0]


def test_the_state_is_json_and_gives_the_same_streams() -> None:
    examples, encoding = learned()
    kept = json.loads(json.dumps(encoding.state(), allow_nan=False))
    restored = Table().restore(kept)
    assert restored.streams == encoding.streams
    assert restored.parts == encoding.parts
    one, other = (streams(each, examples, *STREAMS) for each in (encoding, restored))
    for name in STREAMS:
        np.testing.assert_array_equal(one[name], other[name])


def damaged(state: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    state = json.loads(json.dumps(state))
    place = state
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return state


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["form"], 2),
        (["header"], "age"),
        (["header"], ["age"]),
        (["features"], [1]),
        (["alone"], ["gone"]),
        (["features"], ["joined", "said", "answer"]),
        (["features"], ["joined", "joined"]),
        (["header"], [*PEOPLE, "age"]),
        (["columns", "age", "number", "centre"], 1e300),
        (["columns", "age", "number", "fill"], -1e300),
        (["columns", "joined", "date", "spread"], 1e300),
        (["columns", "joined", "date", "format"], "%Y %Y"),
        (["columns"], []),
        (["columns"], {}),
        (["columns", "age"], {"numbr": {}}),
        (["columns", "age"], "number"),
        (["columns", "age"], {"number": 5}),
        (["columns", "age", "number", "spread"], 0),
        (["columns", "age", "number", "centre"], "a"),
        (["columns", "age", "number", "fill"], None),
        (["columns", "age", "number", "edges"], [1, 1]),
        (["columns", "age", "number", "edges"], [1]),
        (["columns", "age", "number", "unknown"], 1),
        (["columns", "port", "category", "names"], ["a", "a"]),
        (["columns", "port", "category", "names"], [1]),
        (["columns", "answer", "label", "names"], 5),
        (["columns", "joined", "date", "centre"], 1e300),
        (["columns", "said", "text", "words"], ["a", "a"]),
    ],
)
def test_a_damaged_state_is_refused(path: list[str], value: Any) -> None:
    _, encoding = learned()
    with pytest.raises(DataError, match="what was learned of the table is damaged"):
        Table().restore(damaged(encoding.state(), path, value))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_in_a_state_are_finite(number: float) -> None:
    _, encoding = learned()
    state = encoding.state()
    state["columns"]["age"]["number"]["fill"] = number
    with pytest.raises(DataError, match="is damaged"):
        Table().restore(state)


class TestHeaders:
    def test_another_order_and_further_columns_are_read_alike_and_counted(self) -> None:
        examples, encoding = learned()
        names = [*reversed(PEOPLE), "more"]
        other = given({name: PEOPLE.get(name, [0] * 8) for name in names})
        one, two = (streams(encoding, each, *STREAMS) for each in (examples, other))
        for name in STREAMS:
            np.testing.assert_array_equal(one[name], two[name])
        notes = encoding.encode(other, every(other), ["port"]).notes
        assert notes[0] == "1 column not read, training had none such: 'more'"

    def test_a_column_that_is_gone_names_the_nearest(self) -> None:
        _, encoding = learned()
        other = given({"Joined": ["2020-01-01"], "port": ["S"]})
        with pytest.raises(DataError, match=r"has no column 'joined', 'said'. Did you mean 'Joined'\?"):
            encoding.encode(other, every(other), ["features"])
        assert len(encoding.encode(other, every(other), ["port"])) == 1  # which needs no other column

    def test_streams_that_cannot_be_made(self) -> None:
        examples, encoding = learned()
        with pytest.raises(DataError, match=r"has no column 'prt'. Did you mean 'port'\?"):
            examples.learn(every(examples), ["prt"], [])
        with pytest.raises(DataError, match=r"makes no stream 'feature'. Did you mean 'features'\?"):
            encoding.encode(examples, every(examples), ["feature"])
        with pytest.raises(DataError, match="'features' is not the stream of one column"):
            encoding.decode("features", np.zeros((1, 11)))
        with pytest.raises(DataError, match="no column is left for 'features'"):
            given({"y": ["a", "b"]}).learn(np.arange(2), ["features"], ["y"])
        with pytest.raises(DataError, match="no rows to learn from"):
            examples.learn(np.arange(0), ["features"], [])

    def test_a_column_declared_that_is_not_there(self, tmp_path: Path) -> None:
        path = written(tmp_path / "t.csv", "age,sex", "1,m", "2,f")
        examples = opened(path, columns={"aeg": "number"})
        with pytest.raises(DataError, match=r"t.csv has no column 'aeg'. Did you mean 'age'\?"):
            examples.learn(every(examples), ["features"], ["sex"])
        frame = given({"age": [1, 2], "sex": ["m", "f"]}, columns={"aeg": "skip"})
        with pytest.raises(DataError, match="has no column 'aeg'"):
            frame.learn(every(frame), ["features"], ["sex"])


def test_guesses_and_what_is_not_read_are_said() -> None:
    rows = 40
    examples = given(
        {
            "id": range(rows),
            "empty": [None] * rows,
            "code": [f"k{n}" for n in range(rows)],
            "x": np.arange(rows) / 8,
        }
    )
    encoding = examples.learn(every(examples), ["features"], [])
    assert encoding.notes == (
        "taken for number: 'x'",
        "id: not read, it counts the rows",
        "empty: not read, every cell is missing",
        "code: not read, 40 different cells in 40 name single rows",
    )
    alone = examples.learn(every(examples), ["code"], [])
    assert alone.streams["code"].shape == ()


def test_too_many_features_are_refused_by_name() -> None:
    names = [f"n{n}" for n in range(100_001)]
    examples = given({"many": names, "x": ["a"] * len(names)}, columns={"many": "category"})
    with pytest.raises(DataError, match=r"100,002 numbers, most of column 'many'.*minimum: 10"):
        examples.learn(every(examples), ["features"], [])


def test_features_that_no_memory_holds_are_refused_with_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_encoding, "MOST_BYTES", 10_000)
    examples = given({"many": [f"n{n}" for n in range(100)], "x": ["a"] * 100}, columns={"many": "category"})
    encoding = examples.learn(every(examples), ["features"], [])
    with pytest.raises(DataError, match=r"100 rows would be 0.0 GB.*widest are 'many' \(100\), 'x' \(1\)"):
        encoding.encode(examples, every(examples), ["features"])  # 100 x 101 numbers of 4 bytes
    assert len(encoding.encode(examples, np.arange(10), ["features"])) == 10


@pytest.mark.parametrize(
    ("fields", "path", "said"),
    [
        ({"columns": {"age": "nmber"}}, ("columns", "age"), "unknown kind of column 'nmber'"),
        (
            {"columns": {"age": {"number": {"missing": "avg"}}}},
            ("columns", "age", "number", "missing"),
            "'avg'",
        ),
        ({"columns": {"age": {"number": {"bins": 0}}}}, ("columns", "age", "number", "bins"), "too small"),
        ({"columns": ["age"]}, ("columns",), "this is a list"),
        ({"separator": ";;"}, ("separator",), "no separator"),
        ({"separator": ""}, ("separator",), "is text"),
        ({"separator": ' " '}, ("separator",), "no separator"),
        ({"encoding": "utf-9"}, ("encoding",), "unknown encoding"),
        ({"encoding": "hex"}, ("encoding",), "unknown encoding"),
        ({"encoding": "rot13"}, ("encoding",), "unknown encoding"),
        ({"header": ["a", "a"]}, ("header",), "given twice"),
        ({"scale": "bins"}, ("scale",), "'bins'"),
        ({"fle": "x.csv"}, ("fle",), "unknown field"),
    ],
)
def test_mistakes_in_a_description_have_their_place(
    fields: dict[str, Any], path: tuple[str, ...], said: str
) -> None:
    with pytest.raises(Invalid) as error:
        build(Table, fields)
    assert error.value.faults[0].path == path
    assert said in error.value.faults[0].found


def test_canonical_data_builds_the_same_reader() -> None:
    table = build(
        Table,
        {
            "file": "t.csv",
            "columns": {"a": "skip", "b": {"number": "none"}, "c": ["category", {"minimum": 3}]},
        },
    )
    again = build(Table, json.loads(json.dumps(data_of(table))))
    assert data_of(again) == data_of(table)
    assert again.columns["c"].minimum == 3
