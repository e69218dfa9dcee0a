"""How well a classifier tells classes apart: confusion, scores by class, ROC, calibration."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cortex_viz import charts
from cortex_viz.page import grid, text
from cortex_viz.report import measures
from cortex_viz.report.facts import Facts, exact, narrow, share, which
from cortex_viz.report.outcome import Classes, Outcome
from cortex_viz.report.pictures import captions, sprite_of
from cortex_viz.report.shown import Array

CELL = 12  # examples of a cell that a click shows
EXAMPLES = 1200  # of all cells
NAMED = 40  # classes of a matrix, and of a table that is not folded
CURVES = 10  # ROC curves: as many as there are colours
LISTED = 200  # classes of the table
GREY = 9  # of the colours


def confusion(given: Facts) -> str:
    """The confusion matrix, whose cells open their examples."""
    counted, outcome = counts(given), given.outcome
    if counted is None:
        return ""
    found = counted.matrix
    chosen = _most_confused(found)
    shown = found[np.ix_(chosen, chosen)]
    right, total = np.trace(found), found.sum()
    told = f"{right:,} of {total:,} right ({100 * right / max(1, total):.2f} %)."
    unseen = np.count_nonzero(found.sum(axis=0) + found.sum(axis=1) == 0)
    if len(chosen) < len(found) - unseen:
        told += (
            f" Shown are the {len(chosen)} of {len(found):,} classes that are confused most; "
            f"{total - shown.sum():,} examples lie outside."
        )
    elif unseen:
        told += f" Classes that no example has, and that none is taken for, are left out: {unseen:,}."
    labels, totals = [counted.names[i] for i in chosen], found.sum(axis=1)[chosen]
    if outcome is None or outcome.classes is None:
        return f"<p>{told}</p>{counted.told}{charts.matrix(shown, labels, totals=totals)}"
    cells = _cells(outcome, outcome.classes, chosen)
    rows = np.unique(np.concatenate([*cells.values(), np.zeros(0, np.intp)]))
    place = {int(row): i for i, row in enumerate(rows)}
    sprite = sprite_of(outcome, rows)
    opened = {cell: [place[int(row)] for row in own] for cell, own in cells.items()}
    drawn = charts.matrix(shown, labels, sprite, opened, captions(outcome, rows), totals)
    hint = "A cell opens its examples, the least sure of right ones and the surest of wrong ones first."
    return f"<p>{told} {hint}</p>{counted.told}{sprite.html() if sprite else ''}{drawn}"


class Counts(NamedTuple):
    """A confusion ``matrix`` (true class, predicted class), and which examples it counts, in HTML."""

    matrix: Array
    names: tuple[str, ...]
    told: str


def counts(given: Facts) -> Counts | None:
    """Those of the outcome; where it has some of the examples and the run counted them all, those of the run.

    With class weights the run did not count but weigh.
    """
    outcome, known = given.outcome, given.summary.get("confusion")
    if outcome is None or outcome.classes is None:
        if known is None:
            return None
        part = "test" if "test" in given.summary["metrics"] else "validation"
        told = f'<p class="soft">As the run itself counted the examples of its {part} part.</p>'
        return Counts(np.asarray(known), tuple(given.summary["classes"]), told)
    said = outcome.classes
    own = measures.matrix(said.labels, said.predicted, len(said.names))
    some = len(outcome) < outcome.whole and outcome.part in ("test", "validation") and not said.weighted
    if some and known is not None and np.shape(known) == own.shape:
        return Counts(np.asarray(known), said.names, which(outcome, whole=True))
    return Counts(own, said.names, which(outcome))


def _most_confused(counts: Array) -> Array:
    """The classes that occur, in their order; of many those with the most mistakes."""
    occur = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    wrong = (counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts))[occur]
    return np.sort(occur[np.argsort(-wrong, kind="stable")[:NAMED]])


def _cells(outcome: Outcome, said: Classes, chosen: Array) -> dict[tuple[int, int], Array]:
    """The examples of each cell, as rows of the outcome, of the classes ``chosen``."""
    predicted, sure = said.predicted, said.probabilities.max(axis=1)
    order = np.argsort(np.where(predicted == said.labels, sure, 1 - sure), kind="stable")
    place = {int(c): i for i, c in enumerate(chosen)}
    cells: dict[tuple[int, int], list[int]] = {}
    for i in order:
        cell = place.get(int(said.labels[i])), place.get(int(predicted[i]))
        if cell[0] is not None and cell[1] is not None:
            cells.setdefault((cell[0], cell[1]), []).append(int(said.rows[i]))
    most = max(1, min(CELL, EXAMPLES // max(1, len(cells))))
    return {cell: np.array(rows[:most]) for cell, rows in cells.items()}


def table(given: Facts) -> str:
    """Precision, recall, F1, support and the area below the ROC curve by class."""
    counted = counts(given)
    if counted is None:
        return ""
    names, found = counted.names, measures.scores(counted.matrix)
    columns = {"precision": found.precision, "recall": found.recall, "F1": found.f1}
    if given.outcome is not None and given.outcome.classes is not None:
        columns["ROC area"] = given.outcome.classes.areas
    shown, cut = np.arange(len(names)), ""
    if len(names) > LISTED:
        shown = np.argsort(found.f1, kind="stable")[:LISTED]
        cut = f" Shown are the {LISTED} of {len(names):,} classes with the lowest F1."
    rows = [
        [text(names[i]), exact(found.support[i].item()), *(share(c[i].item()) for c in columns.values())]
        for i in shown
    ]
    means = [share(_mean(column[found.support > 0])) for column in columns.values()]
    rows.append(["mean", exact(found.support.sum().item()), *means])
    caption = f"The last line: the mean over the classes that occur.{cut}"
    drawn = grid(caption, ["class", "examples", *columns], rows, right=range(1, len(columns) + 2))
    if len(rows) > NAMED:
        drawn = f"<details><summary>{len(names):,} classes</summary>{drawn}</details>"
    return counted.told + drawn


def _mean(values: Array) -> float:
    """Of those that are numbers."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def roc(given: Facts) -> str:
    """One curve for each class against all others."""
    if given.outcome is None or given.outcome.classes is None:
        return ""
    said = given.outcome.classes
    areas = said.areas
    known = np.flatnonzero(~np.isnan(areas))
    if not len(known):
        why = "All examples are of one class" if len(said.labels) else "No example has a class"
        return f"<p>{why}: there is nothing to tell apart.</p>"
    kept = known[-1:] if len(areas) == 2 else known[np.argsort(areas[known], kind="stable")[:CURVES]]
    lines = [charts.Series("chance", [0.0, 1.0], [0.0, 1.0], dashed=True, colour=GREY)]
    for colour, i in enumerate(np.sort(kept)):
        x, y = measures.corners(measures.roc(said.labels == i, said.probabilities[:, i]))
        name = f"{said.names[i]} ({areas[i]:.4f})"
        own = int(i) if len(areas) <= CURVES else colour  # as in the map of the hidden layer
        lines.append(charts.Series(name, _digits(x), _digits(y), colour=own))
    told = f"Mean area {share(float(areas[known].mean()))} over {len(known):,} classes."
    if len(kept) < len(known) and len(areas) > 2:
        told += f" Drawn are the {len(kept)} with the smallest."
    if len(areas) == 2:
        told = f"The area below the curve of {text(said.names[kept[0]])} is {share(float(areas[kept[0]]))}."
    drawn = narrow(charts.lines(lines, x="false positives, share", y="true positives, share"))
    return f"<p>{told}</p>{which(given.outcome)}{drawn}"


