"""From a raw table to a model and back, on the command line."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

import cortex
from cortex.command.main import run
from cortex_core.spec import read
from tests.conftest import Cli

SPEC = """\
inputs: {features: auto}
layers:
  - dense: {units: 8, activation: tanh}
  - dense: {units: 2, id: told}
loss: {softmax_cross_entropy: {of: told, target: eats}}
train:
  data: {table: {file: birds.csv, columns: {eats: label}}}
  test: 0.2
  split: stratified
  optimizer: {adam: {learning_rate: 0.05}}
  batch_size: 16
  epochs: 8
"""
HEADER = "beak,wing,island,eats"


def rows(count: int, seed: int) -> list[str]:
    """Long beaks eat fish; some wings were not measured."""
    draw = np.random.default_rng(seed)
    made = []
    for i in range(count):
        beak = draw.uniform(1, 9)
        wing = "" if i % 8 == 0 else f"{draw.uniform(20, 30):.2f}"
        made.append(f"{beak:.2f},{wing},{('north', 'south')[i % 2]},{'fish' if beak > 5 else 'seeds'}")
    return made


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join([*lines, ""]))
    return path


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a description, its table, and the run ``run``."""
    folder = tmp_path_factory.mktemp("birds")
    write(folder / "birds.csv", HEADER, *rows(120, 0))
    (folder / "birds.yaml").write_text(SPEC)
    assert run(["train", str(folder / "birds.yaml"), "--out", str(folder / "run")]) == 0
    return folder


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """Rows without labels."""
    return write(tmp_path / "new.csv", "beak,wing,island", "8.5,25,north", "1.5,22,south", "7,30,south")


def test_a_run_says_and_keeps_what_was_done(cli: Cli, birds: Path, tmp_path: Path) -> None:
    said = cli("train", birds / "birds.yaml", "--out", tmp_path / "run", "train.epochs=1")
    assert said.code == 0
    counted = dict(re.findall(r"note: (train|test): wing: (\d+) missing cells? filled with", said.err))
    assert set(counted) == {"train", "test"}
    assert sum(map(int, counted.values())) == 120 / 8
    assert said.err.rindex("note: ") < said.err.index("epoch")
    data = json.loads((tmp_path / "run" / "summary.json").read_text())["data"]
    assert data["examples"] == {"train": 96, "test": 24}
    assert any(note.startswith("train: wing: ") for note in data["notes"])
    assert any("taken for category: 'island'" in note for note in data["notes"])
    header, *epochs = csv.reader((tmp_path / "run" / "history.csv").read_text().splitlines())
    assert "waiting_seconds" in header
    assert len(epochs) == 1
    # A beak, a wing and whether it is missing, two islands.
    assert read(tmp_path / "run" / "description.yaml").inputs[0].shape == (5,)


def test_classes_have_their_names(cli: Cli, birds: Path, new: Path) -> None:
    said = cli("predict", birds / "run", new)
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0].split() == ["example", "told", "probability"]
    assert [line.split()[:2] for line in lines[2:]] == [["0", "fish"], ["1", "seeds"], ["2", "fish"]]


def test_a_csv_has_the_class_first_and_each_probability_by_its_name(
    cli: Cli, birds: Path, new: Path, tmp_path: Path
) -> None:
    assert cli("predict", birds / "run", new, "--out", tmp_path / "out.csv").code == 0
    header, *lines = csv.reader((tmp_path / "out.csv").read_text().splitlines())
    assert header == ["told", "told.fish", "told.seeds"]
    found = np.array([[float(x) for x in line[1:]] for line in lines])
    np.testing.assert_allclose(
        found, cortex.load(birds / "run" / "model.cortex").predict(new), rtol=1e-6, atol=1e-9
    )
    assert [line[0] for line in lines] == [("fish", "seeds")[i] for i in found.argmax(axis=1)]
    assert cli("predict", birds / "run", new, "--out", tmp_path / "out.npz").code == 0
    np.testing.assert_allclose(np.load(tmp_path / "out.npz")["told"], found, rtol=1e-6, atol=1e-9)


