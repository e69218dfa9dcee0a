"""Losses: what a description may name under ``loss``.

``of``, ``target``, ``weight`` and ``name`` belong to the place where a loss stands, not to the loss.

``per_sample(x, target)`` gives one value for each sample, (B,), and weights, (B,) or None; the mean
sum(weight value) / sum(weight) is taken by the step.  ``target_type(x)`` is what a target is where no data
says it, and ``prediction(x)`` what people want to see of the node.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from cortex_compute.errors import DTypeError, ShapeError
from cortex_compute.types import TensorType, int64
from cortex_core.layers.expect import reasoned
from cortex_core.ops.indexing import gather
from cortex_core.ops.pointwise import cast, log, maximum, not_equal, pointwise, select, sigmoid
from cortex_core.ops.reduce import mean
from cortex_core.ops.reduce import sum as total
from cortex_core.ops.softmax import (
    binary_cross_entropy_with_logits,
    softmax,
    softmax_cross_entropy,
)
from cortex_core.ops.views import reshape
from cortex_core.registry import field, loss

SMALLEST = 1.1754943508222875e-38  # normal float32: no logarithm of a probability is below -87.3


def refuse(loss: Any, needs: str, x: Any, target: Any) -> NoReturn:
    """Raises a `ShapeError`: what a loss or a metric needs, and both shapes without the batch axis."""
    shapes = f"the node is {x.shape[1:]}, the target is {target.shape[1:]}"
    raise reasoned(ShapeError, shapes, f"{loss.kind} needs {needs}")


def of_each_sample(loss: Any, x: Any, target: Any) -> tuple[Any, Any | None]:
    """What ``per_sample`` gives; `ShapeError` where that is not a value, and a weight or None, per sample."""
    found = loss.per_sample(x, target)
    pair = found if isinstance(found, tuple) else (found,)
    shapes = [None if part is None else part.shape for part in pair]
    if len(pair) != 2 or shapes[0] != x.shape[:1] or shapes[1] not in (None, x.shape[:1]):
        given = ", ".join("None" if shape is None else str(shape) for shape in shapes)
        each = f"one of each for {x.shape[0]} samples"
        refuse(loss, f"its per_sample to give (values, weights or None), {each}; it gave {given}", x, target)
    return pair


def like(loss: Any, x: Any, target: Any) -> Any:
    """The target in x's shape and type; (B,) may stand for (B, 1)."""
    if target.shape != x.shape:
        if (*target.shape, 1) != x.shape:
            refuse(loss, "a target of the node's shape", x, target)
        target = reshape(target, x.shape)
    return cast(target, x.dtype)


def mean_of_sample(values: Any) -> Any:
    """The mean over all axes but the first."""
    return mean(values, tuple(range(1, len(values.shape)))) if len(values.shape) > 1 else values


def weighted_mean_of_sample(values: Any, weights: Any) -> tuple[Any, Any]:
    """The weighted mean over all axes but the first, and the mean weight."""
    if len(values.shape) == 1:
        return values, weights
    axes = tuple(range(1, len(values.shape)))
    whole = total(weights, axes)
    part = total(select(weights > 0, values * weights, 0.0), axes)
    return part / select(whole > 0, whole, 1.0), mean(weights, axes)


