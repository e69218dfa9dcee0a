"""How weights and gradients are spread, epoch by epoch: a callback, and the file that it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cortex_compute.errors import CheckpointError
from cortex_core.probe import parameter_gradients
from cortex_core.training.callbacks import Callback
from cortex_core.training.files import append, write_atomically
from cortex_core.training.setup import names_of

if TYPE_CHECKING:
    from cortex_core.training.trainer import Trainer

FILE = "histograms.jsonl"
BINS = 40
KINDS, SPREAD = ("weights", "gradients"), ("low", "high", "mean", "std")


class Histograms(Callback):
    """Writes histograms.jsonl: of each parameter the weights at the start and after each epoch, and the
    gradients of the loss on the first batch that follows, a line for each.

    The gradients are computed op by op beside the training, with the dropout that the step will have, in
    float32 and before clipping.  They change no state: the run has the same bits with and without them.
    ``rows``: what was read or written last, for those who show it too: at the start all, then that of the
    epoch.
    """

    kept = False

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []

    def start(self, trainer: Trainer) -> None:
        path = trainer.path / FILE
        went_on = trainer.step > 0 and path.is_file()
        self.rows = [row for row in _read(path) if row["epoch"] <= trainer.epoch] if went_on else []
        write_atomically(path, b"".join(map(_line, self.rows)))
        if trainer.step == 0:
            self.epoch(trainer)

    def epoch(self, trainer: Trainer) -> None:
        network = trainer.network
        arrays = trainer.feed.batch(trainer.epoch, 0, names_of(network)).arrays
        weights, gradients = network.parameters, parameter_gradients(network, arrays)
        row: dict[str, Any] = {"epoch": trainer.epoch}
        row |= {"weights": {name: histogram(weights[name]) for name in weights}}
        row |= {"gradients": {name: histogram(gradients[name]) for name in weights}}
        append(trainer.path / FILE, _line(row))
        self.rows = [row]


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row).encode() + b"\n"


def histogram(values: np.ndarray) -> dict[str, Any]:
    """``counts`` in `BINS` equal bins from ``low`` to ``high``, mean, standard deviation, and how many values
    are not finite and so in no bin.  Equal values are in the first; without finite values all but the counts
    are None."""
    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.size:
        return {**dict.fromkeys(SPREAD), "counts": [0] * BINS, "not_finite": int(values.size)}
    low, high = float(finite.min()), float(finite.max())
    equal = [finite.size] + [0] * (BINS - 1)
    return {
        "low": low,
        "high": high,
        "mean": float(finite.mean()),
        "std": float(finite.std()),
        "counts": np.histogram(finite, BINS, (low, high))[0].tolist() if low < high else equal,
        "not_finite": int(values.size - finite.size),
    }


def read_histograms(path: Path) -> list[dict[str, Any]]:
    """The rows of a histograms.jsonl: {"epoch", "weights": {name: `histogram`}, "gradients": the same}.

    Raises `CheckpointError` where there is no such file, with what would make it, or where it is damaged.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path.parent} has no {FILE}: train with `cortex train SPEC --histograms`, or with "
            "cortex.train(..., callbacks=[Histograms()])"
        )
    rows = _read(path)
    if not rows:
        raise CheckpointError(f"{path} holds no histograms of a run: it is empty; train again")
    return rows


def _read(path: Path) -> list[dict[str, Any]]:
    """The whole lines; behind them there may be one that a crash cut short."""
    try:
        rows = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
        for row in rows:
            if not isinstance(row["epoch"], int):
                raise TypeError(f"epoch is {row['epoch']!r}")
            for found in (found for kind in KINDS for found in row[kind].values()):
                _check(found)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} holds no histograms of a run: {error!r:.80}; train again") from None
    return rows


def _check(found: dict[str, Any]) -> None:
    counts, spread = found["counts"], [found[name] for name in SPREAD]
    if not isinstance(counts, list) or len(counts) != BINS:
        raise ValueError(f"expected {BINS} bins")
    if not all(isinstance(n, int) for n in (*counts, found["not_finite"])):
        raise TypeError("a count is no whole number")
    if spread != [None] * len(spread) and not all(isinstance(x, (int, float)) for x in spread):
        raise TypeError(f"{', '.join(SPREAD)} are no numbers")