def test_what_training_did_not_see_is_said(cli: Cli, birds: Path, tmp_path: Path) -> None:
    path = write(
        tmp_path / "odd.csv",
        "beak,wing,island,eats,ring",
        "2,,east,,7",
        ",25,north,,8",
        "long,24,west,fish,9",
    )
    said = cli("predict", birds / "run", path)
    assert said.code == 0
    notes = [line for line in said.err.splitlines() if line.startswith("note: ")]
    assert len(notes) == len(said.err.splitlines()) == 5
    assert "beak: 1 cell of 3 no number of float32: 'long' in odd.csv, line 4, taken as missing" in said.err
    assert re.search("beak: 2 missing cells filled with .*, though training had none", said.err)
    assert "wing: 1 missing cell filled with" in said.err
    assert "island: 2 cells with names that training did not see, such as 'east'" in said.err
    assert "1 column not read, training had none such: 'ring'" in said.err
    assert len(said.out.splitlines()) == 2 + 3  # each row has its answer
    network = cortex.load(birds / "run" / "model.cortex")
    with pytest.warns(UserWarning) as caught:  # noqa: PT030 (all of them are looked at below)
        network.predict(path)
    assert [f"note: {warning.message}" for warning in caught] == notes


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("beek,wing,island", "has no column 'beak'. Did you mean 'beek'?"),
        ("beak,Wing,island", "has no column 'wing'. Did you mean 'Wing'?"),
        ("a,b,c", "has no column 'beak', 'wing', 'island'"),
    ],
)
def test_a_changed_header(cli: Cli, birds: Path, tmp_path: Path, header: str, expected: str) -> None:
    said = cli("predict", birds / "run", write(tmp_path / "t.csv", header, "1,2,north"))
    assert (said.code, said.out) == (2, "")
    assert expected in said.err
    assert "t.csv" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("name", "lines", "expected"),
    [
        ("nowhere.csv", None, "there is no data file"),
        ("empty.csv", [""], "empty.csv"),
        ("none.csv", ["beak,wing,island"], "none.csv"),
        ("short.csv", ["beak,wing,island", "1,2"], "short.csv"),
    ],
)
def test_wrong_rows(
    cli: Cli, birds: Path, tmp_path: Path, name: str, lines: list[str] | None, expected: str
) -> None:
    path = write(tmp_path / name, *lines) if lines is not None else tmp_path / name
    said = cli("predict", birds / "run", path)
    assert (said.code, said.out) == (2, "")
    assert expected in said.err


