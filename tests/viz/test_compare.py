"""Runs side by side: what they reached, and where their descriptions differ."""

from __future__ import annotations

import csv
import json
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from cortex_compute.errors import ArgumentError, CheckpointError
from cortex_core.training.history import History
from cortex_core.training.nonfinite import NonFiniteError
from cortex_core.training.run import load_run
from cortex_core.training.train import train
from cortex_viz.compare import ABSENT, Difference, compare, differences
from tests.conftest import Cli
from tests.core.training.networks import blobs, declare_wrong, description, line, plain
from tests.viz.browser import check_looks, errors, open_page, requests

SHARES = ("accuracy", "validation_accuracy")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three classifiers, the second with another optimizer, the third with a layer more; and a regression."""
    made = tmp_path_factory.mktemp("runs")
    other = description(epochs=2, validation=0.2)
    other["layers"] = [*other["layers"][:3], {"dense": {"units": 5, "id": "more"}}, *other["layers"][3:]]
    specs = {
        "adam": (description(validation=0.2), blobs()),
        "sgd": (description(validation=0.2, optimizer={"sgd": {"learning_rate": 0.05}}), blobs()),
        "more": (other, blobs()),
        "line": (plain(epochs=2, metrics=["mae"]), line()),
    }
    for name, (spec, data) in specs.items():
        train(spec, data, out=made / name, progress=False, report=False)
    return {name: made / name for name in specs}


def best(folder: Path, column: str) -> float:
    """From the file, as a person would look."""
    with (folder / "history.csv").open() as file:
        values = [float(row[column]) for row in csv.DictReader(file)]
    return max(values) if column in SHARES else min(values)


def test_the_best_of_each_metric_is_that_of_the_history(runs: dict[str, Path]) -> None:
    folders = [runs[name] for name in ("adam", "sgd", "more")]
    made = {n.name: n for n in compare(folders).numbers}
    for column in ("loss", "validation_loss", *SHARES):
        values = [best(folder, column) for folder in folders]
        assert list(made[column].values) == values
        assert made[column].best == (max(values) if column in SHARES else min(values))
    assert made["epochs"].values == (3, 3, 2)
    # dense 4 x 8 + 8, batch norm 2 x 8, dense 8 x 3 + 3; the third has 8 x 5 + 5 and 5 x 3 + 3 instead
    assert made["parameters"].values == (83, 83, 40 + 16 + 45 + 18)
    assert made["epochs"].best is made["parameters"].best is None


def test_a_number_that_only_some_have_is_missing_in_the_others(runs: dict[str, Path]) -> None:
    made = {n.name: n for n in compare([runs["adam"], runs["line"]]).numbers}
    assert made["mae"].values == (None, best(runs["line"], "mae"))
    assert made["mae"].lower
    assert made["mae"].best is None  # there is nothing to choose from
    assert made["accuracy"].values[1] is None


def test_each_run_has_what_is_better_of_its_own_metric(own_registry: None, tmp_path: Path) -> None:
    """One name, two metrics: shares that should grow, and shares that should fall."""
    declare_wrong("lower")
    for name, kind in (("a", "wrong"), ("b", "wrong"), ("c", "accuracy")):
        spec = description(metrics=[{kind: {"name": "share"}}], seed=ord(name), epochs=2)
        train(spec, blobs(), out=tmp_path / name, progress=False, report=False)
    falls = next(n for n in compare([tmp_path / "a", tmp_path / "b"]).numbers if n.name == "share")
    assert falls.values == tuple(min(load_run(tmp_path / n).history["share"]) for n in "ab")
    assert falls.best == min(falls.values)
    mixed = next(n for n in compare([tmp_path / "a", tmp_path / "c"]).numbers if n.name == "share")
    shares = [load_run(tmp_path / n).history["share"] for n in "ac"]
    assert mixed.values == (min(shares[0]), max(shares[1]))
    assert mixed.best is None


def test_small_numbers_are_told_apart(runs: dict[str, Path]) -> None:
    one, other = compare([runs["adam"], runs["sgd"]]).runs.values()
    one.history = History([{"epoch": 1, "loss": 3e-5}])
    other.history = History([{"epoch": 1, "loss": 1.25e-5}])
    line = next(row for row in str(compare([one, other])).splitlines() if row.startswith("loss"))
    assert line.split() == ["loss", "3e-05", "1.25e-05*"]


def test_differences_of_descriptions(runs: dict[str, Path]) -> None:
    found = {d.path: d.values for d in compare([runs["adam"], runs["sgd"], runs["more"]]).differences}
    assert set(found) == {"layers.more", "layers.dropout.from", "train.optimizer", "train.epochs"}
    assert found["train.epochs"] == (3, 3, 2)
    assert found["layers.dropout.from"] == ("relu", "relu", "more")
    assert found["layers.more"][:2] == (ABSENT, ABSENT)
    assert found["layers.more"][2]["dense"]["units"] == 5
    assert found["train.optimizer"][1]["sgd"]["learning_rate"] == 0.05


def test_nothing_is_the_best_across_different_data(runs: dict[str, Path], tmp_path: Path) -> None:
    cut = {name: values[:30] for name, values in blobs().items()}
    train(description(validation=0.2), cut, out=tmp_path / "few", progress=False, report=False)
    made = compare([runs["adam"], tmp_path / "few"])
    whole = len(blobs()["label"])
    assert made.notes == [
        f"these runs are of different data (adam of {whole} examples, few of 30 examples): "
        "no number is the best of its row"
    ]
    assert made.notes[0] in str(made)
    assert made.notes[0] in made.html()
    assert "*" not in str(made)
    assert "<strong>" not in made.html()
    assert "best of its row." not in made.html()
    assert compare([runs["adam"], runs["sgd"]]).notes == []


def test_data_are_those_that_the_description_names(tmp_path: Path) -> None:
    arrays = blobs()
    lines = (f"{','.join(map(str, x))},k{y}" for x, y in zip(arrays["x"], arrays["label"]))
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["a,b,c,d,label", *lines]))
    sources = {
        "iris": "iris",
        "one": {"table": {"file": str(table)}},
        "scaled": {"table": {"file": str(table), "scale": "none"}},
    }
    for name, source in sources.items():
        spec = json.dumps(description(epochs=1, data=source)).replace('"x"', '"features"')
        train(json.loads(spec), out=tmp_path / name, progress=False, report=False)
    assert compare([tmp_path / "one", tmp_path / "scaled"]).notes == []
    assert f"(one of {table}, iris of iris)" in compare([tmp_path / "one", tmp_path / "iris"]).notes[0]


def test_a_run_that_broke_off_is_told(runs: dict[str, Path], tmp_path: Path) -> None:
    spec = description(validation=0.2, optimizer={"sgd": {"learning_rate": 1e30}})
    with pytest.raises(NonFiniteError):
        train(spec, blobs(), out=tmp_path / "nan", progress=False, report=False)
    (note,) = compare([runs["adam"], tmp_path / "nan"]).notes
    assert note.startswith("nan has no end yet")


def test_equal_descriptions_have_no_differences() -> None:
    assert list(differences("", [{"a": [1, {"b": 2}]}] * 3)) == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (({"a": 1, "b": 2}, {"a": 1, "b": 3}), {"b": (2, 3)}),
        (({"a": 1}, {"b": 1}), {"": ({"a": 1}, {"b": 1})}),  # one key each: two kinds of one thing
        (({"a": 1, "b": 1}, {"b": 1}), {"a": (1, ABSENT)}),
        (([1, 2], [1, 3]), {"": ([1, 2], [1, 3])}),
        (({"a": None, "b": 1}, {"a": {"c": 1}, "b": 1}), {"a": (None, {"c": 1})}),
        (([{"x": {"id": "p", "u": 1}}], [{"x": {"id": "p", "u": 2}}]), {"p.u": (1, 2)}),
        (([{"x": {"id": "p"}}], []), {"p": ({"x": {"id": "p"}}, ABSENT)}),
        (([{"x": {"id": "p"}}], [{"y": {"id": "p"}}]), {"p": ({"x": {"id": "p"}}, {"y": {"id": "p"}})}),
        (([{"x": {}}], [{"y": {}}]), {"": ([{"x": {}}], [{"y": {}}])}),
        ((1, True), {}),  # as YAML's data compare
    ],
)
def test_where_data_differ(values: Any, expected: dict[str, Any]) -> None:
    assert list(differences("", values)) == [Difference(p, v) for p, v in expected.items()]


def test_runs_are_called_by_their_folders(runs: dict[str, Path], tmp_path: Path) -> None:
    assert list(compare([runs["adam"], runs["sgd"]]).runs) == ["adam", "sgd"]
    train(plain(), line(), out=tmp_path / "adam", progress=False, report=False)
    same = compare([runs["adam"], tmp_path / "adam"])
    assert list(same.runs) == [str(runs["adam"]), str(tmp_path / "adam")]


class Page(HTMLParser):
    """The tables of a page: what their cells say, and the numbers in them; the data of its charts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.charts: list[Any] = []
        self.tags: set[str] = set()
        self.inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        given = dict(attributes)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.inside = "cell"
            self.rows[-1].append("")
        elif tag == "data":
            self.rows[-1][-1] = given["value"] or ""
            self.inside = ""
        elif tag == "script":
            self.inside = "json" if given.get("type") == "application/json" else ""

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "script", "data"):
            self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "cell":
            self.rows[-1][-1] += data
        elif self.inside == "json":
            self.charts.append(json.loads(data))


