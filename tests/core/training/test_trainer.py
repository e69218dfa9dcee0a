"""What `train` does to a network, and what it leaves."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import BackendError, CortexError, DataError, SpecError
from cortex_core.network import Network, network
from cortex_core.spec import read
from cortex_core.training.callbacks import Callback
from cortex_core.training.checkpoint import load
from cortex_core.training.feed import order
from cortex_core.training.train import train
from tests.core.training.networks import blobs, declare_wrong, description, line, plain, states


def quiet(spec: Any, data: Any, out: Path, **options: Any) -> Any:
    return train(spec, data, out=out, progress=False, **options)


def by_hand(data: dict[str, np.ndarray], w: np.ndarray, b: np.ndarray, rates: list[float], seed: int) -> Any:
    """Plain gradient descent on the mean of squares, in float64, over the batches of 4 of each epoch."""
    x, t = data["x"].astype(float), data["t"].astype(float)
    losses, step, epoch = [], 0, 0
    while step < len(rates):
        rows, total = order(len(x), seed, epoch), 0.0
        for start in range(0, len(x), 4):
            r = rows[start : start + 4]
            error = x[r] @ w + b - t[r]
            total += float((error**2).sum())
            w = w - rates[step] * 2 * x[r].T @ error / len(r)
            b = b - rates[step] * 2 * error.mean(axis=0)
            step += 1
        losses.append(total / len(x))
        epoch += 1
    return w, b, losses


def test_training_is_gradient_descent_over_the_batches(tmp_path: Path) -> None:
    made, data = network(plain(epochs=4, seed=3)), line(10)
    w, b = made.parameters["y/kernel"].astype(float), made.parameters["y/bias"].astype(float)
    run = quiet(made, data, tmp_path)
    w, b, losses = by_hand(data, w, b, [0.1] * 12, seed=3)
    np.testing.assert_allclose(run.history["loss"], losses, rtol=1e-5)
    assert losses == sorted(losses, reverse=True)  # so that the best epoch is the last
    np.testing.assert_allclose(made.parameters["y/kernel"], w, rtol=1e-5)
    np.testing.assert_allclose(made.parameters["y/bias"], b, rtol=1e-5)


def test_the_schedule_sets_the_rate_of_each_step(tmp_path: Path) -> None:
    spec, data = plain(epochs=3, schedule={"step": {"every": 1, "factor": 0.5}}), line(10)
    made = network(spec)
    w, b = made.parameters["y/kernel"].astype(float), made.parameters["y/bias"].astype(float)
    run = quiet(made, data, tmp_path)
    _, _, losses = by_hand(data, w, b, [0.1] * 3 + [0.05] * 3 + [0.025] * 3, seed=0)
    np.testing.assert_allclose(run.history["loss"], losses, rtol=1e-5)
    assert run.history["learning_rate"] == pytest.approx([0.1, 0.05, 0.025])


def test_a_plateau_lowers_the_rate(tmp_path: Path) -> None:
    schedule = {"reduce_on_plateau": {"monitor": "validation_loss", "patience": 1, "factor": 0.5}}
    spec = plain(epochs=3, schedule=schedule, optimizer={"sgd": {"learning_rate": 1e-30}})
    run = quiet(spec, line(10), tmp_path, validation=line(4, seed=9))  # nothing moves, so nothing improves
    assert run.history["learning_rate"] == pytest.approx([1e-30, 1e-30, 0.5e-30])


def test_a_run_leaves_these_files(tmp_path: Path) -> None:
    run = quiet(description(validation=0.2), blobs(), tmp_path / "run")
    names = {p.name for p in (tmp_path / "run").iterdir()}
    assert names == {"description.yaml", "model.cortex", "last.cortex", "history.csv", "summary.json"}
    rows = list(csv.DictReader((run.path / "history.csv").read_text().splitlines()))
    assert [float(r["validation_loss"]) for r in rows] == run.history["validation_loss"]
    assert [int(r["step"]) for r in rows] == [5, 10, 15]
    summary = json.loads((run.path / "summary.json").read_text())
    assert summary["best"]["value"] == min(run.history["validation_loss"])
    assert summary["metrics"]["validation"]["loss"] == summary["best"]["value"]
    assert "test" not in summary["metrics"]


def test_the_description_that_was_used_is_kept_and_repeats_the_run(tmp_path: Path) -> None:
    first = quiet(description(), blobs(), tmp_path / "a", epochs=2, batch_size=10, seed=7, validation=0.2)
    kept = read(str(tmp_path / "a" / "description.yaml"))
    assert (kept.train.epochs, kept.train.batch_size, kept.train.seed) == (2, 10, 7)
    assert kept.train.validation == 0.2
    assert [m.kind for m in kept.train.metrics] == ["accuracy"]
    assert kept.hash == first.summary["hash"]
    again = quiet(tmp_path / "a" / "description.yaml", blobs(), tmp_path / "b")
    assert states(first.network) == states(again.network)


def test_a_seed_repeats_a_run_bit_for_bit_and_another_does_not(tmp_path: Path) -> None:
    runs = [quiet(description(), blobs(), tmp_path / str(i), seed=s) for i, s in enumerate((5, 5, 6))]
    assert states(runs[0].network) == states(runs[1].network)
    assert states(runs[0].network) != states(runs[2].network)
    assert runs[0].history["loss"] == runs[1].history["loss"]


def test_a_network_that_was_trained_before_starts_without_moments(tmp_path: Path) -> None:
    first = quiet(description(), blobs(), tmp_path / "a")
    loaded = quiet(load(first.path / "model.cortex"), blobs(seed=2), tmp_path / "b")
    again = quiet(first.network, blobs(seed=2), tmp_path / "c")
    assert again.network is first.network
    assert states(again.network) == states(loaded.network)


class Worsen(Callback):
    """Spoils the parameters after some epoch."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def step(self, trainer: Any) -> None:
        if trainer.epoch == self.after:
            bias = trainer.network.parameters["out/bias"].copy()
            bias[0] += 5
            trainer.network.parameters["out/bias"] = bias


