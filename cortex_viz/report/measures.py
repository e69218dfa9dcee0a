"""How good class probabilities are: scores by class, ROC curves, calibration."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
BINS = 15


class Scores(NamedTuple):
    """One number for each class, (k,); 0 where it would be 0 / 0."""

    precision: Array
    recall: Array
    f1: Array
    support: Array


class Roc(NamedTuple):
    """The curve from (0, 0) to (1, 1) over all thresholds, and the area below it (NaN where every example is
    of one kind)."""

    false_positives: Array
    true_positives: Array
    area: float


class Calibration(NamedTuple):
    """For each bin that holds examples: the mean confidence, the share that is right, how many; and the
    expected calibration error."""

    confidence: Array
    accuracy: Array
    counts: Array
    error: float


def scores(counts: Array) -> Scores:
    """Precision, recall, F1 and support of each class, from counts (true class, predicted class)."""
    right, actual, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)

    def share(part: Array, whole: Array) -> Array:
        return np.asarray(part / np.where(whole > 0, whole, 1))

    return Scores(share(right, predicted), share(right, actual), share(2 * right, actual + predicted), actual)


def matrix(labels: Array, predicted: Array, classes: int) -> Array:
    """Counts (true class, predicted class), (classes, classes)."""
    flat = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes)


def roc(positive: Array, score: Array) -> Roc:
    """The receiver operating characteristic of a score (n,) for what is ``positive`` (n,), bool.

    Equal scores are one threshold, so the area counts a tie as one half.
    """
    if not len(score):
        return Roc(np.array([0.0, 1.0]), np.array([0.0, 1.0]), float("nan"))
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    true = np.cumsum(positive[order])[ends]
    false = 1 + ends - true
    if not true[-1] or not false[-1]:
        return Roc(np.array([0.0, 1.0]), np.array([0.0, 1.0]), float("nan"))
    x, y = np.append(0, false) / false[-1], np.append(0, true) / true[-1]
    return Roc(x, y, float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2)))


def areas(probabilities: Array, labels: Array) -> Array:
    """The area below the ROC curve of each class against all others, (k,), from probabilities (n, k).

    Without the curves, by ranks (Mann and Whitney, 1947): the share of the pairs of an example of the class
    and another one in which the former is the likelier, a tie counting as one half.  NaN where there is no
    such pair.
    """
    found = np.full(probabilities.shape[1], np.nan)
    for k, column in enumerate(probabilities.T):
        own = column[labels == k]
        others = len(column) - len(own)
        if len(own) and others:
            ranked = np.sort(column)
            below = np.searchsorted(ranked, own).sum() + np.searchsorted(ranked, own, side="right").sum()
            found[k] = (below - len(own) ** 2) / (2 * len(own) * others)
    return found


def corners(curve: Roc, most: int = 200) -> tuple[Array, Array]:
    """The points where a curve turns, at most about ``most`` of them."""
    x, y = curve.false_positives, curve.true_positives
    dx, dy = np.diff(x), np.diff(y)
    turns = np.append(True, np.append(np.abs(dx[1:] * dy[:-1] - dx[:-1] * dy[1:]) > 1e-15, True))
    places = np.flatnonzero(turns)
    if len(places) > most:
        places = places[np.unique(np.linspace(0, len(places) - 1, most).astype(int))]
    return x[places], y[places]


def calibration(probabilities: Array, right: Array, bins: int = BINS) -> Calibration:
    """How often what has the highest probability (n, k) is ``right`` (n,), by equal bins of it: a bin holds
    its upper edge.

    The error is the mean distance of accuracy and confidence, weighted by the examples of the bins (Guo et
    al., On calibration of modern neural networks, 2017).
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    bin_ = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence)
    counts = np.bincount(bin_, minlength=bins)
    held = counts > 0
    mean = np.bincount(bin_, confidence, bins)[held] / counts[held]
    share = np.bincount(bin_, right, bins)[held] / counts[held]
    error = float(np.sum(counts[held] * np.abs(share - mean)) / len(right))
    return Calibration(mean, share, counts[held], error)


def entropy(probabilities: Array) -> Array:
    """-sum p log p over the classes, in nats, (n, k) -> (n,)."""
    p = probabilities.astype(np.float64)
    return np.asarray(-np.sum(p * np.log(np.where(p > 0, p, 1)), axis=1))
