"""The curves of a training: loss and metrics by epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from cortex_viz.figure import COLOURS, figure, literal

VALIDATION = "validation_"
NOT_DRAWN = ("epoch", "step", "seconds", "samples_per_second", "waiting_seconds")
SHARES = ("accuracy", "top_k", "precision", "recall", "f1")


class Table(Protocol):
    """What `curves` reads of a history."""

    @property
    def columns(self) -> list[str]: ...
    def __getitem__(self, column: str) -> list[Any]: ...


def curves(history: Table, path: str | Path, title: str = "") -> Path:
    """Draws one panel for each quantity of a history, training and validation together; returns ``path``.

    ``history`` has ``columns`` and gives each by name: numbers by epoch, None where there are none.  The best
    epoch of the validation (else the training) loss is marked.  Raises ImportError where matplotlib is
    absent.
    """
    names = [c for c in history.columns if c not in NOT_DRAWN and not c.startswith(VALIDATION)]
    names = [n for n in names if n != "learning_rate" or len(set(history[n])) > 1]
    epochs = history["epoch"] if "epoch" in history.columns else list(range(1, len(history[names[0]]) + 1))
    monitored = f"{VALIDATION}loss" if f"{VALIDATION}loss" in history.columns else "loss"
    best = _lowest(epochs, history[monitored])
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    with figure(path, 4.6 * columns, 3.4 * rows + 0.2) as made:
        if title:
            made.suptitle(literal(title), x=0.01, ha="left", fontweight="bold")
        panels = made.subplots(rows, columns, squeeze=False).flat
        for name, axes in zip(names, panels):
            _panel(axes, history, name, epochs, best)
        for axes in list(panels)[len(names) :]:
            axes.remove()
    return Path(path)


def _lowest(epochs: Sequence[float], values: Sequence[Any]) -> float | None:
    known = [(v, e) for v, e in zip(values, epochs) if v is not None and not math.isnan(v)]
    return min(known)[1] if known else None


def _panel(axes: Any, history: Table, name: str, epochs: Sequence[float], best: float | None) -> None:
    from matplotlib.ticker import MaxNLocator

    both = [("training", name, COLOURS[0]), ("validation", VALIDATION + name, COLOURS[1])]
    lines = [(label, column, colour) for label, column, colour in both if column in history.columns]
    values: list[float] = []
    for label, column, colour in lines:
        y = [math.nan if v is None else float(v) for v in history[column]]
        values += [v for v in y if not math.isnan(v)]
        marker = "o" if len(y) < 30 else None
        axes.plot(epochs, y, color=colour, marker=marker, markersize=3.5, linewidth=1.6, label=label)
    if best is not None and len(epochs) > 1:
        axes.axvline(best, color="#999999", linewidth=1, linestyle=":", label=f"best epoch ({best:g})")
    axes.set_title(literal(name.replace("_", " ")))
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if name not in SHARES and values and min(values) > 0 and max(values) > 20 * min(values):
        axes.set_yscale("log")
    if len(lines) > 1 or best is not None:
        axes.legend()
