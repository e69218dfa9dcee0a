"""What a training says while it runs: a bar where somebody watches, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from cortex_core.training.callbacks import Callback

if TYPE_CHECKING:
    from cortex_core.training.trainer import Trainer

REFRESH = 0.3  # seconds between two readings of the metrics for the bar
LINES = 10.0  # seconds between two lines within an epoch
WAITED = 0.1, 0.05  # seconds, and share of an epoch, that are worth saying when they went by without data


class Progress(Callback):
    """A bar with loss, metrics, samples per second and time left; lines where ``file`` is no terminal."""

    kept = False

    def __init__(self, file: TextIO | None = None, bar: bool | None = None) -> None:
        super().__init__()
        self.file = file if file is not None else sys.stderr
        self.watched = self.file.isatty() if bar is None else bar
        self.bar: Any = None

    def start(self, trainer: Trainer) -> None:
        self.interval = REFRESH if self.watched else LINES
        self.began = time.monotonic()
        self.due = self.began + self.interval
        self.first = self.shown = trainer.samples
        for note in trainer.data.notes:
            self._say(f"note: {note}")
        if self.watched:
            from tqdm import tqdm

            self.bar = tqdm(
                total=trainer.total_samples,
                initial=trainer.samples,
                file=self.file,
                unit="samples",
                unit_scale=True,
                dynamic_ncols=True,
                leave=False,
            )

    def step(self, trainer: Trainer) -> None:
        if time.monotonic() < self.due:
            return
        text = _epoch(trainer, trainer.epoch + 1) + words(trainer.totals())
        if self.bar is not None:
            self._advance(trainer, text)
        else:
            self._say(f"{text}  {self._speed(trainer)}")
        self.due = time.monotonic() + self.interval

    def epoch(self, trainer: Trainer) -> None:
        row = trainer.history.rows[-1]
        text = _epoch(trainer, trainer.epoch) + words({name: row[name] for name in trainer.columns})
        if self.bar is not None:
            self._advance(trainer, text)
        speed = f"{row['samples_per_second']:,.0f} samples/s"  # of this epoch, as in the history
        self._say(f"{text}  {speed}  {self._left(trainer)}{_waiting(row)}")
        self.due = time.monotonic() + self.interval

    def stop(self, trainer: Trainer, error: BaseException | None) -> None:
        if self.bar is not None:
            self.bar.close()
        if error is None and trainer.stopping:
            self._say(f"stopped after epoch {trainer.epoch}: {trainer.stopping}")

    def _advance(self, trainer: Trainer, text: str) -> None:
        self.bar.set_description_str(text, refresh=False)
        self.bar.update(trainer.samples - self.shown)
        self.shown = trainer.samples

    def _speed(self, trainer: Trainer) -> str:
        """On average since the beginning, with all that came between the steps."""
        done = trainer.samples - self.first
        return f"{done / self._seconds():,.0f} samples/s  {self._left(trainer)}"

    def _left(self, trainer: Trainer) -> str:
        done = max(1, trainer.samples - self.first)
        return f"{clock((trainer.total_samples - trainer.samples) * self._seconds() / done)} left"

    def _seconds(self) -> float:
        return max(1e-9, time.monotonic() - self.began)

    def _say(self, text: str) -> None:
        if self.bar is not None:
            self.bar.write(text, file=self.file)
        else:
            print(text, file=self.file, flush=True)


def _epoch(trainer: Trainer, number: int) -> str:
    fold = trainer.options.fold
    prefix = f"fold {fold.number}/{fold.of}  " if fold is not None else ""
    return f"{prefix}epoch {number}/{trainer.epochs}  "


def _waiting(row: dict[str, Any]) -> str:
    seconds, share = WAITED
    waited, whole = row["waiting_seconds"], row["seconds"]
    return f"  {waited / whole:.0%} waiting for data" if waited > max(seconds, share * whole) else ""


def words(numbers: dict[str, Any]) -> str:
    """``loss 0.0312  accuracy 0.9911``; what is no single number is left out."""
    return "  ".join(f"{name} {_short(value)}" for name, value in numbers.items() if isinstance(value, float))


def _short(value: float) -> str:
    """Four decimals, or four digits of what these would hide."""
    return f"{value:.4g}" if 0 < abs(value) < 1e-3 else f"{value:.4f}"


def clock(seconds: float) -> str:
    """``0:01:40``."""
    minutes, s = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{s:02d}"
