"""The parts of a training's data: told by its files, asked for, or given beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import DataError, SpecError
from cortex_core.training.callbacks import Callback
from cortex_core.training.run import Run
from tests.core.training.points import fitting, lines, save, telling

OWN_TEST = {"points": {"file": "points.dots", "test": "test.dots"}}


class Look(Callback):
    """What the parts of a training are."""

    def start(self, trainer: Any) -> None:
        self.rows = {name: rows.tolist() for name, rows in trainer.data.rows.items()}
        self.validation = trainer.data.validation


def parts(spec: Any, **options: Any) -> tuple[dict[str, list[int]], Run]:
    look = Look()
    run = cortex.train(spec, out="run", progress=False, callbacks=[look], **options)
    return look.rows, run


def test_all_is_trained_on_where_nothing_is_held_out(points: Path) -> None:
    rows, run = parts(telling())
    assert rows == {"train": list(range(40))}
    assert set(run.metrics) == {"train"}


def test_fractions_are_taken_one_after_the_other(points: Path) -> None:
    """A quarter for the test, of the thirty that are left a fifth to validate on."""
    rows, run = parts(telling(test=0.25, validation=0.2))
    assert rows == {
        "train": list(range(24)),
        "validation": list(range(24, 30)),
        "test": list(range(30, 40)),
    }
    assert set(run.metrics) == {"train", "validation", "test"}


def test_a_test_part_in_a_file_of_its_own(points: Path) -> None:
    save(points / "test.dots", 10, seed=1)
    rows, run = parts(fitting(OWN_TEST, validation=0.25, epochs=1))
    assert rows == {
        "train": list(range(30)),
        "validation": list(range(30, 40)),
        "test": list(range(40, 50)),
    }
    # By another way: float64, with the scales of the thirty rows.
    train, test = lines(points / "points.dots")[:30], lines(points / "test.dots")
    scaled = {}
    for name in ("x", "y"):
        known = np.array([row[name] for row in train])
        scaled[name] = (np.array([row[name] for row in test]) - known.mean()) / known.std()
    p = {name: array.astype(float).item() for name, array in run.network.parameters.items()}
    error = p["out/kernel"] * scaled["x"] + p["out/bias"] - scaled["y"]
    assert run.metrics["test"]["loss"] == pytest.approx((error**2).mean(), rel=1e-4)


def test_a_fraction_beside_a_test_part_is_refused(points: Path) -> None:
    save(points / "test.dots", 10, seed=1)
    with pytest.raises(DataError, match=r"train\.test is 0\.2, but the data have a test part: leave it out"):
        parts(telling(OWN_TEST, test=0.2))
    assert not (points / "run").exists()


def test_a_part_is_named(points: Path) -> None:
    save(points / "test.dots", 10, seed=1)
    rows, run = parts(telling(OWN_TEST, validation="test"))
    assert rows["validation"] == rows["test"] == list(range(40, 50))
    assert run.metrics["validation"]["loss"] == pytest.approx(run.metrics["test"]["loss"], rel=1e-5)
    with pytest.raises(DataError, match=r"train\.test: the data have no part 'tset'; they have train, test"):
        parts(telling(OWN_TEST, test="tset"))
    with pytest.raises(DataError, match=r"validation: unknown data set .tset.*parts are train, test"):
        parts(telling(OWN_TEST, validation="tset"))


def kinds(rows: list[int]) -> dict[str, int]:
    given = lines(Path("points.dots"))
    values, counts = np.unique([given[row]["kind"] for row in rows], return_counts=True)
    return dict(zip(values.tolist(), counts.tolist()))


@pytest.mark.parametrize(
    "split", ["last", "random", "stratified", {"stratified": {"by": "kind"}}, {"grouped": "kind"}]
)
def test_ways_to_split(points: Path, split: Any) -> None:
    rows, _ = parts(telling(test=0.5, split=split))
    assert sorted(rows["train"] + rows["test"]) == list(range(40))
    whole, test = kinds(list(range(40))), kinds(rows["test"])
    if split == "last":
        assert rows["test"] == list(range(20, 40))
    elif split == "random":
        assert rows["test"] != list(range(20, 40))
        assert rows["test"] != parts(telling(test=0.5, split={"random": {"seed": 1}}))[0]["test"]
    elif "grouped" in split:
        assert len(test) == 1  # all of a kind stay together
        assert not set(kinds(rows["train"])) & set(test)
    else:
        assert {name: abs(count - whole[name] / 2) <= 1 for name, count in test.items()} == dict.fromkeys(
            whole, True
        )


def test_a_column_to_split_by_that_is_not_there(points: Path) -> None:
    with pytest.raises(DataError, match="no column 'passenger'"):
        parts(telling(test=0.5, split={"grouped": "passenger"}))
    with pytest.raises(SpecError, match="Did you mean 'stratified'"):
        parts(telling(test=0.5, split="stratfied"))


def test_other_rows_to_validate_on(points: Path) -> None:
    """As a file, and as objects: encoded by what the training part taught."""
    other = save(points / "other.dots", 12, seed=5)
    found = {}
    for name, given in {"list": other, "path": points / "other.dots", "name": "other.dots"}.items():
        _, run = parts(telling(), validation=given)
        found[name] = run.metrics["validation"]
    assert found["list"] == found["path"] == found["name"]
    assert parts(telling(validation="other.dots"))[1].metrics["validation"] == found["name"]
    centre = np.mean([row["x"] for row in lines(points / "points.dots")])
    assert run.network.encoding is not None
    assert run.network.encoding.scales["x"][0] == pytest.approx(centre)  # type: ignore[attr-defined]


def test_arrays_and_other_sets_to_validate_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = {
        "inputs": {"features": "auto"},
        "layers": [{"dense": {"units": 3, "id": "kind"}}],
        "loss": {"softmax_cross_entropy": {"of": "kind", "target": "label"}},
        "train": {"data": "iris", "epochs": 1},
    }
    _, run = parts(spec, validation="iris")  # its training part, which is named so
    assert run.metrics["validation"]["loss"] > 0
    _, run = parts(spec, validation={"features": np.zeros((6, 4)), "label": np.arange(6) % 3})
    p = run.network.parameters
    logits = p["kind/bias"].astype(float)
    expected = np.log(np.exp(logits).sum()) - logits.mean()
    assert run.metrics["validation"]["loss"] == pytest.approx(expected, rel=1e-5)
    with pytest.raises(DataError, match="'features'"):
        parts(spec, validation="digits")
    with pytest.raises(DataError, match="features"):
        parts(spec, validation={"features": np.zeros((6, 5)), "label": np.arange(6) % 3})


def test_no_examples_to_train_on(points: Path) -> None:
    (points / "points.dots").write_text("")
    with pytest.raises(DataError, match="no examples to train on"):
        parts(telling())


@pytest.mark.parametrize("target", ["summary", "file"])
def test_the_summary_says_what_the_data_were(points: Path, target: str) -> None:
    save(points / "test.dots", 10, seed=1)
    _, run = parts(telling(OWN_TEST, validation=0.25, epochs=2))
    summary = run.summary if target == "summary" else json.loads((run.path / "summary.json").read_text())
    assert summary["data"]["examples"] == {"train": 30, "validation": 10, "test": 10}
    assert summary["data"]["notes"][:2] == ["50 points read", "x and y are standardised"]
    assert all(0 <= seconds < 60 for seconds in run.history["waiting_seconds"])
    assert len(run.history["waiting_seconds"]) == 2


def test_notes_are_said_at_the_start(points: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cortex.train(telling(), out="run", progress=None)
    said = capfd.readouterr().err
    assert "50 points" not in said
    assert said.index("40 points read") < said.index("x and y are standardised") < said.index("epoch")


def test_files_are_looked_for_beside_the_description(
    points: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from cortex_core.spec import read
    from cortex_core.spec.write import to_yaml

    (points / "net.yaml").write_text(to_yaml(read(telling()).canonical))
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert parts(points / "net.yaml")[0] == {"train": list(range(40))}
    with pytest.raises(DataError, match=r"there is no data file 'points\.dots'; looked for "):
        parts(telling())
