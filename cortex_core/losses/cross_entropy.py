"""Cross entropies of classes and of probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortex_compute.errors import DTypeError
from cortex_compute.types import TensorType, int64
from cortex_core.losses.common import (
    Wrong,
    first_wrong,
    like,
    mean_of_sample,
    refuse,
    weighted_mean_of_sample,
    whole,
    wrong_choice,
    wrong_share,
)
from cortex_core.ops.indexing import gather
from cortex_core.ops.losses import cross_entropy_of_probability, divergence
from cortex_core.ops.pointwise import cast, not_equal, select, sigmoid
from cortex_core.ops.reduce import sum as total
from cortex_core.ops.softmax import (
    binary_cross_entropy_with_logits,
    log_softmax,
    softmax,
    softmax_cross_entropy,
)
from cortex_core.registry import base, field, loss


@loss("softmax_cross_entropy", logits=True)
class SoftmaxCrossEntropy:
    """-sum(t log softmax(x)) over the last axis.   x (..., n); target index (...) or t (..., n)

    Where x has more axes, such as time, a sample's value is the mean over them.  A class weight is the
    weight of each sample, or of each place in it, whose target is that class.

    Bridle, 1990; label smoothing: Szegedy et al., 2016.

    Example:
        inputs: {features: [4]}
        layers: [dense: {units: 3, id: kind}]
        loss: {softmax_cross_entropy: {of: kind, target: label}}
    """

    label_smoothing: float = field(default=0.0, doc="part of the target spread evenly", minimum=0, below=1)
    class_weights: tuple[float, ...] | None = field(default=None, doc="one weight per class", minimum=0)
    ignore_index: int | None = field(default=None, doc="class index whose samples do not count")

    def target_type(self, x: TensorType) -> TensorType:
        return TensorType(x.shape[:-1], int64)

    def prediction(self, x: Any) -> Any:
        return softmax(x)

    def wrong(self, x: TensorType, target: np.ndarray) -> Wrong:
        return wrong_choice(x, target, self.ignore_index)

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
        values = softmax_cross_entropy(x, whole(self, target), self.label_smoothing)
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


@base
class OfChances:
    """What losses have in common whose node gives the chance of each yes, or its logit."""

    from_logits: bool = field(default=False, doc="the node gives logits, not probabilities")

    def prediction(self, x: Any) -> Any:
        return sigmoid(x) if self.from_logits else x

    def wrong(self, x: TensorType, target: np.ndarray) -> Wrong:
        return wrong_share(target)


@loss("binary_cross_entropy")
class BinaryCrossEntropy(OfChances):
    """-(w t log p + (1 - t) log(1 - p)), mean over all but the batch axis.   x, target (...).  Cox, 1958.

    Example:
        inputs: {features: [4]}
        layers: [dense: {units: 1, activation: sigmoid, id: chance}]
        loss: {binary_cross_entropy: {of: chance, target: happened}}
    """

    positive_weight: float = field(default=1.0, doc="weight w of the positive class", above=0)
    label_smoothing: float = field(default=0.0, doc="pulls targets towards 1/2", minimum=0, below=1)

    def per_sample(self, x: Any, target: Any) -> tuple[Any, Any | None]:
        t = like(self, x, target)
        if self.label_smoothing:
            t = (1 - self.label_smoothing) * t + self.label_smoothing / 2
        of = binary_cross_entropy_with_logits if self.from_logits else cross_entropy_of_probability
        return mean_of_sample(of(x, t, positive_weight=self.positive_weight)), None


@loss("kl_divergence", logits=True)
class KLDivergence:
    """sum(t log(t / softmax(x))) over the last axis.   x, t (..., n); t is a distribution

    x are logits, log-probabilities, or a node that ends in softmax.  Where it has more axes, a sample's value
    is the mean over them.  Kullback and Leibler, 1951.

    Example:
        inputs: {features: [4]}
        layers: [dense: {units: 3, activation: softmax, id: shares}]
        loss: {kl_divergence: {of: shares, target: distribution}}
    """

    def prediction(self, x: Any) -> Any:
        return softmax(x)

    def wrong(self, x: TensorType, target: np.ndarray) -> Wrong:
        negative = first_wrong(target < 0, target, "the number", "which is no probability")
        if negative is not None:
            return negative
        sums = target.sum(-1, dtype=np.float64)
        return first_wrong(
            abs(sums - 1) > 1e-3, sums, "numbers with the sum", "those of a distribution have 1"
        )

    def example_target(self, x: TensorType, rng: np.random.Generator) -> np.ndarray:
        return rng.dirichlet(np.full(x.shape[-1], 5.0), x.shape[:-1])

    def per_sample(self, x: Any, target: Any) -> tuple[Any, Any | None]:
        if len(x.shape) < 2 or x.shape[-1] < 2 or target.shape != x.shape:
            refuse(self, "a node of at least two probabilities and a target of its shape", x, target)
        return mean_of_sample(total(divergence(log_softmax(x), cast(target, x.dtype)), -1)), None
