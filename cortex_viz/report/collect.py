"""What can be known of a run, from the run and from the data that it was trained on."""

from __future__ import annotations

import re

import numpy as np

from cortex_compute.backends import get
from cortex_compute.errors import BackendError, CheckpointError, CortexError, DataError
from cortex_core.network import Network
from cortex_core.predict import raw_examples, takes_raw
from cortex_core.spec.write import to_yaml
from cortex_core.training.checkpoint import header
from cortex_core.training.data import HELD_OUT, Data, open_data, part_of
from cortex_core.training.examples import Examples
from cortex_core.training.fingerprint import difference, fingerprint
from cortex_core.training.run import LAST, Run
from cortex_core.training.setup import check_source, check_streams
from cortex_core.training.source import Source
from cortex_viz.drawing import network_svg
from cortex_viz.report.embedded import hidden_of
from cortex_viz.report.facts import Facts
from cortex_viz.report.outcome import Outcome, outcome_of
from cortex_viz.report.shown import Array, Shown, cells_of
from cortex_viz.report.summary import check_summary

VIZ = "pip install 'cortex-nn[viz]'"
BOXES = 40  # of a drawing that can be taken in at a glance


def collect(run: Run, data: Data | str | None = None, backend: str = "auto") -> Facts:
    """The facts of a run.

    ``data``: those of its training; else the name of a data set, or a file, to look at in their place; by
    default what its description names.  ``backend`` "auto" is what the run was trained by, where that is
    here.  What cannot be had is named with its reason.  Raises `CheckpointError` for a run without an epoch
    and for a summary that is none, `DataError` for other data that do not fit the network.
    """
    if not len(run.history):
        raise CheckpointError(f"{run.path}: no epoch of this run has ended, so there is nothing to report")
    check_summary(run.summary, run.path)
    missing: dict[str, str] = {}
    outcome: Outcome | None = None
    hidden = None
    backend = _backend(run) if backend == "auto" else backend
    try:
        if data is None:
            data = open_data(run.network.description, encoding=run.network.encoding)
            missing |= _changed(run, data)
        part, shown = shown_of(run.network, data)
        part = "changed" if "data" in missing else part
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
    drawing = _drawing(run.network)
    return Facts(run.network.name, text, run.history, run.summary, outcome, hidden, missing, drawing)


def _changed(run: Run, data: Data) -> dict[str, str]:
    """What the section of the data has to say where these are not those of the training."""
    if not (run.path / LAST).is_file():
        return {}
    then = (header(run.path / LAST).run or {}).get("data")
    other = difference(then, fingerprint(data)) if then else ""
    return {"data": f"the data as they were: {other}"} if other else {}


def _backend(run: Run) -> str:
    """That of the training, where it is here, so that the numbers are those of the training."""
    name = run.summary.get("backend", "auto")
    try:
        return get(name).name
    except BackendError:
        return "auto"


def _drawing(network: Network) -> str:
    """The network as SVG; nothing where that would be too large to read."""
    try:
        drawn = network_svg(network)
    except CortexError:
        return ""
    if drawn.count('<g class="') > BOXES:
        return ""
    return re.sub('(<g class="[a-z]*">)<title>[^<]*</title>', r"\1", drawn)  # where each stands in a file


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
    else the training part.  A test part that the training was validated on is called "validation".  Raises
    `DataError` where there is none.
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
    part, source = found
    cells = _shown(network, source, opened.examples, opened.rows.get(part))
    twice = {"test", "validation"} <= opened.rows.keys()
    if part == "test" and twice and np.array_equal(opened.rows["test"], opened.rows["validation"]):
        part = "validation"  # the best epoch was chosen by them
    return part, cells


def _shown(network: Network, source: Source, examples: Examples | None, rows: Array | None) -> Shown:
    shown = Shown(network, source)
    if examples is not None and rows is not None and len(rows) == len(source):  # none was left out
        shown.cells = cells_of(examples, rows, network.encoding, shown.inputs)
    return shown
