"""`TensorBoard`: the callback that writes a training as event files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from cortex_compute.errors import ArgumentError, CheckpointError
from cortex_core.spec.write import to_yaml
from cortex_core.training.callbacks import Callback
from cortex_core.training.events import (
    EventFile,
    charts,
    event_files,
    expect_writer,
    histograms,
    hyperparameters,
    scalars,
    shown_steps,
    text,
)
from cortex_core.training.histograms import KINDS, Histograms
from cortex_core.training.run import numbers

if TYPE_CHECKING:
    from cortex_core.training.trainer import Trainer

FOLDER = "tensorboard"
WITHIN = "within_epoch/"


def expect_new(folder: Path, path: Path) -> None:
    """Raises `CheckpointError` where event files of another training lie in a folder.

    Those in the folder ``path`` of a new run, where it has a name, are moved aside with the run that they are
    of.
    """
    own = path != Path() and folder.resolve().is_relative_to(path.resolve())
    if event_files(folder) and not own:
        raise CheckpointError(
            f"{folder}: there are event files of another training; give a new folder, or move them away"
        )


class TensorBoard(Callback):
    """Writes event files into ``folder`` (that of the run, below `FOLDER`), for TensorBoard to show.

    After each epoch: each column of history.csv under its own name, and what `Histograms` found, where that
    stands before it, as ``weights/PARAMETER`` and ``gradients/PARAMETER``; the step of an event counts the
    steps of training.  Within an epoch, every ``seconds``: ``within_epoch/NAME``, loss and metrics over the
    epoch so far, and the learning rate.  At the start: the description, and the options of the training as
    hyperparameters.

    A run that goes on gets a further file.  It says from which step on the files before it hold what never
    became part of the run, and begins with the first epoch that they do not show: the last one, where a kill
    came before it was written; those that were trained without this callback; or all.  What they show stays,
    histograms too, where the run goes on without `Histograms`.
    """

    kept: ClassVar[bool] = False

    def __init__(self, folder: str | Path | None = None, seconds: float = 5.0) -> None:
        super().__init__()
        self.folder, self.seconds = folder, seconds
        self._file: EventFile | None = None

    def check(self, trainer: Trainer) -> None:
        """Raises `ArgumentError` where tensorboardX is absent, or `Histograms` would come too late;
        `CheckpointError` where the folder is another training's."""
        expect_writer()
        callbacks = trainer.callbacks
        if any(isinstance(callback, Histograms) for callback in callbacks[callbacks.index(self) :]):
            raise ArgumentError("callbacks: give Histograms before TensorBoard, which writes its numbers")
        if self.folder is not None and not trainer.goes_on:
            expect_new(Path(self.folder), trainer.path)

    def start(self, trainer: Trainer) -> None:
        folder = trainer.path / FOLDER if self.folder is None else Path(self.folder)
        first = trainer.step + 1 if trainer.step else 0
        ends = [0, *(row["step"] for row in trainer.history.rows)]  # of the start, and of epochs
        shown = shown_steps(folder, "loss") | ({0} if event_files(folder) else set())
        missing = [epoch for epoch, step in enumerate(ends) if step >= first or step not in shown]
        begin = missing[0] if missing else len(ends)
        self._file = EventFile(folder, min([first, *ends[begin : begin + 1]]))
        canonical = trainer.network.description.canonical
        opening, self._closing = hyperparameters(canonical["train"], trainer.columns)
        described = text("description", to_yaml(canonical))
        self._file.put(trainer.step, [*described, *charts(trainer.columns), *opening])
        for epoch in range(begin, len(ends)):
            self._put(trainer, epoch)
        self.due = time.monotonic() + self.seconds

    def step(self, trainer: Trainer) -> None:
        if time.monotonic() < self.due:
            return
        found = numbers(trainer.totals())
        if 0 < trainer.batch < trainer.steps_per_epoch:  # else it is, or was, told by the epoch
            assert self._file is not None
            rate = trainer.rate(trainer.step - 1)
            self._file.put(trainer.step, scalars({**found, "learning_rate": rate}, WITHIN))
        self.due = time.monotonic() + self.seconds

    def epoch(self, trainer: Trainer) -> None:
        self._put(trainer, trainer.epoch)
        self.due = time.monotonic() + self.seconds

    def stop(self, trainer: Trainer, error: BaseException | None) -> None:
        if self._file is None:
            return
        try:
            if error is None:
                self._file.put(trainer.step, self._closing)
        finally:
            self._file.close()
            self._file = None

    def _put(self, trainer: Trainer, epoch: int) -> None:
        """What is known of the end of an epoch; of epoch 0, before the first step, that is histograms at
        most."""
        row = dict(trainer.history.rows[epoch - 1]) if epoch else {}
        step = row.pop("step", 0)
        values = scalars(row)
        for callback in trainer.callbacks:
            for found in callback.rows if isinstance(callback, Histograms) else ():
                if found["epoch"] == epoch:
                    values += [value for kind in KINDS for value in histograms(found[kind], f"{kind}/")]
        if values:
            assert self._file is not None
            self._file.put(step, values)
