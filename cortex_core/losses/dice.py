"""The overlap of areas."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortex_compute.types import TensorType, int64
from cortex_core.losses.common import Wrong, like, refuse, whole, wrong_class, wrong_share
from cortex_core.ops.indexing import one_hot
from cortex_core.ops.pointwise import sigmoid
from cortex_core.ops.reduce import mean
from cortex_core.ops.reduce import sum as total
from cortex_core.ops.softmax import softmax
from cortex_core.registry import field, loss


@loss("dice")
class Dice:
    """1 - (2 sum(p t) + smooth) / (sum(p) + sum(t) + smooth), the sums over space, the mean over channels.

    x (B, ..., C) with probabilities p.  One channel: target (B, ..., 1) or (B, ...) of truths; several, of
    classes that exclude each other: indices (B, ...) or truths (B, ..., C).  Each class counts the same,
    however small its area.  Milletari et al., 2016 (V-Net), with squares below: ``squared``.

    Example:
        inputs: {image: [3, 3, 1]}
        layers: [conv2d: {filters: 1, kernel: 3, padding: same, activation: sigmoid, id: area}]
        loss: {dice: {of: area, target: mask}}
    """

    smooth: float = field(default=1.0, doc="added above and below, for areas that are empty", above=0)
    squared: bool = field(default=False, doc="the sums of p² and t² below, instead of p and t")
    from_logits: bool = field(
        default=False, doc="the node gives logits: of a sigmoid where it has one channel, else of a softmax"
    )

    def target_type(self, x: TensorType) -> TensorType:
        return x if x.shape[-1] == 1 else TensorType(x.shape[:-1], int64)

    def prediction(self, x: Any) -> Any:
        if not self.from_logits:
            return x
        return sigmoid(x) if x.shape[-1] == 1 else softmax(x)

    def wrong(self, x: TensorType, target: np.ndarray) -> Wrong:
        of_classes = x.shape[-1] > 1 and target.ndim < x.rank
        return wrong_class(target, x.shape[-1]) if of_classes else wrong_share(target)

    def per_sample(self, x: Any, target: Any) -> tuple[Any, Any | None]:
        if len(x.shape) < 3:
            refuse(self, "a node with axes of space before the channels", x, target)
        p, t = self.prediction(x), self._truths(x, target)
        space = tuple(range(1, len(x.shape) - 1))
        areas = total(p * p + t * t if self.squared else p + t, space)
        overlap = total(p * t, space)
        return mean(1.0 - (2.0 * overlap + self.smooth) / (areas + self.smooth), 1), None

    def _truths(self, x: Any, target: Any) -> Any:
        if x.shape[-1] > 1 and target.shape == x.shape[:-1]:
            return one_hot(whole(self, target), x.shape[-1], x.dtype)
        return like(self, x, target)
