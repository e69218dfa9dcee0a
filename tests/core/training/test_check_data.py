"""What `check` says of the data that a description names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cortex_core.check import Report, check

TABLE = """\
inputs: {features: auto}
layers: [{dense: {units: 2, id: out}}]
loss: {softmax_cross_entropy: {of: out, target: colour}}
train:
  data: {table: {file: tabular/titanic.csv}}
"""
ROWS = "size,weight,colour\n" + "".join(f"{i % 4},{i * 1.5},{('red', 'blue')[i % 2]}\n" for i in range(40))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and no other place where data lie."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CORTEX_DATA", raising=False)
    monkeypatch.setenv("CORTEX_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def rows(here: Path) -> Path:
    """The table lies there."""
    (here / "tabular").mkdir()
    (here / "tabular" / "titanic.csv").write_text(ROWS)
    return here


def checked(here: Path, text: str = TABLE) -> Report:
    (here / "net.yaml").write_text(text)
    return check(here / "net.yaml")


def problem(here: Path, text: str) -> tuple[str, tuple[int | None, int | None]]:
    """The only problem, and its line and column."""
    (found,) = checked(here, text).problems
    return str(found), (found.place.line, found.place.column)


def test_data_at_hand(rows: Path) -> None:
    report = checked(rows)
    assert report.problems == ()
    (dense,) = report.layers
    assert (dense.output, dense.parameters) == ((2,), 5 * 2 + 2)  # four sizes and a weight
    assert report.description is not None
    assert report.description.canonical["inputs"]["features"]["shape"] == [5]
    assert report.memory is not None
    assert any("taken for category" in note and "'size'" in note for note in report.notes)
    narrower = checked(rows, TABLE.replace("titanic.csv}", "titanic.csv, columns: {size: number}}"))
    assert narrower.layers[0].parameters == 2 * 2 + 2


def test_data_that_are_not_here(here: Path) -> None:
    """A shape cannot be told without them; where all shapes are written nothing is wrong with that."""
    found, place = problem(here, TABLE)
    assert place == (5, 9)
    assert "train.data" in found
    assert "there is no data file 'tabular/titanic.csv'" in found
    assert found.endswith("`cortex data fetch titanic` brings it")
    report = checked(here, TABLE.replace("auto", "[11]"))
    assert report.problems == ()
    assert report.memory is not None
    (note,) = report.notes
    assert note.startswith("the data were not looked at: there is no data file 'tabular/titanic.csv'")


def test_other_mistakes_are_found_without_the_data(here: Path) -> None:
    text = TABLE.replace("units: 2", "unit: 2").replace("data:", "epochs: 0\n  data:")
    found = [str(p) for p in checked(here, text).problems]
    assert any("Did you mean 'units'?" in line for line in found)
    assert any("train.epochs" in line for line in found)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"{softmax_cross_entropy: ": "{mse: ", "units: 2": "units: 1"}, "'colour' of the data has classes"),
        ({"target: colour": "target: color"}, "Did you mean 'colour'?"),
        (
            {"units: 2": "units: 1"},
            "'out' has 1 output: 'colour' of the data has 2 classes; give 2 outputs, or other data "
            "(train.data=..., in evaluate --data)",
        ),
        (
            {"softmax_cross_entropy": "focal", "units: 2": "units: 1"},
            "'out' has 1 output: 'colour' of the data has 2 classes",
        ),
        (
            {"softmax_cross_entropy": "hinge", "units: 2": "units: 1", "target: colour": "target: size"},
            "'size' of the data has 4 classes: expected softmax_cross_entropy with 4 outputs, or two classes",
        ),
        (
            {"{softmax_cross_entropy: {": "{center_loss: {classes: 1, "},
            "'classes' is 1: 'colour' of the data has 2 classes",
        ),
        ({"features: auto": "sise: auto"}, "no column 'sise'. Did you mean 'size'?"),
        ({"features: auto": "features: [3]"}, "this input is [3]: in the data 'features' is [5]"),
        (
            {"titanic.csv}": "titanic.csv, columns: {size: skip, weigth: number}}"},
            "no column 'weigth'. Did you mean 'weight'?",
        ),
        ({"titanic.csv}": "titanic.csv, columns: {size: skip, weight: skip}}"}, "no column is left for"),
        ({"titanic.csv}}": "titanic.csv}}\n  test: part"}, "the data have no part 'part'; they have train"),
    ],
)
def test_what_does_not_suit_the_data(rows: Path, change: dict[str, str], expected: str) -> None:
    text = TABLE
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    found, (line, column) = problem(rows, text)
    assert expected in found
    assert line is not None
    assert column is not None


def test_a_number_that_has_few_values_may_be_declared_one(rows: Path) -> None:
    text = TABLE.replace("softmax_cross_entropy", "mse").replace("units: 2", "units: 1")
    found, place = problem(rows, text.replace("colour", "size"))
    assert place == (3, 8)
    assert "'size' of the data has classes, which mse would take for quantities" in found
    assert "{columns: {size: number}}" in found
    declared = text.replace("colour", "size").replace("titanic.csv}", "titanic.csv, columns: {size: number}}")
    assert checked(rows, declared).problems == ()


def test_a_number_is_no_class(rows: Path) -> None:
    text = TABLE.replace("colour", "size").replace("titanic.csv}", "titanic.csv, columns: {size: number}}")
    found, place = problem(rows, text)
    assert place == (3, 8)
    assert "'size' of the data is a number" in found
    assert "or a label: {columns: {size: label}}" in found
    declared = text.replace("size: number", "size: label").replace("units: 2", "units: 4")
    assert checked(rows, declared).problems == ()


@pytest.mark.parametrize(
    ("data", "column", "expected"),
    [
        ("{table: {fil: a.csv}}", 18, "Did you mean 'file'?"),
        ("{tabel: {file: a.csv}}", 10, "Did you mean 'table'?"),
        ("{table: {file: 3}}", 24, "train.data.table.file"),
        ("{table: {file: a.csv, scale: cubic}}", 38, "train.data.table.scale"),
        ("a.mat", 9, "'a.mat' is no file that is known: expected one of "),
        ("a.cvs", 9, "Did you mean '.csv'?"),
        ("pictures/", 9, "A folder of pictures is {images: {folder: ...}}"),
        ("titanc", 9, "Did you mean 'titanic'?"),
        ("[a.csv]", 10, "train.data"),
    ],
)
def test_data_wrongly_written_have_their_place(here: Path, data: str, column: int, expected: str) -> None:
    text = TABLE.replace("{table: {file: tabular/titanic.csv}}", data).replace("auto", "[3]")
    found, place = problem(here, text)
    assert expected in found
    assert place == (5, column)


def test_nothing_is_learned_where_nothing_is_trained(rows: Path) -> None:
    """Without a loss there is no target, and what is left for the features is not told."""
    text = TABLE.replace("loss: {softmax_cross_entropy: {of: out, target: colour}}\n", "")
    found, place = problem(rows, text)
    assert place == (1, 10)
    assert "'features' is auto, and no data tell its shape" in found


def test_a_data_set_tells_without_being_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from cortex_core.training.source import find

    iris: Any = find("iris")
    monkeypatch.setattr(type(iris), "load", lambda self, split: pytest.fail("it was read"))
    report = check(
        {
            "inputs": {"features": "auto"},
            "layers": [{"dense": {"units": 3, "id": "kind"}}],
            "loss": {"softmax_cross_entropy": {"of": "kind", "target": "label"}},
            "train": {"data": "iris"},
        }
    )
    assert report.problems == ()
    assert report.layers[0].parameters == 4 * 3 + 3
