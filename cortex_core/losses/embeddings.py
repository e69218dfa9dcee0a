"""Losses of embeddings: what belongs together lies near each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cortex_compute.types import TensorType, int64
from cortex_core.layers.scope import Scope, Variable
from cortex_core.losses.common import Wrong, one_of_each, vector, whole, wrong_class, wrong_truth
from cortex_core.ops.distance import pairwise_distance, triplet_margin
from cortex_core.ops.indexing import gather, one_hot
from cortex_core.ops.linear import matmul
from cortex_core.ops.losses import squared_difference
from cortex_core.ops.pointwise import cast, equal, maximum, not_equal, pointwise, relu, select
from cortex_core.ops.reduce import any as any_of
from cortex_core.ops.reduce import max as largest
from cortex_core.ops.reduce import min as smallest
from cortex_core.ops.reduce import norm
from cortex_core.ops.reduce import sum as total
from cortex_core.ops.views import reshape, transpose
from cortex_core.registry import Source, field, loss

FAR = 1e30  # further than any embedding, and a number in every floating type


@pointwise
def contrast(distance: Any, same: Any, margin: float) -> Any:
    """t d² / 2 + (1 - t) max(0, margin - d)² / 2"""
    short = relu(margin - distance)
    return 0.5 * (same * distance * distance + (1.0 - same) * short * short)


@loss("contrastive")
class Contrastive:
    """t d² / 2 + (1 - t) max(0, margin - d)² / 2 with d = ‖x - other‖.   x, other (B, n), target (B,)

    The target is 1 where the two are of the same kind, else 0.  Hadsell et al., 2006, equation 4, with
    Y = 1 - t.

    Example:
        inputs: {left: [3], right: [3]}
        layers: [dense: {units: 2, from: left, id: a}, dense: {units: 2, from: right, share: a, id: b}]
        loss: {contrastive: {of: a, other: b, target: same}}
    """

    other: Source = field(doc="the node that is compared")
    margin: float = field(default=1.0, doc="how far apart different ones have to be", above=0)

    def target_type(self, x: TensorType) -> TensorType:
        return TensorType(x.shape[:1], int64)

    def wrong(self, x: TensorType, target: np.ndarray) -> Wrong:
        return wrong_truth(target)

    def per_sample(self, x: Any, target: Any, other: Any) -> tuple[Any, Any | None]:
        vector(self, x, other=other)
        same = cast(one_of_each(self, x, target), x.dtype)
        return contrast(pairwise_distance(x, other), same, margin=self.margin), None


@loss("triplet", target=False)
class Triplet:
    """max(0, margin + ‖x - positive‖ - ‖x - negative‖): nearer to its kind than to another.   all (B, n)

    Weinberger and Saul, 2009; Schroff et al., 2015, there with squares.

    Example:
        inputs: {image: [2], same: [2], another: [2]}
        layers: [dense: {units: 2, from: image, id: code}]
        loss: {triplet: {of: code, positive: same, negative: another}}
    """

    positive: Source = field(doc="a node that is of x's kind")
    negative: Source = field(doc="a node that is of another kind")
    margin: float = field(default=1.0, doc="how much further the other kind has to be", above=0)

    def per_sample(self, x: Any, positive: Any, negative: Any) -> tuple[Any, Any | None]:
        vector(self, x, positive=positive, negative=negative)
        return triplet_margin(x, positive, negative, self.margin), None


@loss("batch_hard_triplet")
class BatchHardTriplet:
    """max(0, margin + the largest ‖x - y‖ of its label - the smallest of another one), y in the batch.

    x (B, n), target (B,) of labels.  A sample that is alone with its label, or has no other label beside it,
    does not count.  Hermans et al., 2017, equation 5.

    Example:
        inputs: {features: [3]}
        layers: [dense: {units: 2, id: embedding}]
        loss: {batch_hard_triplet: {of: embedding, target: label, margin: 1.5}}
    """

    margin: float = field(default=1.0, doc="how much further another label has to be", above=0)

    def target_type(self, x: TensorType) -> TensorType:
        return TensorType(x.shape[:1], int64)

    def per_sample(self, x: Any, target: Any) -> tuple[Any, Any | None]:
        vector(self, x)
        n, width = x.shape
        labels = whole(self, one_of_each(self, x, target))
        distances = pairwise_distance(reshape(x, (n, 1, width)), reshape(x, (1, n, width)))
        same = equal(reshape(labels, (n, 1)), reshape(labels, (1, n)))
        others = same & not_equal(np.arange(n)[:, None], np.arange(n))
        hardest = largest(select(others, distances, 0.0), 1)
        nearest = smallest(select(same, FAR, distances), 1)
        counts = any_of(others, 1) & any_of(~same, 1)
        return relu(self.margin + hardest - nearest), cast(counts, x.dtype)


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