def test_the_network_ends_with_the_parameters_of_the_best_epoch(tmp_path: Path) -> None:
    run = quiet(description(validation=0.2), blobs(), tmp_path, callbacks=[Worsen(2)])
    assert run.summary["best"]["epoch"] == 2
    assert run.history["validation_loss"][2] > run.history["validation_loss"][1]
    best, last = load(tmp_path / "model.cortex"), load(tmp_path / "last.cortex")
    for name, array in run.network.parameters.items():
        np.testing.assert_array_equal(array, best.parameters[name])
    assert not np.array_equal(run.network.parameters["out/bias"], last.parameters["out/bias"])


def test_early_stopping(tmp_path: Path) -> None:
    stop = {"monitor": "validation_loss", "patience": 2}
    spec = plain(epochs=50, early_stopping=stop, optimizer={"sgd": {"learning_rate": 1e-30}})
    run = quiet(spec, line(10), tmp_path, validation=line(4, seed=9))
    assert len(run.history) == 3  # the first is the best, two more do not improve
    assert "validation_loss" in run.summary["stopped"]


@pytest.mark.parametrize(("better", "choose"), [("lower", min), ("higher", max)])
def test_a_metric_says_itself_what_is_better(
    own_registry: None, tmp_path: Path, better: str, choose: Callable[..., Any]
) -> None:
    declare_wrong(better)
    stop = {"monitor": "wrong", "patience": 30}
    spec = description(metrics=["wrong"], early_stopping=stop, epochs=4)
    run = quiet(spec, blobs(), tmp_path)
    rows = list(run.history)
    assert run.summary["best"]["epoch"] == choose(rows, key=lambda row: row["wrong"])["epoch"]
    assert len({row["wrong"] for row in rows}) > 1


def test_what_should_grow_is_monitored_upwards(tmp_path: Path) -> None:
    stop = {"monitor": "accuracy", "patience": 30}
    run = quiet(description(epochs=12, early_stopping=stop), blobs(), tmp_path)
    assert run.summary["best"]["value"] == max(run.history["accuracy"]) > min(run.history["accuracy"])


def test_validation_fractions_are_the_last_rows(tmp_path: Path) -> None:
    data = blobs(50)
    part = {name: array[40:] for name, array in data.items()}
    rest = {name: array[:40] for name, array in data.items()}
    a = quiet(description(), data, tmp_path / "a", validation=0.2)
    b = quiet(description(), rest, tmp_path / "b", validation=part)
    assert a.history["validation_loss"] == b.history["validation_loss"]
    assert states(a.network) == states(b.network)


def test_a_named_set_is_measured_on_its_test_part_once_at_the_end(tmp_path: Path) -> None:
    spec = {
        "inputs": {"features": [4]},
        "layers": [{"dense": {"units": 3, "id": "kind"}}],
        "loss": {"softmax_cross_entropy": {"of": "kind", "target": "label"}},
        "train": {
            "data": "iris",
            "epochs": 20,
            "batch_size": 8,
            "optimizer": {"adam": {"learning_rate": 0.1}},
        },
    }
    run = train(spec, out=tmp_path, progress=False)
    assert run.metrics["test"]["accuracy"] > 0.85
    assert run.classes == ("setosa", "versicolor", "virginica")
    assert run.confusion is not None
    assert run.confusion.sum() == 30
    assert np.trace(run.confusion) / 30 == pytest.approx(run.metrics["test"]["accuracy"])


def test_outputs_beyond_the_classes_of_the_data_are_numbered(tmp_path: Path) -> None:
    spec = {
        "inputs": {"features": [4]},
        "layers": [{"dense": {"units": 5, "id": "kind"}}],
        "loss": {"softmax_cross_entropy": {"of": "kind", "target": "label"}},
        "train": {"data": "iris", "epochs": 1},
    }
    run = train(spec, out=tmp_path, progress=False, report=False)
    assert run.classes == ("setosa", "versicolor", "virginica", "3", "4")


