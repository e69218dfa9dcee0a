"""Cross-validation: each example is held out once, each fold is a run of its own, and all can be resumed."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import CheckpointError, DataError, SpecError
from cortex_core.network import network
from cortex_core.splits import Stratified
from cortex_core.training.callbacks import Callback
from cortex_core.training.checkpoint import load
from cortex_core.training.folds import cross_validate
from cortex_core.training.train import train
from cortex_core.training.trainer import Interrupted
from tests.core.training.networks import blobs, description, states
from tests.core.training.test_resume import PressCtrlC


def run(spec: Any, out: Path | None = None, **options: Any) -> Any:
    return cross_validate(spec, blobs(), out=out, progress=False, **{"folds": 3, **options})


class Rows(Callback):
    """The rows of the parts of each run; copies share the list."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, Any]] = []

    def __deepcopy__(self, memo: Any) -> Rows:
        made = Rows()
        made.seen = self.seen
        return made

    def start(self, trainer: Any) -> None:
        self.seen.append(trainer.data.rows)


COUNTED: list[int] = []


class Count(Callback):
    """Counts epochs, as a callback that stops early would."""

    def __init__(self) -> None:
        super().__init__()
        self.state = {"epochs": 0}

    def epoch(self, trainer: Any) -> None:
        self.state = {"epochs": self.state["epochs"] + 1}
        COUNTED.append(self.state["epochs"])


def test_each_fold_has_callbacks_of_its_own(tmp_path: Path) -> None:
    given = Count()
    run(description(epochs=2), tmp_path, callbacks=[given])
    assert COUNTED == [1, 2, 1, 2, 1, 2]
    assert given.state == {"epochs": 0}


def test_each_example_is_held_out_once_and_never_trained_on_then(tmp_path: Path) -> None:
    rows = Rows()
    run(description(epochs=1, validation=0.2, split="stratified"), tmp_path, callbacks=[rows])
    held = [r["test"] for r in rows.seen]
    expected = Stratified().folds(np.arange(50), 3, lambda name: blobs()["label"])
    assert [r.tolist() for r in held] == [r.tolist() for r in expected]
    for parts in rows.seen:
        assert sorted(np.concatenate([parts[n] for n in ("train", "validation", "test")])) == list(range(50))
        assert len(parts["validation"]) == round(0.2 * (50 - len(parts["test"])))


def test_the_numbers_are_those_of_the_held_out_examples(tmp_path: Path) -> None:
    rows = Rows()
    made = run(description(epochs=2, split="random"), tmp_path, callbacks=[rows])
    assert [len(parts["test"]) for parts in rows.seen] == [17, 17, 16]
    for i, (one, parts) in enumerate(zip(made.runs, rows.seen)):
        x, label = (blobs()[name][parts["test"]] for name in ("x", "label"))
        chances = load(one.path / "model.cortex").predict(x).astype(float)
        assert made["accuracy"][i] == pytest.approx((chances.argmax(axis=1) == label).mean())
        assert made["loss"][i] == pytest.approx(-np.log(chances[np.arange(len(x)), label]).mean(), rel=1e-5)

    for name in ("loss", "accuracy"):
        assert made.mean[name] == pytest.approx(np.mean(made[name]))
        assert made.spread[name] == pytest.approx(np.std(made[name], ddof=1))


def test_the_folder(tmp_path: Path) -> None:
    made = run(description(epochs=1, split="random"), tmp_path / "x")
    names = {p.name for p in (tmp_path / "x").iterdir()}
    assert names == {"fold-1", "fold-2", "fold-3", "folds.csv", "summary.json"}
    rows = list(csv.DictReader((made.path / "folds.csv").read_text().splitlines()))
    assert [float(r["accuracy"]) for r in rows] == made["accuracy"]
    assert [int(r["examples"]) for r in rows] == [17, 17, 16]
    summary = json.loads((made.path / "summary.json").read_text())
    assert summary["mean"] == made.mean
    assert summary["spread"] == made.spread
    assert [r["path"] for r in summary["runs"]] == ["fold-1", "fold-2", "fold-3"]
    lines = str(made).splitlines()
    assert [line.split()[0] for line in lines] == ["fold", "1", "2", "3", "mean", "spread"]
    assert float(lines[4].split()[2]) == pytest.approx(made.mean["accuracy"], abs=5e-5)
    kept = (made.path / "fold-1" / "model.cortex").read_bytes()
    run(description(epochs=1, split="random", seed=9), tmp_path / "x")
    (aside,) = (p for p in tmp_path.iterdir() if p.name != "x")
    assert (aside / "fold-1" / "model.cortex").read_bytes() == kept


def test_a_fold_is_a_run_that_its_description_repeats(tmp_path: Path) -> None:
    made = run(description(epochs=2, split="random"), tmp_path / "x")
    text = tmp_path / "x" / "fold-2" / "description.yaml"
    again = train(text, blobs(), out=tmp_path / "y", progress=False)
    assert states(again.network) == states(made.runs[1].network)
    assert again.metrics == made.runs[1].metrics


@pytest.mark.parametrize("stop", [3, 8])
def test_interrupted_and_resumed_is_unbroken(tmp_path: Path, stop: int) -> None:
    class Second(PressCtrlC):
        """In the second fold."""

        def step(self, trainer: Any) -> None:
            if trainer.options.fold.number == 2:
                super().step(trainer)

    spec = description(epochs=2, split="stratified")
    unbroken = run(spec, tmp_path / "a")
    with pytest.raises(Interrupted, match=r"stopped in fold 2 of 3; go on with --folds 3 --resume .*b"):
        run(spec, tmp_path / "b", callbacks=[Second(stop)])
    assert not (tmp_path / "b" / "fold-3").exists()
    first = (tmp_path / "b" / "fold-1" / "model.cortex").stat()
    resumed = run(spec, resume=tmp_path / "b")
    assert resumed["loss"] == unbroken["loss"]
    assert all(states(a.network) == states(b.network) for a, b in zip(resumed.runs[1:], unbroken.runs[1:]))
    assert (tmp_path / "b" / "fold-1" / "model.cortex").stat().st_mtime_ns == first.st_mtime_ns


def test_what_cannot_be_cross_validated(tmp_path: Path) -> None:
    spec = description(epochs=1, split="stratified")
    with pytest.raises(SpecError, match="give its description"):
        run(network(spec), tmp_path)
    with pytest.raises(SpecError, match="folds is 1; at least 2"):
        run(spec, tmp_path, folds=1)
    with pytest.raises(DataError, match="51 folds of 50 examples"):
        run(spec, tmp_path, folds=51)
    with pytest.raises(CheckpointError, match=r"no fold-1.last.cortex to resume from"):
        run(spec, resume=tmp_path)
    with pytest.raises(SpecError, match="there is no fold 4: expected 1 to 3"):
        train(description(fold={"number": 4, "of": 3}), blobs(), out=tmp_path)
    run(spec, tmp_path / "a")
    with pytest.raises(CheckpointError, match=r"train\.fold is .*'of': 3.* in this run, .*'of': 4"):
        run(spec, resume=tmp_path / "a", folds=4)
