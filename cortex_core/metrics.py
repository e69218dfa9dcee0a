"""Metrics: what a description may name under ``train.metrics``.

``of``, ``target`` and ``name`` belong to the place where a metric stands, not to the metric.

``sums(x, target, weight)`` gives the summands of one batch as float64 values of fixed shapes: x is what the
loss calls the prediction, weight is (B,) or None.  ``result(*totals)`` makes the metric of their totals, on
the host.  ``better`` says in which direction a metric improves.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import numpy as np

from cortex_compute.types import float64, int64
from cortex_core.detection import DetectionF1 as DetectionF1
from cortex_core.losses import like, refuse
from cortex_core.ops.apply import interpreter
from cortex_core.ops.indexing import one_hot, top_k
from cortex_core.ops.linear import matmul
from cortex_core.ops.losses import absolute_difference, squared_difference
from cortex_core.ops.pointwise import cast, equal, maximum, not_equal
from cortex_core.ops.reduce import argmax, mean
from cortex_core.ops.reduce import sum as total
from cortex_core.ops.views import broadcast_to, reshape
from cortex_core.registry import base, field, metric

Totals = np.ndarray
IGNORED = "class index whose places do not count"


def classes(metric: Any, x: Any, target: Any, threshold: float) -> tuple[Any, Any, int]:
    """The predicted and the true class of each place, int64 (n,), and how many classes there are.

    The last axis of x counts the classes; a single output, or none, is the probability of class 1 of two.
    """
    single = len(x.shape) == 1 or x.shape[-1] == 1
    if target.shape not in (x.shape, x.shape[:-1]) or (single and not target.shape):
        refuse(metric, f"a target of shape {x.shape[1:-1]} or {x.shape[1:]}", x, target)
    if single:
        predicted, actual = cast(x >= threshold, int64), cast(target > 0.5, int64)
    else:
        predicted = argmax(x, -1)
        actual = argmax(target, -1) if target.shape == x.shape else cast(target, int64)
    return reshape(predicted, (-1,)), reshape(actual, (-1,)), 2 if single else x.shape[-1]


def weights_of(x: Any, weight: Any | None, places: int) -> Any:
    """The weight of each place, float64 (places,); a sample's weight holds for all of its places."""
    if weight is None:
        return broadcast_to(interpreter((x,)).lift(np.ones((), np.float64)), (places,))
    samples = x.shape[0]
    each = reshape(cast(weight, float64), (samples, 1))
    return reshape(broadcast_to(each, (samples, places // max(1, samples))), (places,))


def counted(metric: Any, x: Any, weight: Any | None, actual: Any) -> Any:
    """The weight of each place by its true class: none where that is the metric's ``ignore_index``.

    A sample's weight is the mean over its places, those that are ignored counting as 0 (so a loss gives it);
    here the others share it.  Without weights each of them counts once.
    """
    places = actual.shape[0]
    if metric.ignore_index is None:
        return weights_of(x, weight, places)
    counts = cast(not_equal(actual, metric.ignore_index), float64)
    if weight is not None:
        share = mean(reshape(counts, (x.shape[0], -1)), -1)
        weight = cast(weight, float64) / maximum(share, 1 / places)
    return weights_of(x, weight, places) * counts


def rows(x: Any) -> Any:
    """One row per sample, float64."""
    return reshape(cast(x, float64), (x.shape[0], math.prod(x.shape[1:])))


def ratio(a: Totals, b: Totals) -> float:
    """a / b, NaN where nothing was counted."""
    return float(a) / float(b) if float(b) else float("nan")


@metric("accuracy")
class Accuracy:
    """Share of samples whose largest output is the target class; one output counts from ``threshold``."""

    threshold: float = field(default=0.5, doc="probability from which one output counts as positive")
    ignore_index: int | None = field(default=None, doc=IGNORED)

    better: ClassVar[str] = "higher"

    def sums(self, x: Any, target: Any, weight: Any | None) -> tuple[Any, ...]:
        predicted, actual, _ = classes(self, x, target, self.threshold)
        w = counted(self, x, weight, actual)
        return total(cast(equal(predicted, actual), float64) * w), total(w)

    def result(self, right: Totals, count: Totals) -> float:
        return ratio(right, count)


@metric("top_k", main="k")
class TopK:
    """Share of samples whose target is among the ``k`` largest outputs."""

    k: int = field(default=5, doc="how many outputs count", minimum=1)
    ignore_index: int | None = field(default=None, doc=IGNORED)

    better: ClassVar[str] = "higher"

    def sums(self, x: Any, target: Any, weight: Any | None) -> tuple[Any, ...]:
        if len(x.shape) < 2 or x.shape[-1] < max(2, self.k):
            refuse(self, f"at least {max(2, self.k)} outputs", x, target)
        _, actual, _ = classes(self, x, target, 0.5)
        _, largest = top_k(reshape(x, (-1, x.shape[-1])), self.k)
        hit = total(cast(equal(largest, reshape(actual, (-1, 1))), float64), -1)
        w = counted(self, x, weight, actual)
        return total(hit * w), total(w)

    def result(self, right: Totals, count: Totals) -> float:
        return ratio(right, count)


@base
class PerClass:
    """What is counted per class and averaged over the classes that occur; of one output, class 1 alone."""

    average: Literal["macro", "micro", "weighted"] = field(default="macro", doc="how classes are averaged")
    threshold: float = field(default=0.5, doc="probability from which one output counts as positive")
    ignore_index: int | None = field(default=None, doc=IGNORED)

    better: ClassVar[str] = "higher"

    def sums(self, x: Any, target: Any, weight: Any | None) -> tuple[Any, ...]:
        predicted, actual, n = classes(self, x, target, self.threshold)
        w = reshape(counted(self, x, weight, actual), (-1, 1))
        p, t = one_hot(predicted, n, float64), one_hot(actual, n, float64)
        counts = total(p * t * w, 0), total(p * w, 0), total(t * w, 0)
        single = len(x.shape) == 1 or x.shape[-1] == 1
        return tuple(c[1:] for c in counts) if single else counts

    def result(self, right: Totals, predicted: Totals, actual: Totals) -> float:
        occurs = (predicted + actual) > 0
        if not occurs.any():
            return float("nan")
        right, predicted, actual = right[occurs], predicted[occurs], actual[occurs]
        if self.average == "micro":
            return float(self.score(right.sum(), predicted.sum(), actual.sum()))
        scores = self.score(right, predicted, actual)
        if self.average == "macro":
            return float(scores.mean())
        return ratio((scores * actual).sum(), actual.sum())

    def score(self, right: Totals, predicted: Totals, actual: Totals) -> Totals:
        """The score of each class; 0 where it would be 0 / 0."""
        raise NotImplementedError


def share(a: Totals, b: Totals) -> Totals:
    """a / b, 0 where b is 0."""
    return np.asarray(a / np.where(b > 0, b, 1))


@metric("precision")
class Precision(PerClass):
    """True positives over predicted positives."""

    def score(self, right: Totals, predicted: Totals, actual: Totals) -> Totals:
        return share(right, predicted)


@metric("recall")
class Recall(PerClass):
    """True positives over actual positives."""

    def score(self, right: Totals, predicted: Totals, actual: Totals) -> Totals:
        return share(right, actual)


@metric("f1")
class F1(PerClass):
    """Harmonic mean of precision and recall."""

    def score(self, right: Totals, predicted: Totals, actual: Totals) -> Totals:
        return share(2 * right, predicted + actual)


@metric("confusion_matrix")
class ConfusionMatrix:
    """Counts (target class, predicted class), by weight where samples have one."""

    ignore_index: int | None = field(default=None, doc=IGNORED)

    better: ClassVar[str] = "higher"

    def sums(self, x: Any, target: Any, weight: Any | None) -> tuple[Any, ...]:
        predicted, actual, n = classes(self, x, target, 0.5)
        w = reshape(counted(self, x, weight, actual), (-1, 1))
        return (matmul(one_hot(actual, n, float64), one_hot(predicted, n, float64) * w, transpose_a=True),)

    def result(self, counts: Totals) -> np.ndarray:
        whole = counts.astype(np.int64)
        return whole if (whole == counts).all() else counts


@metric("mse")
class MeanSquaredErrorMetric:
    """(x - t)², mean over all elements."""

    better: ClassVar[str] = "lower"

    def sums(self, x: Any, target: Any, weight: Any | None) -> tuple[Any, ...]:
        return difference_sums(squared_difference, x, like(self, x, target), weight)

    def result(self, difference: Totals, count: Totals) -> float:
        return ratio(difference, count)


@metric("mae")
class MeanAbsoluteErrorMetric:
    """|x - t|, mean over all elements."""

    better: ClassVar[str] = "lower"

    def sums(self, x: Any, target: Any, weight: Any | None) -> tuple[Any, ...]:
        return difference_sums(absolute_difference, x, like(self, x, target), weight)

    def result(self, difference: Totals, count: Totals) -> float:
        return ratio(difference, count)


def difference_sums(f: Any, x: Any, target: Any, weight: Any | None) -> tuple[Any, Any]:
    """The sum over the samples of the mean of f(x, target), and the number of samples."""
    each = mean(rows(f(x, target)), -1)
    w = weights_of(x, weight, x.shape[0])
    return total(each * w), total(w)


@metric("r2")
class R2:
    """1 - sum (t - x)² / sum (t - mean t)², the coefficient of determination; the mean over outputs."""

    better: ClassVar[str] = "higher"

    def sums(self, x: Any, target: Any, weight: Any | None) -> tuple[Any, ...]:
        x, t = rows(x), rows(like(self, x, target))
        w = reshape(weights_of(x, weight, x.shape[0]), (-1, 1))
        return total(w * squared_difference(x, t), 0), total(w * t, 0), total(w * t * t, 0), total(w)

    def result(self, error: Totals, first: Totals, second: Totals, count: Totals) -> float:
        if not float(count):
            return float("nan")
        spread = second - first * first / count
        spread = np.where(spread > 1e-14 * second, spread, 0.0)  # less is rounding
        constant = np.where(error > 0, 0.0, 1.0)  # as scikit-learn has it where the targets do not vary
        scores = np.where(spread > 0, 1.0 - error / np.where(spread > 0, spread, 1.0), constant)
        return float(scores.mean())
