"""What can be known of a run, from the run and from the data that it was trained on."""

from __future__ import annotations

import numpy as np

from cortex_compute.errors import CheckpointError, CortexError
from cortex_core.network import Network
from cortex_core.predict import raw_examples, takes_raw
from cortex_core.spec.write import to_yaml
from cortex_core.training.data import HELD_OUT, Data, open_data, part_of
from cortex_core.training.run import Run
from cortex_core.training.source import Source
from cortex_viz.report.embedded import hidden_of
from cortex_viz.report.facts import Facts
from cortex_viz.report.outcome import Outcome, held_out, outcome_of
from cortex_viz.report.shown import Shown, cells_of

VIZ = "pip install 'cortex-nn[viz]'"


def collect(run: Run, data: Data | str | None = None, backend: str = "auto") -> Facts:
    """The facts of a run.

    ``data``: those of its training; else the name of a data set, or a file, to look at in their place; by
    default what its description names.  What cannot be had is named with its reason.  Raises
    `CheckpointError` for a run without an epoch.
    """
    if not len(run.history):
        raise CheckpointError(f"{run.path}: no epoch of this run has ended, so there is nothing to report")
    missing: dict[str, str] = {}
    outcome: Outcome | None = None
    hidden = None
    try:
        outcome = _outcome(run.network, data, backend)
        hidden = hidden_of(run.network, outcome, backend)
    except (CortexError, ImportError) as error:
        absent = f"{error.name} is not installed: {VIZ}" if isinstance(error, ImportError) else str(error)
        missing |= {"hidden": absent} if outcome is not None else _without_examples(run, absent)
    if isinstance(hidden, str):
        missing["hidden"], hidden = hidden, None
    text = to_yaml(run.network.description.canonical)
    return Facts(run.network.name, text, run.history, run.summary, outcome, hidden, missing)


def _without_examples(run: Run, why: str) -> dict[str, str]:
    """What a report lacks where the examples cannot be read."""
    told = {"examples": f"the worst and the most uncertain examples, and what needs them: {why}"}
    if run.confusion is not None:
        told["confusion"] = "the examples behind the cells, ROC and calibration; see Examples"
    return told


def _outcome(network: Network, data: Data | str | None, backend: str) -> Outcome:
    if isinstance(data, str):
        source, _ = part_of(network, data, *HELD_OUT)
        return outcome_of(network, source, data, _shown(network, source, data), backend=backend)
    if data is None:
        data = open_data(network.description, encoding=network.encoding)
    part, source = held_out(data)
    shown = Shown(network, source)
    rows = data.rows.get(part)
    if rows is not None and len(rows) == len(source):  # rows without a label may have been left out
        shown.cells = cells_of(data.examples, rows, network.encoding, data.inputs)
    return outcome_of(network, source, part, shown, backend=backend)


def _shown(network: Network, source: Source, data: str) -> Shown:
    """The examples of a file, with what people wrote there."""
    shown = Shown(network, source)
    if takes_raw(network, data):
        examples = raw_examples(network, data)
        if len(examples) == len(source):
            shown.cells = cells_of(examples, np.arange(len(examples)), network.encoding, shown.inputs)
    return shown
