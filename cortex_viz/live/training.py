"""`Live`: the callback that shows a training to browsers while it runs."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, ClassVar, TextIO

import numpy as np

from cortex_compute.errors import CortexError
from cortex_core.spec.write import to_yaml
from cortex_core.training.callbacks import Callback
from cortex_core.training.history import History
from cortex_core.training.progress import clock, words
from cortex_core.training.run import LAST
from cortex_core.training.summary import environment
from cortex_core.training.trainer import Interrupted
from cortex_viz.live.board import Board, Wishes
from cortex_viz.live.page import SECTION, live_page
from cortex_viz.live.server import Server, new_token
from cortex_viz.page import text

if TYPE_CHECKING:
    from cortex_core.training.trainer import Trainer
    from cortex_viz.report import Facts

REFRESH = 0.35  # seconds between two readings of the metrics for the bar
MOST = 2000  # examples that an epoch is shown on


class Live(Callback):
    """Serves the report of a training while it runs, on this machine, at an address with a secret in it.

    ``port`` 0 takes any that is free.  ``host``: where to listen; any but the machine's own address opens the
    page, and its buttons, to others who learn the address.  ``pause``: epochs that end within so many seconds
    of the last drawing are not drawn, but for the last one.  The address is printed to ``file`` (standard
    error).

    After an epoch the trainer's own thread predicts the validation examples (at most 2,000, evenly taken;
    without any, so many of the training's; never the test part, which is read once, at the end) and draws the
    sections: a program belongs to one thread at a time, and so the numbers are those of that epoch.  The
    training waits for this, and for nothing else: a browser is never waited for, and no bit changes.  All of
    it is done when the files of the epoch, or of the end, are written.
    """

    kept: ClassVar[bool] = False

    def __init__(
        self, port: int = 0, host: str = "127.0.0.1", pause: float = 1.0, file: TextIO | None = None
    ) -> None:
        super().__init__()
        self.port, self.host, self.pause, self.file = port, host, pause, file
        self.token = new_token()
        self.server: Server | None = None

    @property
    def address(self) -> str:
        """Where the page is; empty while no training runs."""
        return "" if self.server is None else self.server.address

    def check(self, trainer: Trainer) -> None:
        """Raises `ArgumentError` where the address cannot be had."""
        Server(self.host, self.port, self.token, Board(), Wishes(), live_page).server_close()

    def start(self, trainer: Trainer) -> None:
        self.board, self.wishes = Board(), Wishes()
        self.began, self.first, self.due = time.monotonic(), trainer.samples, 0.0
        self.known = _known(trainer)
        self.board.put(
            {"title": trainer.network.name, "bar": self._bar(trainer, "the first step is to come")}
        )
        self._draw(trainer)
        self.server = Server(self.host, self.port, self.token, self.board, self.wishes, live_page)
        self.server.start()
        print(f"live at {self.address}", file=self.file or sys.stderr, flush=True)

    def step(self, trainer: Trainer) -> None:
        if self.wishes.pending:
            self._grant(trainer)
        assert self.server is not None
        if time.monotonic() >= self.due and self.server.watched:
            now = f"epoch {trainer.epoch + 1} of {trainer.epochs}, step {trainer.step}"
            told = f"{now}  {words(trainer.totals())}  {self._speed(trainer)}"
            self.board.put({"bar": self._bar(trainer, told)})
            self.due = time.monotonic() + REFRESH

    def epoch(self, trainer: Trainer) -> None:
        row = trainer.history.rows[-1]
        numbers = words({name: row[name] for name in trainer.columns})
        self.board.put({"bar": self._bar(trainer, f"epoch {trainer.epoch} of {trainer.epochs}  {numbers}")})
        if time.monotonic() >= self.again:
            self._draw(trainer)

    def stop(self, trainer: Trainer, error: BaseException | None) -> None:
        if self.server is None:  # it never began
            return
        try:
            if (error is None or isinstance(error, Interrupted)) and self.drawn != trainer.epoch:
                self._draw(trainer)
            self.board.put({"bar": self._bar(trainer, _ending(trainer, error), over=True)})
        finally:
            self.server.finish()
            self.server = None

    def _grant(self, trainer: Trainer) -> None:
        def save() -> str:
            trainer.save()
            return f"Written after step {trainer.step}: {trainer.path / LAST}"

        self.wishes.grant(save, trainer.interrupt)

    def _draw(self, trainer: Trainer) -> None:
        """Puts the sections of the report on the board.  A training does not end because a picture of it
        fails."""
        from cortex_viz.report import sections

        try:
            made = sections(self._facts(trainer))
        except Exception as error:
            why = text(f"{type(error).__name__}: {error}", 500)
            made = {"failed": f"<p>This state could not be drawn: {why}</p>"}
        self.board.put({"order": list(made), **{SECTION + name: html for name, html in made.items()}})
        self.drawn, self.again = trainer.epoch, time.monotonic() + self.pause

    def _facts(self, trainer: Trainer) -> Facts:
        from cortex_viz.report import Facts
        from cortex_viz.report.outcome import outcome_of

        network, data = trainer.network, trainer.data
        outcome, missing = None, {}
        if len(trainer.history):
            source = data.plain if data.validation is None else data.validation
            rows = np.linspace(0, len(source) - 1, min(len(source), MOST)).astype(np.intp)
            part = "train" if data.validation is None else "validation"
            try:
                outcome = outcome_of(network, source, part, rows=rows, backend=trainer.backend)
            except CortexError as error:
                missing["confusion"] = str(error)
        summary = {**self.known, "epochs": trainer.epoch, "steps": trainer.step, "seconds": trainer.seconds}
        yaml = to_yaml(network.description.canonical)
        return Facts(network.name, yaml, History(trainer.history.rows), summary, outcome, missing=missing)

    def _bar(self, trainer: Trainer, text: str, over: bool = False) -> dict[str, Any]:
        share = trainer.samples / max(1, trainer.total_samples)
        return {"text": text, "share": min(1.0, share), "over": over}

    def _speed(self, trainer: Trainer) -> str:
        done, seconds = trainer.samples - self.first, max(1e-9, time.monotonic() - self.began)
        left = (trainer.total_samples - trainer.samples) * seconds / max(1, done)
        return f"{done / seconds:,.0f} samples/s  {clock(left)} left"


def _known(trainer: Trainer) -> dict[str, Any]:
    """What the summary of the run will say that is known before the first step."""
    return {
        "name": trainer.network.name,
        "parameters": sum(slot.type.size for slot in trainer.network.slots.values()),
        "backend": trainer.compiled.backend.name,
        "data": {"examples": trainer.data.counts, "notes": trainer.data.notes},
        "environment": environment(trainer),
    }


def _ending(trainer: Trainer, error: BaseException | None) -> str:
    if isinstance(error, Interrupted):
        return str(error)
    if isinstance(error, KeyboardInterrupt):  # the second Ctrl-C, which does not wait
        return f"ended at once, in epoch {trainer.epoch + 1} of {trainer.epochs}, after step {trainer.step}"
    if error is not None:
        return f"ended by an error: {error if isinstance(error, CortexError) else repr(error)}"
    if trainer.stopping:
        return f"stopped after epoch {trainer.epoch}: {trainer.stopping}; the run is in {trainer.path}"
    return f"finished after {trainer.epoch} epochs; the run is in {trainer.path}"