def test_the_page_has_the_numbers_the_curves_and_the_differences(runs: dict[str, Path]) -> None:
    made = compare([runs["adam"], runs["more"]])
    page = Page(made.html())
    rows = {row[0]: row[1:] for row in page.rows}
    for column in ("loss", "validation_loss", *SHARES):
        assert [float(v) for v in rows[column.replace("_", " ")]] == [
            best(runs[n], column) for n in ("adam", "more")
        ]
    assert rows["train.epochs"] == ["3", "2"]
    assert rows["layers.more"][0] == "–"
    assert "units: 5" in rows["layers.more"][1]
    charts = [[s["y"] for s in chart["series"]] for chart in page.charts]
    histories = [run.history for run in made.runs.values()]
    assert charts == [[h[c] for h in histories] for c in ("loss", "accuracy", "validation_loss", SHARES[1])]
    assert [s["name"] for s in page.charts[0]["series"]] == ["adam", "more"]


def test_names_are_text(runs: dict[str, Path], tmp_path: Path) -> None:
    hostile = tmp_path / "<img src=x onerror=alert(1)> & \u202e"
    train(plain(), line(), out=hostile, progress=False, report=False)
    made = compare([hostile, runs["line"]])
    page = Page(made.html())
    assert "img" not in page.tags
    assert any("<img src=x" in cell for row in page.rows for cell in row)
    assert "\u202e" not in str(made)


