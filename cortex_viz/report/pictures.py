"""Pictures and captions of an outcome's examples."""

from __future__ import annotations

from math import isqrt

from cortex_viz.report.outcome import Outcome
from cortex_viz.report.shown import Array
from cortex_viz.sprite import Sprite

SHORTEST, LONGEST = 8, 64  # pixels of a picture's longer edge
BYTES = 1_200_000  # of all pictures of a section, before they are packed


def sprite_of(outcome: Outcome, rows: Array) -> Sprite | None:
    """The pictures of these examples, number i being that of ``rows[i]``; None where there are none."""
    edge = isqrt(BYTES // max(1, len(rows) * outcome.shown.channels))
    images = outcome.shown.pictures(rows, max(SHORTEST, min(LONGEST, edge)))
    return None if images is None else Sprite(images)


def captions(outcome: Outcome, rows: Array) -> list[str]:
    """For each of these examples what it is, what the network takes it for, and what people wrote of it."""
    words = outcome.shown.words(rows)
    return [
        " · ".join(part for part in (_answer(outcome, row), word) if part) for row, word in zip(rows, words)
    ]


def _answer(outcome: Outcome, row: int) -> str:
    if outcome.numbers is not None and outcome.classes is None:
        actual, predicted = outcome.numbers.actual[row], outcome.numbers.predicted[row]
        return f"{several(actual)}, predicted {several(predicted)}"
    said = outcome.classes.of(row) if outcome.classes is not None else None
    if said is None:
        return f"loss {outcome.losses[row]:.4g}"
    true, taken, sure = said
    return f"{taken if taken == true else f'{true}, taken for {taken}'} (p = {sure:.2f})"


def several(values: Array) -> str:
    """The numbers of an example."""
    return ", ".join(f"{v:,.5g}" for v in values)
