"""What a run leaves, and how it is read back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import CheckpointError
from cortex_core.training.callbacks import Callback
from cortex_core.training.folds import cross_validate
from cortex_core.training.history import read_history
from cortex_core.training.train import train
from cortex_core.training.trainer import Interrupted, Trainer
from tests.core.training.networks import blobs, description


def test_a_run_is_read_back(tmp_path: Path) -> None:
    run = train(description(validation=0.2), blobs(), out=tmp_path, progress=False)
    again = cortex.load_run(tmp_path)
    assert again.history.rows == run.history.rows
    assert again.summary == json.loads((tmp_path / "summary.json").read_text())
    assert again.metrics == run.metrics
    assert again.confusion is not None
    np.testing.assert_array_equal(again.confusion, run.confusion)
    assert again.classes == run.classes
    for name, array in run.network.parameters.items():
        np.testing.assert_array_equal(again.network.parameters[name], array)


class Stop(Callback):
    """Ends a training as Ctrl-C does, after some steps."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def step(self, trainer: Trainer) -> None:
        if trainer.step == self.after:
            trainer.interrupt()


def test_a_run_that_was_cut_short_is_read_back_and_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    whole = train(description(epochs=2), blobs(), out=tmp_path / "whole", progress=False)
    with pytest.raises(Interrupted, match="after step 10"):
        train(description(epochs=2), blobs(), out=tmp_path / "cut", progress=False, callbacks=[Stop(10)])
    cut = cortex.load_run(tmp_path / "cut")
    assert (len(cut.history), cut.summary, cut.metrics) == (1, {}, {})
    resumed = train(data=blobs(), resume=tmp_path / "cut", progress=False)
    for name, array in whole.network.parameters.items():
        np.testing.assert_array_equal(resumed.network.parameters[name], array)


@pytest.mark.parametrize("what", ["empty", "none"])
def test_a_folder_without_a_run(tmp_path: Path, what: str) -> None:
    folder = tmp_path if what == "empty" else tmp_path / "none"
    told = "neither model.cortex nor last.cortex" if what == "empty" else "no such folder"
    with pytest.raises(CheckpointError, match=told):
        cortex.load_run(folder)


def test_the_folder_of_folds_names_its_runs(tmp_path: Path) -> None:
    cross_validate(description(epochs=1), blobs(), folds=2, out=tmp_path, progress=False, report=False)
    with pytest.raises(CheckpointError, match=f"name one, as {re.escape(str(tmp_path / 'fold-1'))}"):
        cortex.load_run(tmp_path)
    assert len(cortex.load_run(tmp_path / "fold-1").history) == 1


def test_a_summary_from_before_the_last_epochs_is_not_that_of_the_run(tmp_path: Path) -> None:
    train(description(epochs=1), blobs(), out=tmp_path, progress=False)
    with pytest.raises(Interrupted):
        train(data=blobs(), resume=tmp_path, epochs=4, progress=False, callbacks=[Stop(9)])
    assert cortex.load_run(tmp_path).metrics != {}  # no epoch has ended since
    with pytest.raises(Interrupted):
        train(data=blobs(), resume=tmp_path, epochs=4, progress=False, callbacks=[Stop(16)])
    cut = cortex.load_run(tmp_path)
    assert (len(cut.history), cut.summary, cut.metrics, cut.confusion, cut.classes) == (2, {}, {}, None, ())


def test_metrics_that_are_not_finite_are_read_back(tmp_path: Path) -> None:
    train(description(epochs=1), blobs(), out=tmp_path, progress=False)
    summary = json.loads((tmp_path / "summary.json").read_text())
    summary["metrics"]["train"]["loss"] = None
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert np.isnan(cortex.load_run(tmp_path).metrics["train"]["loss"])


RESULTS: dict[str, Any] = {
    "epochs": 1,
    "metrics": {"test": {"loss": 1}},
    "classes": ["a", "b"],
    "confusion": [[1, 0], [0, 1]],
}
WRONG: dict[str, list[Any]] = {
    "metrics": [None, [1], {"test": 1}, {"test": {"a": "b"}}],
    "classes": [None, "ab", [1, 2], ["a"]],
    "confusion": ["abc", [[1, 0]], [1, 2], [[1, 0], ["", 1]]],
}


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", '{"metrics": {}}', '{"metrics"'),
        *(json.dumps({k: v for k, v in RESULTS.items() if k != left_out}) for left_out in RESULTS),
        *(json.dumps({**RESULTS, name: wrong}) for name, many in WRONG.items() for wrong in many),
    ],
)
def test_a_damaged_summary(tmp_path: Path, text: str) -> None:
    train(description(epochs=1), blobs(), out=tmp_path, progress=False)
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"summary\.json is"):
        cortex.load_run(tmp_path)


@pytest.mark.parametrize("row", [b"1,x", b"1,0.5,3", b"\xff\xfe", b"1," + b"9" * 200_000], ids=range(4))
def test_a_damaged_history(tmp_path: Path, row: bytes) -> None:
    (tmp_path / "history.csv").write_bytes(b"epoch,loss\n" + row + b"\n")
    with pytest.raises(CheckpointError, match="is no history of a run"):
        read_history(tmp_path / "history.csv")


def test_a_history_with_gaps_and_numbers_that_are_not_finite(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("epoch,loss,accuracy\n1,nan,\n2,inf,0.5\n")
    history = read_history(tmp_path / "history.csv")
    assert history["epoch"] == [1, 2]
    assert np.isnan(history["loss"][0])
    assert history["loss"][1] == np.inf
    assert history["accuracy"] == [None, 0.5]


def test_the_memory_is_what_check_says(tmp_path: Path) -> None:
    np.savez(tmp_path / "blobs.npz", **blobs())  # type: ignore[arg-type]
    data = str(tmp_path / "blobs.npz")
    spec = description(epochs=1, batch_size=50, data=data, metrics=["accuracy"])
    run = train(spec, out=tmp_path / "run", progress=False, backend="numpy")
    told = cortex.check(spec).memory
    for part in ("parameters", "gradients", "moments", "workspace", "activations", "total", "arena"):
        assert run.summary["memory"][part] == getattr(told, part), part
    assert run.summary["memory"]["process"] > run.summary["memory"]["total"]


def test_where_it_ran(tmp_path: Path) -> None:
    summary = train(description(epochs=1), blobs(), out=tmp_path, progress=False, backend="numpy").summary
    assert summary["environment"]["numpy"] == np.__version__
    assert summary["environment"]["backend"]["name"] == "numpy"
    assert summary["environment"]["precision"] == "float32"


def test_a_fault_in_its_pictures_does_not_lose_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reports: None
) -> None:
    def draw(run: Any, data: Any) -> None:
        raise ZeroDivisionError("by 0")

    monkeypatch.setattr("cortex_core.training.run.load_plugins", lambda group: {"run": draw})
    with pytest.warns(UserWarning, match="the run is whole, but .* ZeroDivisionError: by 0"):
        run = train(description(epochs=1), blobs(), out=tmp_path, progress=False)
    assert run.pictures == "none (ZeroDivisionError: by 0)"
    assert len(cortex.load_run(tmp_path).history) == 1
