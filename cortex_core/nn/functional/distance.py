"""Lengths, angles and distances of vectors, and the losses that compare them."""

from __future__ import annotations

from typing import Any

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_core.nn.functional.loss import reduced, same_shape
from cortex_core.ops import distance, reduce
from cortex_core.ops.pointwise import equal, maximum, pointwise, relu, select, sqrt


def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    """x / max(‖x‖, eps), the p-norm along ``dim``."""
    return input / maximum(reduce.norm(input, p, dim, keepdims=True), eps)


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """x1 · x2 / (max(‖x1‖, eps) max(‖x2‖, eps)) along ``dim``, which goes; the other axes broadcast."""
    lengths = maximum(reduce.norm(x1, 2, dim), eps) * maximum(reduce.norm(x2, 2, dim), eps)
    return reduce.sum(x1 * x2, dim) / lengths


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    """‖x1 - x2 + eps‖, the p-norm over the last axis.   (..., D), (..., D) -> (...)"""
    return distance.pairwise_distance(x1, x2, p, eps, keepdim)


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """max(0, margin + d(anchor, positive) - d(anchor, negative)), d as in `pairwise_distance`.

    With ``swap`` d(positive, negative) stands for the last where it is smaller.  Balntas et al., 2016.
    """
    if margin <= 0:
        raise ArgumentError(f"triplet_margin_loss: margin={margin}; needs a number above 0")
    values = distance.triplet_margin(anchor, positive, negative, margin, p, eps, swap)
    return reduced("triplet_margin_loss", values, reduction)


@pointwise
def _cosine(product: Any, square1: Any, square2: Any, t: Any, margin: float) -> Any:
    tiny = 1e-12  # PyTorch's
    cosine = product / sqrt((square1 + tiny) * (square2 + tiny))
    return select(equal(t, 1), 1.0 - cosine, select(equal(t, -1), relu(cosine - margin), 0.0))


def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Any:
    """1 - cos(x1, x2) where the target is 1, max(0, cos(x1, x2) - margin) where it is -1.

    (N, D), (N, D), target (N,), or one example: (D,), (D,), ().
    """
    same_shape("cosine_embedding_loss", input1, input2)
    if target.shape != input1.shape[:-1]:
        raise ShapeError(
            f"cosine_embedding_loss: the inputs have shape {input1.shape}, the target {target.shape}; "
            f"it must be {input1.shape[:-1]}"
        )
    parts = (reduce.sum(a * b, -1) for a, b in ((input1, input2), (input1, input1), (input2, input2)))
    return reduced("cosine_embedding_loss", _cosine(*parts, target, margin=float(margin)), reduction)


@pointwise
def _ranking(a: Any, b: Any, t: Any, margin: float) -> Any:
    return relu(margin - t * (a - b))


def margin_ranking_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Any:
    """max(0, margin - t (x1 - x2)): t is 1 where x1 should be larger, -1 where x2 should be."""
    same_shape("margin_ranking_loss", input1, input2)
    same_shape("margin_ranking_loss", input1, target)
    return reduced("margin_ranking_loss", _ranking(input1, input2, target, margin=float(margin)), reduction)
