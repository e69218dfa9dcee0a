"""Softmax, its logarithm, and the cross entropies made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cortex_compute.errors import ShapeError
from cortex_compute.primitives.softmax import (
    LogSoftmax,
    Softmax,
    SoftmaxCrossEntropy,
    SoftmaxCrossEntropyGrad,
)
from cortex_compute.types import dtype, normalize_axis
from cortex_core.ops import reduce
from cortex_core.ops.apply import apply
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import decomposition_of, gradient_of
from cortex_core.ops.indexing import one_hot
from cortex_core.ops.pointwise import cast, exp, isfinite, log, log1p, maximum, minimum, pointwise, select
from cortex_core.ops.table import normal, op, sample
from cortex_core.ops.views import reshape, squeeze, transpose


@op(sample(normal(2, 3), dim=-1), sample(normal(2, 3, 4), dim=1))
def softmax(x: Any, axis: int = -1) -> Any:
    """y = exp(x) / sum(exp(x)) along ``axis``.   dx = y (g - sum(g y))"""
    return _along(Softmax(), x, axis)


@op(sample(normal(2, 3), dim=-1), sample(normal(2, 3, 4), dim=1))
def log_softmax(x: Any, axis: int = -1) -> Any:
    """y = x - log(sum(exp(x))) along ``axis``.   dx = g - exp(y) sum(g)"""
    return _along(LogSoftmax(), x, axis)


def _along(p: Softmax | LogSoftmax, x: Any, axis: int) -> Any:
    """The primitive, which knows the last axis only, along another one."""
    rank = len(x.shape)
    chosen = normalize_axis(axis, rank, p.name)
    if chosen == rank - 1:
        return apply(p, x)
    order = [a if a not in (chosen, rank - 1) else chosen + rank - 1 - a for a in range(rank)]
    return transpose(apply(p, transpose(x, order)), order)


@op(sample(normal(2, 3), dim=-1), sample(normal(2, 3, 4), dim=(0, 2), keepdim=True))
def logsumexp(x: Any, axis: int | Sequence[int] = -1, keepdims: bool = False) -> Any:
    """log(sum(exp(x))) along ``axis``, without overflow; of -inf alone it is -inf.   dx = g softmax(x)"""
    largest = _finite(reduce.max(x, axis, keepdims=True))
    result = _log_and_add(reduce.sum(_shifted_exp(x, largest), axis, keepdims=True), largest)
    return result if keepdims else squeeze(result, axis)


@pointwise
def _finite(x: Any) -> Any:
    return select(isfinite(x), x, 0.0)


@pointwise
def _shifted_exp(x: Any, largest: Any) -> Any:
    return exp(x - largest)


@pointwise
def _log_and_add(total: Any, largest: Any) -> Any:
    return log(total) + largest


def softmax_cross_entropy(logits: Any, labels: Any, label_smoothing: float = 0.0) -> Any:
    """-sum(t log softmax(logits)) of each row, t the target.   logits (B..., C) -> (B...)

    labels are class indices (B...), of which one out of range counts as the nearest class, or probabilities
    (B..., C).  With label smoothing a, t is (1 - a) of the given target and a / C everywhere.
    Of indices dlogits = g (softmax(logits) - t).
    """
    if dtype(labels.dtype).kind == "int":
        loss, _ = apply(SoftmaxCrossEntropy(float(label_smoothing)), logits, labels)
        return loss
    if labels.shape != logits.shape:
        raise ShapeError(f"softmax_cross_entropy: probabilities {labels.shape}, logits {logits.shape}")
    target = labels
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / logits.shape[-1]
    return -reduce.sum(target * log_softmax(logits), -1)


@pointwise
def binary_cross_entropy_with_logits(x: Any, target: Any, positive_weight: float = 1.0) -> Any:
    """-(w t log p + (1 - t) log(1 - p)) with p = sigmoid(x), t the target and w the positive weight.

    -log p = max(-x, 0) + log(1 + exp(-|x|)) and -log(1 - p) = max(x, 0) + log(1 + exp(-|x|)), so that nothing
    overflows or cancels.  The branches at 0 make every derivative right there.   dx = g (p - t) for w = 1
    """
    rest = log1p(exp(select(x > 0, -x, x)))
    negative = (1.0 - target) * (select(x > 0, x, 0.0) + rest)
    return positive_weight * target * (select(x > 0, 0.0, -x) + rest) + negative


@gradient_of(Softmax)
def _softmax(node: Node, g: Any) -> Any:
    """dx = y (g - sum(g y))"""
    (y,) = node.outputs
    return (y * (g - reduce.sum(g * y, -1, keepdims=True)),)


@gradient_of(LogSoftmax)
def _log_softmax(node: Node, g: Any) -> Any:
    """dx = g - exp(y) sum(g)"""
    (y,) = node.outputs
    return (g - exp(y) * reduce.sum(g, -1, keepdims=True),)


@gradient_of(SoftmaxCrossEntropy)
def _cross_entropy(node: Node, g: Any, g_probabilities: Any) -> Any:
    """dlogits = g (p - t); gradients of the probabilities are left to the decomposition."""
    if g_probabilities is not None:
        return NotImplemented
    p, (_, labels) = node.primitive, node.inputs
    assert isinstance(p, SoftmaxCrossEntropy)
    return apply(SoftmaxCrossEntropyGrad(p.label_smoothing), node.outputs[1], labels, g), None


@decomposition_of(Softmax)
def _softmax_decomposed(p: Softmax, x: Any) -> Any:
    power = exp(x - reduce.max(x, -1, keepdims=True))
    return power / reduce.sum(power, -1, keepdims=True)


@decomposition_of(LogSoftmax)
def _log_softmax_decomposed(p: LogSoftmax, x: Any) -> Any:
    rest = x - reduce.max(x, -1, keepdims=True)
    return rest - log(reduce.sum(exp(rest), -1, keepdims=True))


@decomposition_of(SoftmaxCrossEntropy)
def _cross_entropy_decomposed(p: SoftmaxCrossEntropy, logits: Any, labels: Any) -> tuple[Any, Any]:
    y = log_softmax(logits)
    hit = _hit(labels, logits)
    loss = -reduce.sum(select(hit, y, 0.0), -1)  # not 0 times y, which is -inf where a class is impossible
    if p.label_smoothing:
        loss = (1 - p.label_smoothing) * loss - p.label_smoothing * reduce.mean(y, -1)
    return loss, exp(y)


@decomposition_of(SoftmaxCrossEntropyGrad)
def _cross_entropy_gradient_decomposed(p: SoftmaxCrossEntropyGrad, given: Any, labels: Any, g: Any) -> Any:
    target = cast(_hit(labels, given), given.dtype)
    if p.label_smoothing:
        target = (1 - p.label_smoothing) * target + p.label_smoothing / given.shape[-1]
    return reshape(g, (*g.shape, 1)) * (given - target)


def _hit(labels: Any, like: Any) -> Any:
    """Where each row's class is; a label out of range is the nearest class."""
    classes = like.shape[-1]
    return one_hot(minimum(maximum(cast(labels, "int64"), 0), classes - 1), classes, "bool")