@loss("softmax_cross_entropy")
class SoftmaxCrossEntropy:
    """-sum(t log softmax(x)) over the last axis.   x (..., n); target index (...) or t (..., n)

    Where x has more axes, such as time, a sample's value is the mean over them.  A class weight is the
    weight of each sample, or of each place in it, whose target is that class.
    """

    label_smoothing: float = field(default=0.0, doc="part of the target spread evenly", minimum=0, below=1)
    class_weights: tuple[float, ...] | None = field(default=None, doc="one weight per class", minimum=0)
    ignore_index: int | None = field(default=None, doc="class index whose samples do not count")

    def target_type(self, x: TensorType) -> TensorType:
        return TensorType(x.shape[:-1], int64)

    def prediction(self, x: Any) -> Any:
        return softmax(x)

    def per_sample(self, x: Any, target: Any) -> tuple[Any, Any | None]:
        if len(x.shape) < 2 or x.shape[-1] < 2:
            refuse(self, "a node of at least two classes", x, target)
        if self.class_weights is not None and len(self.class_weights) != x.shape[-1]:
            refuse(self, f"as many classes as class_weights, {len(self.class_weights)}", x, target)
        if target.shape == x.shape[:-1]:
            values, weights = self._of_indices(x, target)
        elif target.shape == x.shape:
            values, weights = self._of_probabilities(x, cast(target, x.dtype))
        else:
            refuse(self, f"class indices {x.shape[1:-1]} or probabilities {x.shape[1:]}", x, target)
        if weights is None:
            return mean_of_sample(values), None
        return weighted_mean_of_sample(values, weights)

    def _of_indices(self, x: Any, target: Any) -> tuple[Any, Any | None]:
        if target.dtype.kind != "int":
            raise DTypeError(f"softmax_cross_entropy needs whole class indices, the target is {target.dtype}")
        values = softmax_cross_entropy(x, target, self.label_smoothing)
        weights = None if self.class_weights is None else gather(self._weights(x), target, 0)
        if self.ignore_index is not None:
            counts = not_equal(target, self.ignore_index)
            weights = cast(counts, x.dtype) if weights is None else select(counts, weights, 0.0)
        return values, weights

    def _of_probabilities(self, x: Any, target: Any) -> tuple[Any, Any | None]:
        if self.ignore_index is not None:
            raise DTypeError("ignore_index needs class indices, the target holds probabilities")
        weights = None if self.class_weights is None else total(self._weights(x) * target, -1)
        return softmax_cross_entropy(x, target, self.label_smoothing), weights

    def _weights(self, x: Any) -> np.ndarray:
        return np.array(self.class_weights, x.dtype.storage)


@pointwise
def cross_entropy_of_probability(p: Any, t: Any, positive_weight: float) -> Any:
    """-(w t log p + (1 - t) log(1 - p)), finite also where p is 0 or 1"""
    positive = t if positive_weight == 1 else positive_weight * t
    return -(positive * log(maximum(p, SMALLEST)) + (1.0 - t) * log(maximum(1.0 - p, SMALLEST)))


@loss("binary_cross_entropy")
class BinaryCrossEntropy:
    """-(w t log p + (1 - t) log(1 - p)), mean over all but the batch axis.   x, target (...)"""

    from_logits: bool = field(default=False, doc="the node gives logits, not probabilities")
    positive_weight: float = field(default=1.0, doc="weight w of the positive class", above=0)
    label_smoothing: float = field(default=0.0, doc="pulls targets towards 1/2", minimum=0, below=1)

    def target_type(self, x: TensorType) -> TensorType:
        return x

    def prediction(self, x: Any) -> Any:
        return sigmoid(x) if self.from_logits else x

    def per_sample(self, x: Any, target: Any) -> tuple[Any, Any | None]:
        t = like(self, x, target)
        if self.label_smoothing:
            t = (1 - self.label_smoothing) * t + self.label_smoothing / 2
        of = binary_cross_entropy_with_logits if self.from_logits else cross_entropy_of_probability
        return mean_of_sample(of(x, t, positive_weight=self.positive_weight)), None


@pointwise
def squared_difference(x: Any, t: Any) -> Any:
    """(x - t)^2"""
    return (x - t) ** 2


@pointwise
def absolute_difference(x: Any, t: Any) -> Any:
    """|x - t|"""
    return abs(x - t)


@loss("mse")
class MeanSquaredError:
    """(x - t)², mean over all but the batch axis."""

    def per_sample(self, x: Any, target: Any) -> tuple[Any, Any | None]:
        return mean_of_sample(squared_difference(x, like(self, x, target))), None


@loss("mae")
class MeanAbsoluteError:
    """|x - t|, mean over all but the batch axis."""

    def per_sample(self, x: Any, target: Any) -> tuple[Any, Any | None]:
        return mean_of_sample(absolute_difference(x, like(self, x, target))), None
