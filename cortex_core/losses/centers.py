"""Features that gather around a centre for each class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cortex_compute.types import TensorType, int64
from cortex_core.layers.scope import Scope, Variable
from cortex_core.losses.common import Wrong, one_of_each, vector, whole, wrong_class
from cortex_core.ops.indexing import gather, one_hot
from cortex_core.ops.linear import matmul
from cortex_core.ops.losses import squared_difference
from cortex_core.ops.pointwise import maximum, pointwise
from cortex_core.ops.reduce import norm
from cortex_core.ops.reduce import sum as total
from cortex_core.ops.views import reshape, transpose
from cortex_core.registry import field, loss


@pointwise
def nearer(center: Any, features: Any, count: Any, alpha: float) -> Any:
    """c - alpha sum(c - x) / (1 + n) over the n features of a class, given as their sum.  Equation 4"""
    return center - alpha * (count * center - features) / (1.0 + count)


@loss("center_loss")
class CenterLoss:
    """‖x - c‖² / 2, c the centre of the sample's class.   x (B, n), target index (B,), centers (classes, n)

    In training each centre moves to the features of its class by alpha sum(c - x) / (1 + count), so that one
    example moves it less than many.  (Cortex in Clojure gave the weight alpha to the old centre instead, and
    divided by the count; ``radius`` is from there.)  Wen et al., 2016, equations 2 and 4.

    Example:
        inputs: {features: [4]}
        layers: [dense: {units: 2, id: embedding}]
        loss: {center_loss: {of: embedding, target: label, classes: 3}}
    """

    classes: int = field(doc="how many classes there are", minimum=1)
    alpha: float = field(default=0.5, doc="how fast the centres move", minimum=0, maximum=1)
    radius: float | None = field(default=None, doc="length of the centres, else any", above=0)

    def target_type(self, x: TensorType) -> TensorType:
        return TensorType(x.shape[:1], int64)

    def wrong(self, x: TensorType, target: np.ndarray) -> Wrong:
        return wrong_class(target, self.classes)

    def parameters(self, x: TensorType) -> Iterator[Variable]:
        vector(self, x)
        yield Variable("centers", (self.classes, x.shape[-1]), 0.0)

    def per_sample(self, x: Any, target: Any, p: Scope) -> tuple[Any, Any | None]:
        labels = whole(self, one_of_each(self, x, target))
        values = 0.5 * total(squared_difference(x, gather(p.centers, labels, 0)), 1)
        if p.training:
            p.update("centers", self._moved(p.centers, x, labels))
        return values, None

    def _moved(self, centers: Any, x: Any, labels: Any) -> Any:
        hits = one_hot(labels, self.classes, x.dtype)
        counts = reshape(total(hits, 0), (self.classes, 1))
        moved = nearer(centers, matmul(transpose(hits, (1, 0)), x), counts, alpha=self.alpha)
        if self.radius is None:
            return moved
        lengths = norm(moved, 2, 1, keepdims=True)
        return moved * (self.radius / maximum(lengths, 1e-12))  # a centre that has not moved yet stays at 0
