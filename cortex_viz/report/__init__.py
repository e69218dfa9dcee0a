"""The report of a run: one page that holds all that is known of it, and fetches nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cortex_core.training.data import Data
from cortex_core.training.files import write_atomically
from cortex_core.training.run import Run, load_run
from cortex_viz.confusion import confusion
from cortex_viz.curves import curves
from cortex_viz.report.classes import counts
from cortex_viz.report.collect import VIZ, collect
from cortex_viz.report.facts import Facts
from cortex_viz.report.sections import page_of, sections

__all__ = ["Facts", "collect", "draw", "page_of", "sections", "write"]

REPORT = "report.html"


def draw(run: Run, data: Data | str | None = None) -> list[Path]:
    """Writes curves.png, confusion.png and report.html into the folder of a run; returns what was written.

    ``data``: see `collect`.  Where matplotlib is absent the report says so.  Raises `CheckpointError` for a
    run without an epoch.
    """
    facts, drawn = collect(run, data), list[Path]()
    try:
        drawn.append(curves(run.history, run.path / "curves.png", title=run.network.name))
        counted = counts(facts)
        if run.confusion is not None and counted is not None:
            drawn.append(confusion(counted.matrix, counted.names, run.path / "confusion.png"))
    except ImportError as error:
        why = f"curves.png and confusion.png: {error.name} is not installed: {VIZ}"
        facts = replace(facts, missing={**facts.missing, "curves": why})
    return [*drawn, _write(facts, run.path / REPORT)]


def write(
    folder: str | Path, data: str | None = None, out: str | Path | None = None, backend: str = "auto"
) -> Path:
    """Writes the report of the run in ``folder``, as ``out`` where that is given; returns its path.

    ``data``: the name of a data set, or a file, to look at in place of the run's own data; ``backend``: see
    `collect`.  Raises `CheckpointError` where there is no run.
    """
    run = load_run(folder)
    return _write(collect(run, data, backend), run.path / REPORT if out is None else Path(out))


def _write(facts: Facts, path: Path) -> Path:
    write_atomically(path, page_of(facts).encode("utf-8", "replace"))
    return path
