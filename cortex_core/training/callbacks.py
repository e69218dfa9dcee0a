"""What hooks into a training: the best model, early stopping, the history, checkpoints; `progress` is one
more.

A callback's ``state`` is plain data that goes into checkpoints and comes back on resume.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from cortex_compute.errors import CortexError, SpecError
from cortex_core.schedules import ReduceOnPlateau
from cortex_core.training.nonfinite import bad_parameter
from cortex_core.training.run import HISTORY, MODEL

if TYPE_CHECKING:
    from cortex_core.spec.description import MetricNode
    from cortex_core.training.trainer import Trainer


class Callback:
    """Hooks of a training; each does nothing unless overridden.

    ``kept``: whether its state goes into checkpoints.  Where it does not, its hooks are called after
    the files of the step, the epoch or the end are written.
    """

    kept: ClassVar[bool] = True

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def check(self, trainer: Trainer) -> None:
        """Before anything is written: raises a `CortexError` where this callback cannot do its work."""

    def start(self, trainer: Trainer) -> None:
        """Before the first step, after a resume."""

    def step(self, trainer: Trainer) -> None:
        """After each step."""

    def epoch(self, trainer: Trainer) -> None:
        """After each epoch and its validation; the new row is ``trainer.history.rows[-1]``."""

    def stop(self, trainer: Trainer, error: BaseException | None) -> None:
        """At the end; ``error`` is what ended the training, or the `stop` of another.  After a `CortexError`
        and `Interrupted` the state is that between two steps."""


def check_monitor(trainer: Trainer, column: str, option: str) -> None:
    """Raises `SpecError` where the history will have no such column."""
    if column not in trainer.columns:
        hint = "; give validation (a fraction, or a name)" if column.startswith("validation_") else ""
        there = ", ".join(trainer.columns)
        raise SpecError(f"train.{option}.monitor: {column!r} is not measured{hint}; there are {there}")


def badness(trainer: Trainer, column: str) -> float:
    """The monitored number of the last epoch, turned so that smaller is better; NaN is the worst."""
    value = float(trainer.history.rows[-1][column])
    lower = lower_is_better(trainer.options.metrics, column)
    return math.inf if math.isnan(value) else value if lower else -value


def lower_is_better(metrics: Iterable[MetricNode], column: str) -> bool:
    """Whether less of a column of the history is better: of a loss, and of a metric whose class says so by
    ``better = "lower"``."""
    name = column.removeprefix("validation_")
    return all(getattr(m.metric, "better", "higher") == "lower" for m in metrics if m.name == name)


class Best(Callback):
    """Keeps the model of the best epoch as model.cortex: by ``monitor`` of early stopping, else by the
    validation loss, else by the training loss."""

    def start(self, trainer: Trainer) -> None:
        early = trainer.options.early_stopping
        default = "validation_loss" if trainer.validation is not None else "loss"
        self.monitor = early.monitor if early is not None else default

    def epoch(self, trainer: Trainer) -> None:
        value = badness(trainer, self.monitor)
        if not self.state or value < self.state["value"]:
            self.state = {"value": value, "epoch": trainer.epoch, "monitor": self.monitor}
            trainer.network.save(trainer.path / MODEL)


class EarlyStopping(Callback):
    """Ends the training when the monitored number has not improved for ``patience`` epochs."""

    def check(self, trainer: Trainer) -> None:
        check_monitor(trainer, trainer.options.early_stopping.monitor, "early_stopping")

    def start(self, trainer: Trainer) -> None:
        self._look(trainer)

    def epoch(self, trainer: Trainer) -> None:
        value = badness(trainer, trainer.options.early_stopping.monitor)
        if not self.state or value < self.state["value"]:
            self.state = {"value": value, "epoch": trainer.epoch}
        self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        early = trainer.options.early_stopping
        if self.state and trainer.epoch - self.state["epoch"] >= early.patience:
            trainer.stopping = f"{early.monitor} has not improved for {early.patience} epochs"


class Plateau(Callback):
    """Shows each epoch's monitored number to the schedule `ReduceOnPlateau`, whose state this is."""

    def __init__(self, schedule: ReduceOnPlateau) -> None:
        super().__init__()
        self.schedule = schedule

    def check(self, trainer: Trainer) -> None:
        check_monitor(trainer, self.schedule.monitor, "schedule.reduce_on_plateau")

    def epoch(self, trainer: Trainer) -> None:
        self.state = self.schedule.observe(self.state, badness(trainer, self.schedule.monitor))


class HistoryFile(Callback):
    """Writes history.csv after each epoch."""

    kept = False

    def start(self, trainer: Trainer) -> None:
        if len(trainer.history):
            self.epoch(trainer)

    def epoch(self, trainer: Trainer) -> None:
        trainer.history.write(trainer.path / HISTORY)


class Checkpoint(Callback):
    """Writes last.cortex after each epoch, every ``seconds`` within one, and when an error or Ctrl-C ends the
    training."""

    kept = False

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def start(self, trainer: Trainer) -> None:
        self.due = time.monotonic() + self.seconds

    def step(self, trainer: Trainer) -> None:
        if time.monotonic() >= self.due:
            self.epoch(trainer)

    def epoch(self, trainer: Trainer) -> None:
        trainer.save()
        self.due = time.monotonic() + self.seconds

    def stop(self, trainer: Trainer, error: BaseException | None) -> None:
        from cortex_core.training.trainer import Interrupted

        if isinstance(error, (CortexError, Interrupted)) and bad_parameter(trainer.network) is None:
            trainer.save()
