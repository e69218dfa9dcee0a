"""Examples by themselves: where the network is most wrong, least sure, and how far off; the hidden layer."""

from __future__ import annotations

import numpy as np

from cortex_viz import charts
from cortex_viz.page import grid, histogram, text
from cortex_viz.report import measures
from cortex_viz.report.facts import Facts, exact, lacking, share, which
from cortex_viz.report.outcome import Numbers, Outcome
from cortex_viz.report.pictures import captions, several, sprite_of
from cortex_viz.report.shown import LONGEST, Array

SHOWN = 24
OPEN = 6  # of them, where they are rows of a table
DRAWN = 2000  # points of a scatter
BINS = 40
COLOURED = 40  # classes: as many as colours and shapes make pairs


def examples(given: Facts) -> str:
    """Those of the highest loss, and those between whose classes the network wavers."""
    outcome = given.outcome
    if outcome is None:
        return ""
    order = np.argsort(-np.nan_to_num(outcome.losses, nan=-np.inf, posinf=np.inf), kind="stable")
    worst = order[~np.isnan(outcome.losses[order])][:SHOWN]
    made = f"{which(outcome)}<h3>highest loss</h3>" + _several(outcome, worst)
    if outcome.classes is not None and len(outcome.classes.rows):
        doubt = measures.entropy(outcome.classes.probabilities)
        least = outcome.classes.rows[np.argsort(-doubt, kind="stable")[:SHOWN]]
        made += "<h3>least sure</h3>" + _several(outcome, least)
    elif outcome.numbers is None:
        made += lacking(f"which are least sure, ROC and calibration: {outcome.why}")
    return made


def _several(outcome: Outcome, rows: Array) -> str:
    """Pictures with captions; a table where there are no pictures."""
    sprite = sprite_of(outcome, rows)
    if sprite is None:
        return _table(outcome, rows)
    return sprite.html() + charts.gallery(enumerate(captions(outcome, rows)), sprite)


def _table(outcome: Outcome, rows: Array) -> str:
    answer: list[str] = []
    if outcome.classes is not None:
        answer = ["true", "taken for", "probability"]
    elif outcome.numbers is not None:
        answer = ["actual", "predicted", "error"]
    words = outcome.shown.words(rows)
    body = [
        [
            f'<span style="white-space: nowrap">{i + 1}</span>',
            *_answers(outcome, int(row)),
            exact(float(outcome.losses[row])),
            text(word, LONGEST),
        ]
        for i, (row, word) in enumerate(zip(rows, words))
    ]
    head, right = ["", *answer, "loss", "example"], range(1, len(answer) + 2)
    drawn = grid("", head, body[:OPEN], right)
    if len(body) > OPEN:
        rest = grid("", head, body[OPEN:], right)
        drawn += f"<details><summary>{len(body) - OPEN} more</summary>{rest}</details>"
    return drawn


def _answers(outcome: Outcome, row: int) -> list[str]:
    """The cells between the number of an example and its loss."""
    if outcome.classes is not None:
        said = outcome.classes.of(row)
        return ["", "", ""] if said is None else [text(said[0]), text(said[1]), share(said[2])]
    if outcome.numbers is not None:
        actual, predicted = outcome.numbers.actual[row], outcome.numbers.predicted[row]
        return [several(actual), several(predicted), several(predicted - actual)]
    return []


def numbers(given: Facts) -> str:
    """Predicted over actual numbers, and how the errors are spread."""
    if given.outcome is None or given.outcome.numbers is None:
        return ""
    said = given.outcome.numbers
    made = [which(given.outcome), _errors(said)]
    rows = np.unique(np.linspace(0, len(given.outcome) - 1, DRAWN).astype(np.intp))
    told = captions(given.outcome, rows)
    for k, name in enumerate(_names(said)):
        points = np.stack([said.actual[rows, k], said.predicted[rows, k]], axis=1)
        drawn = charts.scatter(points, captions=told, x=f"{name}, actual", y="predicted")
        made.append(f'<div class="panels"><div>{drawn}</div><div>{_residuals(said, k, name)}</div></div>')
    return "".join(made)


def _errors(said: Numbers) -> str:
    """How far off each number is, in its unit."""
    with np.errstate(all="ignore"):  # of numbers that are not finite
        error = said.predicted - said.actual
        spread = ((said.actual - said.actual.mean(axis=0)) ** 2).sum(axis=0)
        measured = (
            np.abs(error).mean(axis=0),
            np.sqrt((error**2).mean(axis=0)),
            np.where(spread > 0, 1 - (error**2).sum(axis=0) / spread, np.nan),
        )
    rows = [[text(name), *(exact(m[k].item()) for m in measured)] for k, name in enumerate(_names(said))]
    head = ["", "mean absolute error", "root of the mean square", "R²"]
    return grid("", head, rows, right=(1, 2, 3))


def _names(said: Numbers) -> list[str]:
    outputs = said.actual.shape[1]
    return [said.target] if outputs == 1 else [f"{said.target} {k}" for k in range(outputs)]


def _residuals(said: Numbers, k: int, name: str) -> str:
    known = np.isfinite(said.predicted[:, k]) & np.isfinite(said.actual[:, k])
    error = said.predicted[known, k] - said.actual[known, k]
    if not len(error):
        return lacking("the spread of the errors: none of them is finite")
    low, high = error.min(), error.max()
    narrowest = 2 * BINS * np.spacing(max(abs(low), abs(high), 1e-280))  # bins are wider than a rounding
    if high - low < narrowest:
        low, high = low - narrowest, high + narrowest
    counts, edges = np.histogram(error, BINS, (low, high))
    data = {"counts": counts.tolist(), "edges": edges.tolist()}
    return f"<h3>predicted less actual, {text(name)}</h3>{histogram(data, width=320, height=160)}"


def hidden(given: Facts) -> str:
    """The map of the last hidden layer."""
    outcome, found = given.outcome, given.hidden
    if outcome is None or found is None:
        return ""
    groups, names = _groups(outcome, found.rows)
    sprite = sprite_of(outcome, found.rows)
    drawn = charts.scatter(found.points, groups, names, sprite, captions(outcome, found.rows))
    told = (
        f"{len(found.rows):,} examples as the layer {text(found.layer)} sees them, laid out by t-SNE: "
        "neighbours there are neighbours here; distances between heaps mean little."
    )
    return f"<p>{told}</p>{which(outcome)}{sprite.html() if sprite else ''}{drawn}"


def _groups(outcome: Outcome, rows: Array) -> tuple[list[int] | None, tuple[str, ...]]:
    """The classes of some examples; of too many to tell apart by colour, whether they are right."""
    said = outcome.classes
    if said is None or len(said.rows) < len(outcome):
        return None, ()
    if len(said.names) <= COLOURED:
        return said.labels[rows].tolist(), said.names
    return (said.predicted != said.labels)[rows].astype(int).tolist(), ("right", "wrong")