def test_measured_on_its_own_data_and_on_others(
    cli: Cli, birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(birds)
    said = cli("evaluate", birds / "run", "--json", "-")
    assert said.code == 0
    own = json.loads(said.out)
    summary = json.loads((birds / "run" / "summary.json").read_text())
    assert own["accuracy"] == pytest.approx(summary["metrics"]["test"]["accuracy"])
    assert np.sum(own["confusion_matrix"]) == 24
    assert own["confusion_matrix"] == summary["confusion"]
    assert summary["classes"] == ["fish", "seeds"]
    other = write(tmp_path / "other.csv", HEADER, *rows(30, 7))
    said = cli("evaluate", birds / "run", "--data", other, "--json", "-")
    found = json.loads(said.out)
    assert "note: wing: 4 missing cells filled with" in said.err
    network = cortex.load(birds / "run" / "model.cortex")
    with pytest.warns(UserWarning, match="wing: 4 missing cells"):
        told = network.predict(other).argmax(axis=1)
    true = [("fish", "seeds").index(line.rsplit(",", 1)[1]) for line in rows(30, 7)]
    assert found["accuracy"] == pytest.approx(np.mean(told == true))


def test_a_data_frame_is_a_table(birds: Path, new: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    network = cortex.load(birds / "run" / "model.cortex")
    frame = pandas.read_csv(new)
    np.testing.assert_array_equal(network.predict(frame), network.predict(new))
    np.testing.assert_array_equal(network.predict(frame.to_dict("records")), network.predict(new))
    np.testing.assert_array_equal(network.predict(frame.to_dict("list")), network.predict(new))
    labelled = write(tmp_path / "other.csv", HEADER, *rows(30, 7))
    with pytest.warns(UserWarning, match="wing: 4 missing cells"):
        expected = cortex.evaluate(network, labelled)["loss"]
    with pytest.warns(UserWarning, match="wing: 4 missing cells"):
        assert cortex.evaluate(network, pandas.read_csv(labelled))["loss"] == expected
    trained = cortex.train(
        birds / "birds.yaml", data=pandas.read_csv(birds / "birds.csv"), out=tmp_path / "run", progress=False
    )
    for name, array in network.parameters.items():
        np.testing.assert_array_equal(trained.network.parameters[name], array)


@pytest.mark.parametrize(
    ("header", "lines", "expected"),
    [
        ("beak,wing,island", ["1,2,north"], "eats"),
        (HEADER, ["1,2,north,"], "eats"),
        (HEADER, ["1,2,north,worms"], "'worms' in"),
    ],
)
def test_labels_that_are_missing_or_new(
    cli: Cli, birds: Path, tmp_path: Path, header: str, lines: list[str], expected: str
) -> None:
    said = cli("evaluate", birds / "run", "--data", write(tmp_path / "t.csv", header, *lines))
    assert (said.code, said.out) == (2, "")
    assert expected in said.err
    assert "t.csv" in said.err


def test_measures_in_their_unit(cli: Cli, birds: Path, tmp_path: Path) -> None:
    """A regression: the wing from the beak and the island, told in millimetres."""
    text = SPEC.replace("units: 2", "units: 1").replace("softmax_cross_entropy", "mse")
    text = text.replace("target: eats", "target: wing").replace(
        "{eats: label}", "{wing: {number: {missing: drop}}}"
    )
    (birds / "wing.yaml").write_text(text.replace("stratified", "random"))
    assert cli("train", birds / "wing.yaml", "--out", tmp_path / "run").code == 0
    path = write(tmp_path / "new.csv", "beak,island,eats", "8.5,north,fish", "1.5,south,seeds")
    assert cli("predict", tmp_path / "run", path, "--out", tmp_path / "out.csv").code == 0
    header, *lines = (tmp_path / "out.csv").read_text().splitlines()
    assert header == "told.0"
    assert all(15 < float(line) < 35 for line in lines)  # wings of 20 to 30
    raw = cortex.load(tmp_path / "run" / "model.cortex").predict(path, raw=True)
    assert (abs(raw) < 5).all()


def test_more_outputs_than_named_classes(cli: Cli, birds: Path, tmp_path: Path) -> None:
    """Which output would be which class, nobody knows: they are numbers."""
    (birds / "six.yaml").write_text(SPEC.replace("units: 2", "units: 6").replace("epochs: 8", "epochs: 1"))
    assert cli("train", birds / "six.yaml", "--out", tmp_path / "run").code == 0
    model = tmp_path / "run" / "model.cortex"
    said = cli("predict", model, birds / "birds.csv")
    assert said.code == 0
    assert said.out.splitlines()[0].split() == ["example", "told", "probability"]
    assert {line.split()[1] for line in said.out.splitlines()[2:22]} <= set("012345")
    assert cli("predict", model, birds / "birds.csv", "--out", tmp_path / "out.csv").code == 0
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == ",".join(f"told.{i}" for i in range(6))
    np.testing.assert_allclose(np.loadtxt(lines[1:], delimiter=",").sum(axis=1), 1, rtol=1e-5)


def test_classes_at_each_place_of_a_text(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path / "names.txt", *["anna", "bob"] * 12)
    (tmp_path / "names.yaml").write_text("""\
inputs: {text: auto}
layers:
  - embedding: {tokens: 9, units: 3}
  - dense: {units: 9, id: y}
loss: {softmax_cross_entropy: {of: y, target: next, ignore_index: 0}}
train: {data: {lines: {file: names.txt}}, epochs: 1, batch_size: 8}
""")
    assert cli("train", tmp_path / "names.yaml", "--out", tmp_path / "run").code == 0
    model, out = tmp_path / "run" / "model.cortex", tmp_path / "out.csv"
    assert cli("predict", model, tmp_path / "names.txt", "--out", out).code == 0
    table = np.loadtxt(out.read_text().splitlines()[1:], delimiter=",")
    expected = cortex.load(model).predict(str(tmp_path / "names.txt"))
    assert expected.ndim == 3
    np.testing.assert_allclose(table, expected.reshape(24, -1), rtol=1e-6)
    assert cli("predict", model, tmp_path / "names.txt").code == 0
