"""What can be known of a run, from the run and from the data that it was trained on."""

from __future__ import annotations

import numpy as np

from cortex_compute.errors import CheckpointError, CortexError, DataError
from cortex_core.network import Network
from cortex_core.predict import raw_examples, takes_raw
from cortex_core.spec.write import to_yaml
from cortex_core.training.data import HELD_OUT, Data, open_data, part_of
from cortex_core.training.examples import Examples
from cortex_core.training.run import Run
from cortex_core.training.setup import check_source, check_streams
from cortex_core.training.source import Source
from cortex_viz.report.embedded import hidden_of
from cortex_viz.report.facts import Facts
from cortex_viz.report.outcome import Outcome, outcome_of
from cortex_viz.report.shown import Array, Shown, cells_of

VIZ = "pip install 'cortex-nn[viz]'"


def collect(run: Run, data: Data | str | None = None, backend: str = "auto") -> Facts:
    """The facts of a run.

    ``data``: those of its training; else the name of a data set, or a file, to look at in their place; by
    default what its description names.  What cannot be had is named with its reason.  Raises
    `CheckpointError` for a run without an epoch, and `DataError` for other data that do not fit the network.
    """
    if not len(run.history):
        raise CheckpointError(f"{run.path}: no epoch of this run has ended, so there is nothing to report")
    missing: dict[str, str] = {}
    outcome: Outcome | None = None
    hidden = None
    try:
        part, shown = shown_of(run.network, data)
        outcome = outcome_of(run.network, shown.source, part, shown, backend=backend)
        hidden = hidden_of(run.network, outcome, backend)
    except (CortexError, ImportError, MemoryError) as error:
        if outcome is None and isinstance(data, str):
            raise  # somebody asked for these
        why = _reason(error)
        missing |= {"hidden": why} if outcome is not None else _without_examples(run, why)
    if isinstance(hidden, str):
        missing["hidden"], hidden = hidden, None
    text = to_yaml(run.network.description.canonical)
    return Facts(run.network.name, text, run.history, run.summary, outcome, hidden, missing)


def _reason(error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"{error.name} is not installed: {VIZ}"
    return "there is too little memory for it" if isinstance(error, MemoryError) else str(error)


def _without_examples(run: Run, why: str) -> dict[str, str]:
    """What a report lacks where the examples cannot be read."""
    told = {"examples": f"the worst and the most uncertain examples, and what needs them: {why}"}
    if run.confusion is not None:
        told["confusion"] = "the examples behind the cells, ROC and calibration; see Examples"
    return told


def shown_of(network: Network, data: Data | str | None = None, *parts: str) -> tuple[str, Shown]:
    """What to look at, by name, and its examples as people see them.

    ``data``: opened ones; the name of a data set; a file, all of it; by default what the description names.
    Of data in parts the first of ``parts`` that there is, by default the test part, else the validation part,
    else the training part.  Raises `DataError` where there is none.
    """
    parts = parts or HELD_OUT
    if isinstance(data, str):
        source, _ = part_of(network, data, *parts)
        check_streams(network, source.streams, data)
        check_source(network, source, 1, data)
        examples = raw_examples(network, data) if takes_raw(network, data) else None
        rows = None if examples is None else np.arange(len(examples))
        return data, _shown(network, source, examples, rows)
    opened = open_data(network.description, encoding=network.encoding) if data is None else data
    sources = ((name, opened.part(name)) for name in parts)
    found = next(((name, source) for name, source in sources if source is not None), None)
    if found is None:
        raise DataError(f"{opened.what} has no part {parts[0]!r}; it has {', '.join(opened.rows)}")
    return found[0], _shown(network, found[1], opened.examples, opened.rows.get(found[0]))


def _shown(network: Network, source: Source, examples: Examples | None, rows: Array | None) -> Shown:
    shown = Shown(network, source)
    if examples is not None and rows is not None and len(rows) == len(source):  # none was left out
        shown.cells = cells_of(examples, rows, network.encoding, shown.inputs)
    return shown
