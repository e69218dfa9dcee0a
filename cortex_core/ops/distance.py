"""Distances of vectors, and what is made of several of them."""

from __future__ import annotations

from typing import Any

from cortex_core.ops.pointwise import minimum, relu
from cortex_core.ops.reduce import norm


def pairwise_distance(a: Any, b: Any, p: float = 2.0, epsilon: float = 0.0, keepdims: bool = False) -> Any:
    """||a - b + epsilon||, the p-norm over the last axis.   (..., n), (..., n) -> (...)

    Of equal vectors and epsilon 0 its gradient is 0.
    """
    difference = a - b
    return norm(difference + epsilon if epsilon else difference, p, -1, keepdims=keepdims)


def triplet_margin(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float,
    p: float = 2.0,
    epsilon: float = 0.0,
    swap: bool = False,
) -> Any:
    """max(0, margin + d(anchor, positive) - d(anchor, negative)), d the `pairwise_distance`.

    With ``swap`` d(positive, negative) stands for the last where it is smaller.  Balntas et al., 2016.
    """
    far = pairwise_distance(anchor, negative, p, epsilon)
    if swap:
        far = minimum(far, pairwise_distance(positive, negative, p, epsilon))
    return relu(margin + pairwise_distance(anchor, positive, p, epsilon) - far)
