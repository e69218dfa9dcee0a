"""What a report is made from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cortex_core.training.history import History
from cortex_viz.page import number, text
from cortex_viz.report.embedded import Hidden
from cortex_viz.report.outcome import Outcome

PARTS = {
    "test": "of the test part, which nothing was chosen on",
    "validation": "that the training was validated on",
    "train": "that the network was trained on, which flatters it",
    "changed": "of data that changed since: the network may have been trained on some of them",
}


@dataclass(frozen=True)
class Facts:
    """What is known of a run, or of a training that goes on.

    ``description`` is YAML; ``summary`` what summary.json holds, {} before the end.  ``outcome``: what the
    network says of examples, where these could be read.  ``missing``: for a section the reason why it lacks
    something.  ``drawing``: the network as SVG.
    """

    name: str
    description: str = ""
    history: History = field(default_factory=History)
    summary: Mapping[str, Any] = field(default_factory=dict)
    outcome: Outcome | None = None
    hidden: Hidden | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    drawing: str = ""


Section = Callable[[Facts], str]
"""The HTML of a section without its heading; empty where it does not apply."""


def which(outcome: Outcome, whole: bool = False) -> str:
    """A paragraph that says which examples were looked at; ``whole``: all of the part, to be counted."""
    told = f"{outcome.whole:,} examples {PARTS.get(outcome.part) or f'of {text(outcome.part)}'}"
    if len(outcome) < outcome.whole:
        some = f"{len(outcome):,} of them, evenly chosen"
        told = (
            f"{told}; {some}, are what opens, and what ROC is of"
            if whole
            else f"{some.replace('them', f'the {told}', 1)}"
        )
    return f'<p class="soft">{told}. {text(outcome.note, 1000) if outcome.note else ""}</p>'


def exact(value: Any) -> str:
    """A number for people, with all of its digits in the page, as history.csv has them."""
    if value is None:
        return ""
    shown = number(value) if math.isfinite(value) else str(value)
    return f'<data value="{value}">{shown}</data>'


def share(value: float) -> str:
    """A number of 0..1, to four places; nothing for NaN."""
    return "" if math.isnan(value) else f'<data value="{value}">{value:.4f}</data>'


def narrow(chart: str) -> str:
    """A chart that would only be flatter if it were wider."""
    return f'<div style="max-width: 36rem">{chart}</div>'


def lacking(why: str) -> str:
    """A line that says why something is not here."""
    return f'<p class="soft">Not here: {text(why, 1000)}</p>'
