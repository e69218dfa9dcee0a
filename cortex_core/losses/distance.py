"""Losses that measure how far a node is from its target."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortex_compute.types import TensorType, int64
from cortex_core.losses.common import (
    Wrong,
    like,
    mean_of_sample,
    weighted_mean_of_sample,
    wrong_truth,
)
from cortex_core.ops.losses import absolute_difference, hinge, huber, squared_difference
from cortex_core.ops.pointwise import cast, equal, select
from cortex_core.registry import field, loss


@loss("mse")
class MeanSquaredError:
    """(x - t)², mean over all but the batch axis.  Legendre, 1805.

    Example:
        inputs: {features: [4]}
        layers: [dense: {units: 2, id: numbers}]
        loss: {mse: {of: numbers, target: measured}}
    """

    def per_sample(self, x: Any, target: Any) -> tuple[Any, Any | None]:
        return mean_of_sample(squared_difference(x, like(self, x, target))), None


@loss("mae")
class MeanAbsoluteError:
    """|x - t|, mean over all but the batch axis.  Boscovich, 1757.

    Example:
        inputs: {features: [4]}
        layers: [dense: {units: 2, id: numbers}]
        loss: {mae: {of: numbers, target: measured}}
    """

    def per_sample(self, x: Any, target: Any) -> tuple[Any, Any | None]:
        return mean_of_sample(absolute_difference(x, like(self, x, target))), None


@loss("huber")
class Huber:
    """(x - t)² / 2 where |x - t| < delta, delta (|x - t| - delta / 2) elsewhere; mean over all but the batch.

    Huber, 1964.

    Example:
        inputs: {features: [4]}
        layers: [dense: {units: 2, id: numbers}]
        loss: {huber: {of: numbers, target: measured, delta: 0.5}}
    """

    delta: float = field(default=1.0, doc="from where on the loss is a straight line", above=0)

    def per_sample(self, x: Any, target: Any) -> tuple[Any, Any | None]:
        return mean_of_sample(huber(x, like(self, x, target), delta=self.delta)), None


@loss("hinge")
class Hinge:
    """max(0, 1 - t x), mean over all but the batch axis; t is 1, and -1 or 0 for the other class.   x (...)

    The node gives a margin, any number, whose sign is the class.  Cortes and Vapnik, 1995.

    Example:
        inputs: {features: [4]}
        layers: [dense: {units: 1, id: margin}]
        loss: {hinge: {of: margin, target: label}}
    """

    def target_type(self, x: TensorType) -> TensorType:
        return TensorType(x.shape, int64)

    def wrong(self, x: TensorType, target: np.ndarray) -> Wrong:
        return wrong_truth(target, (-1, 0, 1))

    def per_sample(self, x: Any, target: Any) -> tuple[Any, Any | None]:
        sign = select(like(self, x, target) > 0, 1.0, -1.0)
        return mean_of_sample(hinge(x, cast(sign, x.dtype))), None


@loss("censor_loss")
class CensorLoss:
    """(x - t)² where t is no NaN, the mean over the labels that are there.   x, target (...)

    A sample weighs as much as the part of its labels that is there; without any it does not count.

    The loss of this name in Cortex for Clojure, 2017.

    Example:
        inputs: {features: [4]}
        layers: [dense: {units: 3, id: numbers}]
        loss: {censor_loss: {of: numbers, target: measured}}
    """

    def absent(self, target: np.ndarray) -> np.ndarray:
        """Which examples have no label: bool (examples,)."""
        gone: np.ndarray = np.isnan(target.reshape(len(target), -1)).all(axis=1)
        return gone

    def per_sample(self, x: Any, target: Any) -> tuple[Any, Any | None]:
        t = like(self, x, target)
        there = equal(
            t, t
        )  # NaN differs from itself; it is replaced before it meets x, whose gradient it would reach
        differences = squared_difference(x, select(there, t, 0.0))
        return weighted_mean_of_sample(differences, cast(there, x.dtype))
