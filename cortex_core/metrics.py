"""Metrics: what a description may name under ``train.metrics``.

``of``, ``target`` and ``name`` belong to the place where a metric stands, not to the metric.
"""

from __future__ import annotations

from typing import Literal

from cortex_core.registry import base, field, metric


@metric("accuracy")
class Accuracy:
    """Share of samples whose largest output is the target class; one output counts from ``threshold``."""

    threshold: float = field(default=0.5, doc="probability from which one output counts as positive")


@metric("top_k", main="k")
class TopK:
    """Share of samples whose target is among the ``k`` largest outputs."""

    k: int = field(default=5, doc="how many outputs count", minimum=1)


@base
class PerClass:
    """What is counted per class and then averaged."""

    average: Literal["macro", "micro", "weighted"] = field(default="macro", doc="how classes are averaged")
    threshold: float = field(default=0.5, doc="probability from which one output counts as positive")


@metric("precision")
class Precision(PerClass):
    """True positives over predicted positives."""


@metric("recall")
class Recall(PerClass):
    """True positives over actual positives."""


@metric("f1")
class F1(PerClass):
    """Harmonic mean of precision and recall."""


@metric("confusion_matrix")
class ConfusionMatrix:
    """Counts (target class, predicted class)."""


@metric("mse")
class MeanSquaredErrorMetric:
    """(x - t)², mean over all elements."""


@metric("mae")
class MeanAbsoluteErrorMetric:
    """|x - t|, mean over all elements."""


@metric("r2")
class R2:
    """1 - sum (t - x)² / sum (t - mean t)², the coefficient of determination."""
