"""Each example takes its first twenty steps, on small data of the form that it reads."""

from __future__ import annotations

from pathlib import Path

import pytest

import cortex
from cortex_core.training import source
from cortex_core.training.callbacks import Callback
from cortex_core.training.trainer import Trainer
from tests.examples import made

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
STEPS = 20


class Enough(Exception):
    """The steps are done."""


class Losses(Callback):
    """The loss of the first step, and the mean of those of the last epoch; ends the training."""

    kept = False

    def step(self, trainer: Trainer) -> None:
        self.state["last"] = trainer.totals()["loss"]
        self.state.setdefault("first", self.state["last"])
        if trainer.step == STEPS:
            raise Enough


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_learns_in_twenty_steps(
    path: Path, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORTEX_DATA", str(data_folder))
    for name, data in made.pictures().items():
        monkeypatch.setitem(source._registered, name, data)
    losses = Losses()
    with pytest.raises(Enough):
        cortex.train(
            str(path),
            epochs=STEPS,
            batch_size=16,
            out=tmp_path / "run",
            progress=False,
            callbacks=[losses],
            threads=1,
        )
    assert losses.state["last"] < losses.state["first"]