def test_a_run_of_the_same_folder_is_moved_aside(tmp_path: Path) -> None:
    first = quiet(description(epochs=1), blobs(), tmp_path / "run")
    kept = (first.path / "model.cortex").read_bytes()
    quiet(description(epochs=1), blobs(seed=4), tmp_path / "run")
    (aside,) = (p for p in tmp_path.iterdir() if p.name != "run")
    assert (aside / "model.cortex").read_bytes() == kept


def test_the_default_folder_has_the_name_and_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = train(description(epochs=1), blobs(), progress=False)
    assert run.path.parent == Path("runs")
    assert run.path.name.startswith("blobs-20")
    assert (tmp_path / run.path / "summary.json").is_file()


WRONG: list[tuple[str, dict[str, Any], type[CortexError], list[str]]] = [
    ("batch larger than the data", {"batch_size": 64}, DataError, ["batch_size is 64", "50 examples"]),
    ("empty data", {"data": blobs(0)}, DataError, ["no examples"]),
    ("no data", {"data": None}, DataError, ["no data", "mnist"]),
    ("unknown data", {"data": "mnit"}, DataError, ["'mnit'", "Did you mean 'mnist'"]),
    ("missing stream", {"data": {"x": blobs()["x"]}}, DataError, ["'label'", "'x' (4,)"]),
    ("wrong shape", {"data": blobs() | {"x": np.zeros((50, 5))}}, DataError, ["[4]", "[5]"]),
    (
        "label out of range",
        {"data": blobs() | {"label": np.arange(50) % 4}},
        DataError,
        ["label 3", "0 to 2"],
    ),
    ("negative label", {"data": blobs() | {"label": np.arange(50) % 3 - 1}}, DataError, ["label -1"]),
    ("NaN", {"data": blobs() | {"x": np.full((50, 4), np.nan)}}, DataError, ["'x'", "example 0", "nan"]),
    ("precision", {"precision": "float16"}, SpecError, ["float16", "float32 or bfloat16"]),
    (
        "precision of the backend",
        {"precision": "bfloat16", "backend": "numpy"},
        BackendError,
        ["precision bfloat16", "onednn", "AVX512_BF16"],
    ),
    ("unknown backend", {"backend": "abacus"}, BackendError, ["abacus", "numpy"]),
    ("epochs", {"epochs": 0}, SpecError, ["epochs", "0"]),
    ("monitor", {"overrides": ["train.early_stopping={monitor: speed}"]}, SpecError, ["'speed'", "accuracy"]),
    (
        "monitor without validation",
        {"overrides": ["train.early_stopping={patience: 2}"]},
        SpecError,
        ["give val"],
    ),
    ("validation leaves nothing", {"validation": 0.999}, DataError, ["0.999", "at least one"]),
    ("validation too small", {"validation": 0.001}, DataError, ["at least one"]),
    ("unknown validation", {"validation": "tset"}, DataError, ["validation", "'tset'"]),
    (
        "validation lacks a stream",
        {"validation": {"x": blobs()["x"]}},
        DataError,
        ["'label'", "validation data"],
    ),
    ("threads", {"threads": 0}, BackendError, ["threads"]),
]


@pytest.mark.parametrize(("options", "error", "words"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_bad_input_is_refused_before_anything_is_touched(
    tmp_path: Path, options: dict[str, Any], error: type[CortexError], words: list[str]
) -> None:
    before = quiet(description(epochs=1), blobs(), tmp_path / "run")
    files = {p.name: p.read_bytes() for p in before.path.iterdir()}
    spec = description(epochs=1)
    with pytest.raises(error) as raised:
        train(**{"network": spec, "data": blobs(), "out": tmp_path / "run", "progress": False, **options})
    assert type(raised.value) is error
    assert all(word in str(raised.value) for word in words), raised.value
    assert {p.name: p.read_bytes() for p in before.path.iterdir()} == files


def test_a_description_without_a_loss_cannot_be_trained(tmp_path: Path) -> None:
    spec = description()
    del spec["loss"]
    with pytest.raises(SpecError, match="loss"):
        quiet(spec, blobs(), tmp_path)


def test_an_override_cannot_change_a_network_that_exists(tmp_path: Path) -> None:
    made = Network(read(description()))
    run = quiet(made, blobs(), tmp_path, overrides=["train.epochs=1"])
    assert len(run.history) == 1
    with pytest.raises(SpecError, match="layers"):
        quiet(made, blobs(), tmp_path, overrides=["layers[0].dense.units=5"])


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("mine")
    with pytest.raises(CortexError, match="is a file"):
        quiet(description(), blobs(), tmp_path / "f")
    assert (tmp_path / "f").read_text() == "mine"


def test_the_summary_counts_examples_of_other_data_too(tmp_path: Path) -> None:
    run = quiet(description(epochs=1, test=0.2), blobs(50), tmp_path / "a", validation=blobs(20, seed=2))
    assert run.summary["data"]["examples"] == {"train": 40, "validation": 20, "test": 10}
