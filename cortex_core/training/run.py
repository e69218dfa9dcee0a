"""What a training leaves: a `Run` in memory, a folder on the disk."""

from __future__ import annotations

import json
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cortex_compute.errors import CheckpointError
from cortex_core.network import Network
from cortex_core.registry.named import load_plugins
from cortex_core.training.files import write_atomically
from cortex_core.training.history import History, read_history

LAST = "last.cortex"
MODEL = "model.cortex"
HISTORY = "history.csv"
SUMMARY = "summary.json"
REPORTS = "cortex.report"  # the entry points that draw


@dataclass
class Run:
    """A finished training.

    ``network`` has the parameters of the best epoch (as model.cortex); ``metrics`` holds what was measured
    last: "train", "validation" and "test" (the examples that nothing was chosen on, read once, at the end),
    each a dict of numbers.  ``confusion`` is the matrix of the test (else of the validation) examples, rows
    being the true class, whose names are ``classes``; None where there are no classes.  ``pictures`` are the
    files that were drawn, or the reason why there are none.
    """

    network: Network
    path: Path
    history: History
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    confusion: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    summary: dict[str, Any] = field(default_factory=dict)
    pictures: list[Path] | str = field(default_factory=list)

    def _repr_html_(self) -> str:
        from cortex_core.displays import run_html

        return run_html(self)

    def __repr__(self) -> str:
        return f"<Run {self.network.name}: {len(self.history)} epochs, in {self.path}>"


def new_folder(out: str | Path | None, name: str, mark: str = LAST) -> Path:
    """The folder of a new run: ``out``, else runs/NAME-YYYYMMDD-HHMMSS.  A run that lies there already (where
    there is a file ``mark``) is moved aside."""
    if out is None:
        path = _unused(Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
    else:
        path = Path(out)
    if path.exists() and not path.is_dir():
        raise CheckpointError(f"{path} is a file; give a folder for the run")
    if (path / mark).exists():
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime((path / mark).stat().st_mtime))
        path.rename(_unused(path.with_name(f"{path.name}.before-{stamp}")))
    return path


def _unused(path: Path) -> Path:
    """The path, numbered where something is there."""
    numbered = (path.with_name(f"{path.name}-{n}") for n in range(1, 1000))
    return next(p for p in (path, *numbered) if not p.exists())


def run_folder(resume: str | Path) -> Path:
    """The folder of a run that goes on: it, or its last.cortex, may be named."""
    path = Path(resume)
    folder = path.parent if path.name == LAST else path
    if not (folder / LAST).is_file():
        raise CheckpointError(f"{folder}: there is no {LAST} to resume from")
    return folder


def load_run(folder: str | Path) -> Run:
    """The run that lies in a folder: also one that was cut short, whose summary is empty and whose network is
    the best so far, or the last.  A summary from before the last epochs is left out, as where there is none.

    Raises `CheckpointError` where there is none.
    """
    from cortex_core.training.checkpoint import load

    path = Path(folder)
    if path.name in (LAST, MODEL):
        path = path.parent
    found = [path / name for name in (MODEL, LAST) if (path / name).is_file()]
    if not found:
        what = "there is no such folder"
        if path.is_dir():
            what = fold_of(path) or f"there is neither {MODEL} nor {LAST} in it"
        raise CheckpointError(f"{path}: {what}; expected the folder of a run, as `cortex train` leaves it")
    history = read_history(path / HISTORY)
    run = Run(load(found[0]), path, history)
    summary = _read_summary(path / SUMMARY)
    if summary and summary["epochs"] == len(history):
        matrix = summary["confusion"]
        run.summary, run.classes = summary, tuple(summary["classes"])
        run.confusion = None if matrix is None else np.array(matrix)
        run.metrics = {
            part: {name: np.nan if value is None else value for name, value in measured.items()}
            for part, measured in summary["metrics"].items()
        }
    return run


def fold_of(path: Path) -> str:
    """What to say of a folder that holds the runs of a cross-validation; empty of any other."""
    first = path / "fold-1"
    held = any((first / name).is_file() for name in (MODEL, LAST))
    return f"it holds the folds of a cross-validation, each a run: name one, as {first}" if held else ""


def _read_summary(path: Path) -> dict[str, Any]:
    """What the summary of a run holds; {} where there is none."""
    if not path.is_file():
        return {}
    try:
        found: Any = json.loads(path.read_bytes())
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    if not isinstance(found, dict) or not _has_results(found):
        raise CheckpointError(
            f"{path} is no summary of a run: expected epochs, metrics (numbers by part and name), classes "
            "(names), and confusion (a square of counts, or null); train again"
        )
    return found


def _has_results(found: dict[str, Any]) -> bool:
    parts, classes, matrix = (found.get(key) for key in ("metrics", "classes", "confusion"))
    if not isinstance(parts, dict) or not all(isinstance(part, dict) for part in parts.values()):
        return False
    values = [x for part in parts.values() for x in part.values()]
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        return False
    square = matrix is None or (
        isinstance(matrix, list)
        and len(matrix) == len(classes)
        and all(isinstance(row, list) and len(row) == len(classes) for row in matrix)
        and all(isinstance(count, (int, float)) for row in matrix for count in row)  # weights make fractions
    )
    known = {"epochs", "confusion"} <= found.keys()
    return known and square and all(x is None or isinstance(x, (int, float)) for x in values)


def pictures(run: Run, data: Any) -> list[Path] | str:
    """Has the pictures of a run drawn by who is installed for it; where that cannot be, the reason.

    A training that is done is not lost to a fault in its pictures: that is warned of.
    """
    draw = load_plugins(REPORTS).get("run")
    if draw is None:
        return "none (cortex_viz is not installed)"
    try:
        drawn: list[Path] = draw(run, data)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        warnings.warn(
            f"{run.path}: the run is whole, but its pictures could not be drawn: {why}", stacklevel=3
        )
        return f"none ({why})"
    return drawn


def numbers(metrics: dict[str, Any]) -> dict[str, float]:
    """Those of the metrics that are single numbers."""
    return {name: float(value) for name, value in metrics.items() if np.ndim(value) == 0}


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Writes plain data as JSON; a number that is not finite becomes null."""
    write_atomically(path, (json.dumps(_finite(data), indent=2) + "\n").encode())


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {k: _finite(v) for k, v in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(v) for v in data]
    return None if isinstance(data, float) and not np.isfinite(data) else data
