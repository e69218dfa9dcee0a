"""Training on examples of several padded lengths: each step by hand, resumed in the middle, evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import DataError
from cortex_core.network import network
from cortex_core.training.callbacks import Callback
from cortex_core.training.evaluate import evaluate
from cortex_core.training.feed import Feed
from cortex_core.training.train import train
from cortex_core.training.trainer import Interrupted
from cortex_datasets.source import Stream
from tests.core.training.networks import states
from tests.core.training.test_resume import PressCtrlC, untimed

LENGTHS = (3, 5, 8, 13)


class Ragged:
    """x (length, 2) in four lengths, and t (1,), a line over the mean of x."""

    fixed = True

    def __init__(self, count: int = 30, seed: int = 4) -> None:
        generator = np.random.default_rng(seed)
        self.lengths = generator.choice(LENGTHS, count)
        self.x = [generator.standard_normal((n, 2)).astype(np.float32) for n in self.lengths]
        self.t = np.array([[2 * x[:, 0].mean() - x[:, 1].mean() + 1] for x in self.x], np.float32)
        self.streams = {"x": Stream((None, 2), "float32"), "t": Stream((1,), "float32")}

    def __len__(self) -> int:
        return len(self.lengths)

    def gather(self, indices: np.ndarray, out: Mapping[str, np.ndarray], *, epoch: int = 0) -> None:
        for name, target in out.items():
            for i, row in enumerate(indices):
                target[i] = self.x[row] if name == "x" else self.t[row]

    def select(self, indices: np.ndarray) -> Ragged:
        part = object.__new__(Ragged)
        part.lengths, part.t, part.streams = self.lengths[indices], self.t[indices], self.streams
        part.x = [self.x[i] for i in indices]
        return part


def description(**train: Any) -> dict[str, Any]:
    return {
        "name": "ragged",
        "inputs": {"x": [None, 2]},
        "layers": ["global_avg_pool1d", {"dense": {"units": 1, "id": "y"}}],
        "loss": {"mse": {"of": "y", "target": "t"}},
        "train": {"batch_size": 4, "epochs": 3, "optimizer": {"sgd": {"learning_rate": 0.1}}, **train},
    }


def quiet(spec: Any, out: Path | None = None, **options: Any) -> Any:
    return train(spec, Ragged(), out=out, progress=False, **options)


def test_every_batch_is_a_step_of_gradient_descent(tmp_path: Path) -> None:
    made, data = network(description()), Ragged()
    w, b = made.parameters["y/kernel"].astype(float), made.parameters["y/bias"].astype(float)
    run = quiet(made, tmp_path)
    feed, losses = Feed(data, ["x", "t"], 4, seed=0), []
    for epoch in range(3):
        plan, total = feed.plan(epoch), 0.0
        for rows in np.split(plan.rows, plan.starts[1:-1]):
            x = np.stack([data.x[r].astype(float).mean(axis=0) for r in rows])
            error = x @ w + b - data.t[rows]
            total += float((error**2).sum())
            w, b = w - 0.2 * x.T @ error / len(rows), b - 0.2 * error.mean(axis=0)
        losses.append(total / len(data))
    np.testing.assert_allclose(run.history["loss"], losses, rtol=1e-5)
    assert losses[-1] < losses[0] / 2
    assert [row["step"] for row in run.history] == [len(feed), 2 * len(feed), 3 * len(feed)]


@pytest.mark.parametrize("stop", [1, 4, 12, 15])
def test_interrupted_and_resumed_is_unbroken(tmp_path: Path, stop: int) -> None:
    spec = description(seed=3, validation=0.2, optimizer="adam")
    unbroken = quiet(spec, tmp_path / "a")
    with pytest.raises(Interrupted):
        quiet(spec, tmp_path / "b", callbacks=[PressCtrlC(stop)])
    resumed = quiet(None, resume=tmp_path / "b")
    assert states(resumed.network) == states(unbroken.network)
    assert untimed(resumed.history) == untimed(unbroken.history)


class Counts(Callback):
    """How many samples had been seen after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def step(self, trainer: Any) -> None:
        self.seen.append(trainer.samples)


def test_samples_are_counted_as_they_are(tmp_path: Path) -> None:
    counts, plans = Counts(), Feed(Ragged(), ["x"], 4, seed=0)
    quiet(description(), tmp_path, callbacks=[counts])
    assert counts.seen == [30 * epoch + n for epoch in range(3) for n in plans.plan(epoch).starts[1:]]


def test_an_evaluation_sees_each_example_once() -> None:
    made, data = network(description()), Ragged()
    w, b = made.parameters["y/kernel"].astype(float), made.parameters["y/bias"].astype(float)
    x = np.stack([x.astype(float).mean(axis=0) for x in data.x])
    expected = float(((x @ w + b - data.t) ** 2).mean())
    assert evaluate(made, data, batch_size=4)["loss"] == pytest.approx(expected, rel=1e-5)


def test_an_example_that_is_not_finite_is_named(tmp_path: Path) -> None:
    data = Ragged()
    data.x[17][1, 1] = np.nan
    with pytest.raises(DataError, match="stream 'x' holds a number that is not finite, in example 17"):
        train(description(), data, out=tmp_path, progress=False)


def test_a_token_that_does_not_exist_is_named(tmp_path: Path) -> None:
    class Tokens(Ragged):
        def __init__(self) -> None:
            super().__init__()
            self.streams = {"x": Stream((None,), "int64"), "t": Stream((1,), "float32")}
            self.x = [np.full(n, i % 5) for i, n in enumerate(self.lengths)]
            self.x[23][-1] = 9

    spec = description() | {"inputs": {"x": {"shape": [None], "dtype": "int64"}}}
    spec["layers"] = [{"embedding": {"tokens": 5, "units": 2}}, *spec["layers"]]
    with pytest.raises(DataError, match="example 23 has token 9"):
        train(spec, Tokens(), out=tmp_path, progress=False)
