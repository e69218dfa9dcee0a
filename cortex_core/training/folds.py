"""Cross-validation: a training for each fold of the data, measured on what it has not seen."""

from __future__ import annotations

import copy
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from cortex_compute.errors import CheckpointError, SpecError
from cortex_core.network import Network
from cortex_core.spec import read
from cortex_core.training.callbacks import Callback
from cortex_core.training.files import write_atomically
from cortex_core.training.run import LAST, Run, new_folder, write_json
from cortex_core.training.tensorboard import expect_new
from cortex_core.training.train import train
from cortex_core.training.trainer import Interrupted


@dataclass
class Folds:
    """The runs of a cross-validation, one for each fold that was held out.

    ``folds["accuracy"]`` are the numbers of the folds; ``mean`` and ``spread`` (standard deviation, with ddof
    1) hold those of each metric over the folds.  All are measured on the held-out examples.  ``print`` shows
    the table.
    """

    runs: list[Run]
    path: Path

    @property
    def names(self) -> list[str]:
        """What was measured."""
        return list(self.runs[0].metrics["test"])

    @property
    def mean(self) -> dict[str, float]:
        return {name: fmean(self[name]) for name in self.names}

    @property
    def spread(self) -> dict[str, float]:
        return {name: stdev(self[name]) for name in self.names}

    def __getitem__(self, name: str) -> list[float]:
        return [run.metrics["test"][name] for run in self.runs]

    def __str__(self) -> str:
        rows = [(str(number), run.metrics["test"]) for number, run in enumerate(self.runs, 1)]
        rows += [("mean", self.mean), ("spread", self.spread)]
        cells = [("fold", *self.names), *((name, *(f"{x:.4f}" for x in of.values())) for name, of in rows)]
        widths = [max(map(len, column)) for column in zip(*cells)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)

    @property
    def summary(self) -> dict[str, Any]:
        """All of it as plain data."""
        first = self.runs[0].summary
        kept = "data", "best", "metrics", "epochs", "seconds"
        return {
            "name": first["name"],
            "folds": len(self.runs),
            "mean": self.mean,
            "spread": self.spread,
            "runs": [{"path": run.path.name, **{k: run.summary[k] for k in kept}} for run in self.runs],
        }

    def write(self) -> None:
        """Writes folds.csv and summary.json."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("fold", "examples", *self.names))
        for number, run in enumerate(self.runs, 1):
            writer.writerow((number, run.summary["data"]["examples"]["test"], *run.metrics["test"].values()))
        write_atomically(self.path / "folds.csv", text.getvalue().encode())
        write_json(self.path / "summary.json", self.summary)


def cross_validate(
    network: Any,
    data: Any = None,
    folds: int = 5,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    overrides: Sequence[str] = (),
    callbacks: Sequence[Callback] = (),
    tensorboard: bool | str | Path = False,
    **options: Any,
) -> Folds:
    """Trains a description anew for each of ``folds`` folds of the training part, made by ``train.split``,
    and measures each on the fold that was held out.

    ``out``: a folder, which gets that of each run (fold-1, ...), folds.csv and summary.json.  ``resume``: the
    folder of one that was cut short; finished runs are kept, the others go on with the same bits.
    ``callbacks``: each fold gets copies of its own.  ``tensorboard``: True, or a folder, which gets one for
    each fold.  ``options``: those of `train`; each fold has a report, which takes a second or more, unless
    ``report`` is False.  Raises `SpecError` for a network with parameters: it may have seen what is held
    out.
    """
    if isinstance(network, Network) or str(network).endswith(".cortex"):
        raise SpecError(
            "each fold trains a network anew: give its description, not a network with parameters"
        )
    if folds < 2:
        raise SpecError(f"folds is {folds}; at least 2 are needed, one to hold out and one to train on")
    description = read(network, overrides)
    mark = f"fold-1/{LAST}"
    if resume is None and not isinstance(tensorboard, bool):
        for number in range(1, folds + 1):
            expect_new(Path(tensorboard, f"fold-{number}"), Path(out or ""))
    path = new_folder(out, description.name, mark) if resume is None else Path(resume)
    if resume is not None and not (path / mark).is_file():
        raise CheckpointError(f"{path}: there is no {mark} to resume from")
    runs, own = [], [copy.deepcopy(list(callbacks)) for _ in range(folds)]
    for number in range(1, folds + 1):
        folder = path / f"fold-{number}"
        begun = resume is not None and (folder / LAST).exists()
        where: dict[str, Any] = {"resume": folder} if begun else {"out": folder}
        fold = f"train.fold={{number: {number}, of: {folds}}}"
        try:
            where["callbacks"] = own[number - 1]
            where["tensorboard"] = _own(tensorboard, folder.name)
            runs.append(train(network, data, overrides=[*overrides, fold], **where, **options))
        except Interrupted:
            told = f"stopped in fold {number} of {folds}; go on with --folds {folds} --resume {path}"
            raise Interrupted(told) from None
    made = Folds(runs, path)
    made.write()
    return made


def _own(tensorboard: bool | str | Path, fold: str) -> bool | Path:
    return tensorboard if isinstance(tensorboard, bool) else Path(tensorboard) / fold
