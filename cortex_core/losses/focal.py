"""Focal losses: cross entropies in which what is known already counts less."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortex_compute.types import TensorType, int64
from cortex_core.losses.common import Wrong, like, mean_of_sample, refuse, whole, wrong_choice
from cortex_core.losses.cross_entropy import OfChances
from cortex_core.ops.indexing import gather, one_hot
from cortex_core.ops.losses import focal_of_logarithm, focal_of_probability, focal_with_logits
from cortex_core.ops.pointwise import cast, equal, select
from cortex_core.ops.reduce import sum as total
from cortex_core.ops.softmax import log_softmax, softmax
from cortex_core.registry import field, loss


@loss("focal", logits=True)
class Focal:
    """-sum(t alpha (1 - p)^gamma log p) over the last axis, p = softmax(x).

    x (..., n); target index (...) or t (..., n).  With gamma 0 it is the cross entropy; where x has more
    axes, a sample's value is the mean over them.  Lin et al., 2017, equation 5, of classes that exclude each
    other.

    Example:
        inputs: {features: [4]}
        layers: [dense: {units: 3, id: kind}]
        loss: {focal: {of: kind, target: label}}
    """

    gamma: float = field(default=2.0, doc="how little counts what is known already", minimum=0)
    alpha: tuple[float, ...] | None = field(default=None, doc="one factor per class", minimum=0)

    def target_type(self, x: TensorType) -> TensorType:
        return TensorType(x.shape[:-1], int64)

    def prediction(self, x: Any) -> Any:
        return softmax(x)

    def wrong(self, x: TensorType, target: np.ndarray) -> Wrong:
        return wrong_choice(x, target)

    def per_sample(self, x: Any, target: Any) -> tuple[Any, Any | None]:
        if len(x.shape) < 2 or x.shape[-1] < 2:
            refuse(self, "a node of at least two classes", x, target)
        if self.alpha is not None and len(self.alpha) != x.shape[-1]:
            refuse(self, f"as many classes as alpha has factors, {len(self.alpha)}", x, target)
        logarithms = log_softmax(x)
        factors = None if self.alpha is None else np.array(self.alpha, x.dtype.storage)
        if target.shape == x.shape[:-1]:
            hit = one_hot(whole(self, target), x.shape[-1], "bool")
            values = focal_of_logarithm(total(select(hit, logarithms, 0.0), -1), gamma=self.gamma)
            values = values if factors is None else values * gather(factors, target, 0)
        elif target.shape == x.shape:
            t = cast(target, x.dtype)
            t = t if factors is None else t * factors
            each = focal_of_logarithm(logarithms, gamma=self.gamma)
            values = total(select(equal(t, 0.0), 0.0, t * each), -1)
        else:
            refuse(self, f"class indices {x.shape[1:-1]} or probabilities {x.shape[1:]}", x, target)
        return mean_of_sample(values), None


@loss("binary_focal")
class BinaryFocal(OfChances):
    """-(alpha t (1 - p)^gamma log p + (1 - alpha) (1 - t) p^gamma log(1 - p)), mean over all but the batch.

    x, target (...): each number is a yes or no of its own.  With gamma 0 and without alpha it is the binary
    cross entropy.  Lin et al., 2017, equation 5.

    Example:
        inputs: {features: [4]}
        layers: [dense: {units: 2, id: labels}]
        loss: {binary_focal: {of: labels, target: tags, from_logits: true}}
    """

    gamma: float = field(default=2.0, doc="how little counts what is known already", minimum=0)
    alpha: float | None = field(
        default=0.25, doc="factor of the positive class; 1 - alpha of the other", minimum=0, maximum=1
    )

    def per_sample(self, x: Any, target: Any) -> tuple[Any, Any | None]:
        t = like(self, x, target)
        values = (focal_with_logits if self.from_logits else focal_of_probability)(x, t, gamma=self.gamma)
        if self.alpha is not None:
            values = values * (self.alpha * t + (1 - self.alpha) * (1 - t))
        return mean_of_sample(values), None