def _digits(values: Array) -> list[float]:
    return [round(float(v), 5) for v in values]


def calibration(given: Facts) -> str:
    """Whether a network that says 0.9 is right nine times of ten."""
    if given.outcome is None or given.outcome.classes is None or not len(given.outcome.classes.labels):
        return ""
    said = given.outcome.classes
    found = measures.calibration(said.probabilities, said.predicted == said.labels)
    told = (
        f"Expected calibration error {share(found.error)}, over {measures.BINS} bins of the highest "
        "probability of each example. Below the diagonal the network is surer than it is right."
    )
    confidence, accuracy = _digits(found.confidence), _digits(found.accuracy)
    lines = [
        charts.Series("calibrated", [0.0, 1.0], [0.0, 1.0], dashed=True, colour=GREY),
        charts.Series("share that is right", confidence, accuracy, points=True, colour=0),
    ]
    rows = [
        [share(c), share(a), exact(n)]
        for c, a, n in zip(found.confidence.tolist(), found.accuracy.tolist(), found.counts.tolist())
    ]
    bins = grid("", ["mean probability", "share that is right", "examples"], rows, right=(1, 2))
    drawn = narrow(charts.lines(lines, x="highest probability", y="share that is right"))
    bins = f"<details><summary>{len(rows)} bins with examples</summary>{bins}</details>"
    return f"<p>{told}</p>{which(given.outcome)}{drawn}{bins}"
