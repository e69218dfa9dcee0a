"""Pictures and captions of an outcome's examples."""

from __future__ import annotations

from math import isqrt

import numpy as np

from cortex_viz.report.outcome import Outcome
from cortex_viz.report.shown import Array
from cortex_viz.sprite import Sprite

LONGEST = 64  # pixels of a picture's longer edge
BYTES = 1_200_000  # of all pictures of a section, before they are packed


def sprite_of(outcome: Outcome, rows: Array) -> Sprite | None:
    """The pictures of these examples, number i being that of ``rows[i]``; None where there are none."""
    if not len(rows):
        return None
    images = outcome.shown.pictures(rows)
    if images is None:
        return None
    edge = isqrt(BYTES // (len(rows) * images.shape[-1]))
    return Sprite(images, size=max(8, min(LONGEST, edge)))


def captions(outcome: Outcome, rows: Array) -> list[str]:
    """For each of these examples what it is, what the network takes it for, and what people wrote of it."""
    words = outcome.shown.words(rows)
    if outcome.classes is not None:
        told = _of_classes(outcome, rows)
    elif outcome.numbers is not None:
        told = _of_numbers(outcome, rows)
    else:
        told = [f"loss {outcome.losses[row]:.4g}" for row in rows]
    return [" · ".join(part for part in pair if part) for pair in zip(told, words)]


def _of_classes(outcome: Outcome, rows: Array) -> list[str]:
    said = outcome.classes
    assert said is not None
    place = np.full(len(outcome), -1)
    place[said.rows] = np.arange(len(said.rows))
    told = []
    for i in place[rows]:
        if i < 0:
            told.append("no label")
            continue
        true, best = int(said.labels[i]), int(said.probabilities[i].argmax())
        taken = f"{said.names[best]} {said.probabilities[i, best]:.2f}"
        told.append(taken if best == true else f"{said.names[true]}, taken for {taken}")
    return told


def _of_numbers(outcome: Outcome, rows: Array) -> list[str]:
    said = outcome.numbers
    assert said is not None
    return [f"{_list(said.actual[row])}, predicted {_list(said.predicted[row])}" for row in rows]


def _list(values: Array) -> str:
    return ", ".join(f"{v:,.5g}" for v in values)