def test_runs_without_an_epoch_and_with_numbers_that_are_none(runs: dict[str, Path]) -> None:
    empty, odd = compare([runs["adam"], runs["line"]]).runs.values()
    empty.history = History()
    odd.history = History([{"epoch": 1, "loss": math.nan}, {"epoch": 2, "loss": math.inf}])
    made = compare([empty, odd])
    numbers = {n.name: n for n in made.numbers}
    assert numbers["loss"].values == (None, math.inf)
    assert numbers["loss"].epochs == (None, 2)
    assert "inf" in str(made)
    assert "no finite number" in made.html()
    odd.history = History()
    assert "No epoch of these runs has ended" in compare([empty, odd]).html()


def test_what_cannot_be_compared(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="two or more runs"):
        compare([runs["adam"]])
    with pytest.raises(ArgumentError, match=r"adam is given twice; give each run once"):
        compare([runs["adam"], runs["sgd"], runs["sgd"] / ".." / "adam"])
    with pytest.raises(CheckpointError, match="expected the folder of a run"):
        compare([runs["adam"], tmp_path])
    with pytest.raises(CheckpointError, match="no such folder"):
        compare([runs["adam"], tmp_path / "none"])


def test_the_command(cli: Cli, runs: dict[str, Path], tmp_path: Path) -> None:
    page, file = tmp_path / "runs.html", tmp_path / "runs.json"
    said = cli("compare", runs["adam"], runs["sgd"], "--out", page, "--json", file)
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0].split() == ["adam", "sgd"]
    loss = next(row for row in lines if row.startswith("loss")).split()
    assert [x.rstrip("*") for x in loss[1:]] == [f"{best(runs[n], 'loss'):.4g}" for n in ("adam", "sgd")]
    assert loss[1].endswith("*") != loss[2].endswith("*")
    at = lines.index("train.optimizer")
    assert lines[at + 2].strip().startswith("sgd   sgd: {learning_rate: 0.05")
    assert page.read_text().startswith("<!doctype html>")
    data = json.loads(file.read_text())
    assert [run["path"] for run in data["runs"]] == [str(runs["adam"]), str(runs["sgd"])]
    numbers = {n["name"]: n["values"] for n in data["numbers"]}
    assert numbers["validation_loss"]["sgd"] == best(runs["sgd"], "validation_loss")
    assert [d["path"] for d in data["differences"]] == ["train.optimizer"]


def test_the_command_refuses_what_it_cannot_do(cli: Cli, runs: dict[str, Path], tmp_path: Path) -> None:
    assert cli("compare").code == 2
    assert cli("compare", runs["adam"]).code == 2
    assert "ends in .html" in cli("compare", runs["adam"], runs["sgd"], "--out", tmp_path / "x.pdf").err
    assert "neither model.cortex" in cli("compare", runs["adam"], tmp_path).err


@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_in_a_browser(browser: Any, runs: dict[str, Path], tmp_path: Path, width: int) -> None:
    page = tmp_path / "runs.html"
    page.write_text(compare(list(runs.values())).html())
    open_page(browser, page, width)
    check_looks(browser)
    lines = "return document.querySelector('.chart').querySelectorAll('g[data-name]').length"
    assert browser.execute_script(lines) == 4
    assert errors(browser) == []
    assert requests(browser) == []
