"""Layers that hand a state to the next batch: what is read, carried, and found by a resume."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import DataError, ShapeError
from cortex_core.initializers import ones
from cortex_core.layers.scope import Parameter, Scope, Variable
from cortex_core.network import Network
from cortex_core.registry import layer
from cortex_core.spec import read
from cortex_core.training.feed import Feed
from cortex_core.training.source import Arrays


@pytest.fixture(autouse=True)
def summing(own_registry: None) -> None:
    @layer("summing")
    class Summing:
        """The sum of all x that a place of the batch has seen, times a factor."""

        def parameters(self, x: Any) -> Iterator[Parameter | Variable]:
            yield Parameter("factor", (1,), ones)
            yield Variable("seen", x.shape, 0.0, carried=True)

        def forward(self, p: Scope, x: Any) -> Any:
            if not p.training:
                return x * p.factor
            total = p.seen + x
            p.update("seen", total)
            return total * p.factor


def described(batch: int = 2, epochs: int = 2) -> dict[str, Any]:
    return {
        "cortex": 1,
        "inputs": {"x": [1]},
        "layers": [{"summing": {"id": "sum"}}],
        "loss": {"mse": {"of": "sum", "target": "y"}},
        "train": {"batch_size": batch, "epochs": epochs, "optimizer": {"sgd": 0.0}},
    }


X = np.arange(1.0, 8.0, dtype=np.float32)[:, None]


def test_a_batch_reads_several_places_of_one_long_sequence() -> None:
    feed = Feed(Arrays({"x": X}), ["x"], 2, seed=0, side_by_side=True)
    assert feed.plan(0).rows.tolist() == [0, 3, 1, 4, 2, 5]  # the seventh is left over
    assert (len(feed), feed.examples, feed.sizes()) == (3, 6, [(2, None)])
    assert feed.plan(5).rows.tolist() == feed.plan(0).rows.tolist()


def test_too_few_examples() -> None:
    with pytest.raises(DataError, match="a stateful layer needs 8 examples"):
        Feed(Arrays({"x": X}), ["x"], 8, side_by_side=True)


def test_the_state_is_carried_through_an_epoch_and_forgotten_after_it(tmp_path: Path) -> None:
    sums = np.array([1, 3, 6, 4, 9, 15, 0], np.float32)[:, None]  # 1, 1 + 2, 1 + 2 + 3; 4, 4 + 5, 4 + 5 + 6
    run = cortex.train(described(), data={"x": X, "y": sums}, out=tmp_path / "run", report=False)
    assert [row["loss"] for row in run.history] == [0.0, 0.0]
    seen = run.network.store.array("sum/seen")
    assert seen.tolist() == [[6.0], [15.0]]


def test_evaluation_and_prediction_start_from_nothing(tmp_path: Path) -> None:
    run = cortex.train(described(), data={"x": X, "y": X}, out=tmp_path / "run", report=False)
    assert run.network.predict(X).tolist() == X.tolist()
    assert cortex.load(tmp_path / "run" / "model.cortex").predict(X).tolist() == X.tolist()


def test_an_unbroken_and_a_resumed_training_are_equal(tmp_path: Path) -> None:
    from cortex_core.training.callbacks import Callback

    class Stop(Callback):
        def step(self, trainer: Any) -> None:
            if trainer.step == 4:
                trainer.interrupt()

    spec = described(epochs=3)
    spec["train"]["optimizer"] = {"sgd": 0.001}
    whole = cortex.train(spec, data={"x": X, "y": X}, out=tmp_path / "whole", report=False)
    with pytest.raises(KeyboardInterrupt):
        cortex.train(spec, data={"x": X, "y": X}, out=tmp_path / "part", callbacks=[Stop()], report=False)
    resumed = cortex.train(data={"x": X, "y": X}, resume=tmp_path / "part", report=False)
    assert (
        resumed.network.parameters["sum/factor"].tolist() == whole.network.parameters["sum/factor"].tolist()
    )


def test_a_batch_of_another_size_is_refused() -> None:
    network = Network(read(described(batch=4)))
    program = cortex.compile(network, backend="numpy", batch_size=4)
    with pytest.raises(ShapeError, match="'sum/seen' keeps a state for each of 4 examples, the batch has 2"):
        program.run({"x": X[:2], "y": X[:2]})


def test_a_network_that_was_trained_is_trained_with_batches_of_another_size(tmp_path: Path) -> None:
    data = {"x": X, "y": X}
    run = cortex.train(described(), data=data, out=tmp_path / "first", report=False)
    assert list(cortex.load(tmp_path / "first" / "model.cortex").variables) == []
    again = cortex.train(run.network, data=data, batch_size=3, out=tmp_path / "second", report=False)
    loaded = cortex.load(tmp_path / "first" / "model.cortex")
    other = cortex.train(loaded, data=data, batch_size=3, out=tmp_path / "third", report=False)
    assert [row["loss"] for row in again.history] == [row["loss"] for row in other.history]


def test_what_is_left_over_is_told(tmp_path: Path) -> None:
    run = cortex.train(described(), data={"x": X, "y": X}, out=tmp_path / "run", report=False)
    told = (
        "'sum' is stateful: 2 places of the training examples are read side by side, in order, 3 steps each"
    )
    (note,) = [note for note in run.summary["data"]["notes"] if note.startswith(told)]
    assert note.endswith("the last 1 are not read")


@pytest.mark.parametrize("running", [True, False])
def test_examples_that_say_that_they_do_not_follow_each_other(running: bool, tmp_path: Path) -> None:
    source: Any = Arrays({"x": X, "y": X})
    source.running = running
    if running:
        cortex.train(described(), data=source, out=tmp_path / "run", report=False)
        return
    with pytest.raises(DataError, match="the state of 'sum' goes from each batch to the next: it needs"):
        cortex.train(described(), data=source, out=tmp_path / "run", report=False)


def test_windows_that_overlap(tmp_path: Path) -> None:
    spec = {
        "inputs": {"text": "auto"},
        "layers": [
            {"embedding": {"tokens": 6, "units": 4}},
            {"gru": {"units": 4, "return": "sequence", "stateful": True}},
            {"dense": {"units": 6, "id": "letter"}},
        ],
        "loss": {"softmax_cross_entropy": {"of": "letter", "target": "next"}},
        "train": {"data": {"text": {"window": 8, "stride": 2}}, "batch_size": 4},
    }
    text = "abc " * 100
    with pytest.raises(DataError, match="windows that neither overlap nor leave gaps"):
        cortex.train(spec, data=[text], out=tmp_path / "run", report=False)
    spec["train"] = {"data": {"text": {"window": 8}}, "batch_size": 4, "test": 0.2, "validation": 0.2}
    cortex.train(spec, data=[text], out=tmp_path / "run", report=False)


def test_examples_in_random_parts_do_not_follow_each_other(tmp_path: Path) -> None:
    spec = described()
    spec["train"] |= {"split": "random", "validation": 0.3}
    with pytest.raises(DataError, match="split: last"):
        cortex.train(spec, data={"x": X, "y": X}, out=tmp_path / "run", report=False)
