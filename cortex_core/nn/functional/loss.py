"""Losses, under PyTorch's names and with its reductions.  Formulas that descriptions have are theirs.

``reduction``: "mean" over all elements (of class losses over the weights), "sum", or "none".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError, PlaceError, ShapeError
from cortex_compute.types import dtype
from cortex_core.ops import reduce, softmax
from cortex_core.ops.formulas import softplus
from cortex_core.ops.indexing import gather, one_hot, take_along
from cortex_core.ops.lift import known
from cortex_core.ops.losses import (
    SMALLEST,
    absolute_difference,
    cross_entropy_of_probability,
    divergence,
    divergence_of_logarithm,
    hinge,
    huber,
    squared_difference,
)
from cortex_core.ops.pointwise import (
    cast,
    equal,
    exp,
    log,
    maximum,
    minimum,
    not_equal,
    pointwise,
    relu,
    select,
)
from cortex_core.ops.views import reshape, transpose

REDUCTIONS = ("mean", "sum", "none")


def checked(what: str, reduction: str, choices: tuple[str, ...] = REDUCTIONS) -> str:
    """The reduction, if there is such a one."""
    if reduction not in choices:
        raise ArgumentError(f"{what}: reduction={reduction!r}; choose {', '.join(map(repr, choices))}")
    return reduction


def reduced(what: str, values: Any, reduction: str) -> Any:
    """The mean or the sum of all elements, or the elements."""
    checked(what, reduction)
    if reduction == "none":
        return values
    return reduce.mean(values) if reduction == "mean" else reduce.sum(values)


def same_shape(what: str, x: Any, target: Any) -> None:
    """Refuses what would broadcast: (N, 1) and (N,) would give N² differences."""
    if x.shape != target.shape:
        raise ShapeError(
            f"{what}: the input has shape {x.shape}, the target {target.shape}; they must be equal"
        )


# Of equal shapes


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """(x - t)²"""
    same_shape("mse_loss", input, target)
    return reduced("mse_loss", squared_difference(input, target), reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """|x - t|"""
    same_shape("l1_loss", input, target)
    return reduced("l1_loss", absolute_difference(input, target), reduction)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    """(x - t)² / 2 where |x - t| < delta, delta (|x - t| - delta / 2) elsewhere.  Huber, 1964"""
    same_shape("huber_loss", input, target)
    if delta <= 0:
        raise ArgumentError(f"huber_loss: delta={delta}; needs a number above 0")
    return reduced("huber_loss", huber(input, target, delta=float(delta)), reduction)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    """(x - t)² / (2 beta) where |x - t| < beta, |x - t| - beta / 2 elsewhere; with beta 0 the L1 loss."""
    same_shape("smooth_l1_loss", input, target)
    if beta < 0:
        raise ArgumentError(f"smooth_l1_loss: beta={beta}; needs a number from 0 on")
    if beta == 0:
        return l1_loss(input, target, reduction)
    return reduced("smooth_l1_loss", huber(input, target, delta=float(beta)) / float(beta), reduction)


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """-(t log p + (1 - t) log(1 - p)) of probabilities p, finite also where p is 0 or 1.

    A p that is no probability is an ArgumentError, as far as its numbers are known.
    """
    same_shape("binary_cross_entropy", input, target)
    if known(input):
        p = np.asarray(input)
        wrong = p[~((p >= 0) & (p <= 1))]
        if wrong.size:
            raise ArgumentError(
                f"binary_cross_entropy: the input holds {wrong[0]}, no probability from 0 to 1; "
                "binary_cross_entropy_with_logits takes any numbers"
            )
    values = cross_entropy_of_probability(input, target, positive_weight=1.0)
    return reduced("binary_cross_entropy", values if weight is None else values * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """-(w t log p + (1 - t) log(1 - p)) with p = sigmoid(x) and w = pos_weight, one for each class."""
    same_shape("binary_cross_entropy_with_logits", input, target)
    positive = () if pos_weight is None else (pos_weight,)
    values = softmax.binary_cross_entropy_with_logits(input, target, *positive)
    values = values if weight is None else values * weight
    return reduced("binary_cross_entropy_with_logits", values, reduction)


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    """t (log t - x) of log-probabilities x; with ``log_target`` the target is log t as well.

    ``reduction="batchmean"``, the divergence of an example, is the sum divided by the size of the first axis.
    """
    same_shape("kl_div", input, target)
    checked("kl_div", reduction, (*REDUCTIONS, "batchmean"))
    values = (divergence_of_logarithm if log_target else divergence)(input, target)
    if reduction == "batchmean":
        return reduce.sum(values) / float(input.shape[0])
    return reduced("kl_div", values, reduction)


def soft_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """log(1 + exp(-t x)) for targets t of -1 and 1."""
    same_shape("soft_margin_loss", input, target)
    return reduced("soft_margin_loss", softplus(-target * input), reduction)


@pointwise
def _gaussian(x: Any, t: Any, v: Any, eps: float, constant: float) -> Any:
    v = select(v < eps, eps, v)
    return 0.5 * (log(v) + (x - t) * (x - t) / v) + constant


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Any:
    """(log v + (x - t)² / v) / 2 of a mean x and a variance v, at least ``eps``; ``full``: + log(2 pi) / 2.

    ``var`` has input's shape, or 1 for its last axis.  Nix and Weigend, 1994.
    """
    same_shape("gaussian_nll_loss", input, target)
    if var.shape not in (input.shape, (*input.shape[:-1], 1)):
        raise ShapeError(
            f"gaussian_nll_loss: the input has shape {input.shape}, var {var.shape}; it must be equal, "
            "or 1 on the last axis"
        )
    if known(var) and (np.asarray(var) < 0).any():
        raise ArgumentError("gaussian_nll_loss: var holds a number below 0, no variance")
    constant = 0.5 * math.log(2 * math.pi) if full else 0.0
    values = _gaussian(input, target, var, eps=float(eps), constant=constant)
    return reduced("gaussian_nll_loss", values, reduction)


@pointwise
def _poisson(x: Any, t: Any, log_input: bool, full: bool, eps: float) -> Any:
    y = exp(x) - t * x if log_input else x - t * log(x + eps)
    if not full:
        return y
    n = select(t > 1, t, 1.0)
    return y + select(t > 1, n * log(n) - n + 0.5 * log(2 * math.pi * n), 0.0)


def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Any:
    """exp(x) - t x of the logarithm x of a rate, or x - t log(x + eps) of the rate.

    ``full`` adds Stirling's log t!, t log t - t + log(2 pi t) / 2 where t > 1.
    """
    same_shape("poisson_nll_loss", input, target)
    values = _poisson(input, target, log_input=bool(log_input), full=bool(full), eps=float(eps))
    return reduced("poisson_nll_loss", values, reduction)


def hinge_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """max(0, 1 - t x) for targets t of -1 and 1."""
    same_shape("hinge_loss", input, target)
    return reduced("hinge_loss", hinge(input, target), reduction)


@pointwise
def _hinge_embedding(x: Any, t: Any, margin: float) -> Any:
    return select(equal(t, 1), x, 0.0) + select(equal(t, -1), relu(margin - x), 0.0)


def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Any:
    """x where the target is 1, max(0, margin - x) where it is -1; x is a distance."""
    same_shape("hinge_embedding_loss", input, target)
    return reduced("hinge_embedding_loss", _hinge_embedding(input, target, margin=float(margin)), reduction)


# Of classes: input (N, C, d1, ...) or (C,), target (N, d1, ...) or ()


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """-sum(t log softmax(x)) over the classes.   input (N, C, d1, ...), target (N, d1, ...) of indices

    or probabilities of input's shape; ``weight`` (C,).  The mean of indices is weighted by their classes'
    weights, without those that are ``ignore_index``.
    """
    logits = _classes_last("cross_entropy", input, weight)
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(f"cross_entropy: label_smoothing={label_smoothing}; needs a number from 0 to 1")
    if dtype(target.dtype).kind == "float":
        same_shape("cross_entropy", input, target)
        target = _classes_last("cross_entropy", target, None)
        return reduced("cross_entropy", _of_probabilities(logits, target, weight, label_smoothing), reduction)
    all_count = _expect_indices("cross_entropy", input, logits, target, ignore_index)
    rest = target, weight, ignore_index, reduction, all_count
    if weight is None or not label_smoothing:
        values = softmax.softmax_cross_entropy(logits, target, float(label_smoothing))
        return _of_classes("cross_entropy", values, *rest)
    hits = one_hot(target, logits.shape[-1], logits.dtype)
    values = _of_probabilities(logits, hits, weight, label_smoothing)
    return _of_classes("cross_entropy", values, *rest, weighted=True)


def nll_loss(
    input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Any:
    """-x[target] of log-probabilities.   input (N, C, d1, ...), target (N, d1, ...) of indices"""
    x = _classes_last("nll_loss", input, weight)
    all_count = _expect_indices("nll_loss", input, x, target, ignore_index)
    return _of_classes("nll_loss", -_picked(x, target), target, weight, ignore_index, reduction, all_count)


def sparse_cross_entropy(probabilities: Any, labels: Any, reduction: str = "mean") -> Any:
    """-log p[label] of probabilities, finite where p is 0.   p (N, C, d1, ...), labels (N, d1, ...)"""
    p = _classes_last("sparse_cross_entropy", probabilities, None)
    _expect_indices("sparse_cross_entropy", probabilities, p, labels)
    return reduced("sparse_cross_entropy", -log(maximum(_picked(p, labels), SMALLEST)), reduction)


def _classes_last(what: str, x: Any, weight: Any) -> Any:
    """(N, C, d1, ...) -> (N, d1, ..., C); (C,) stays."""
    rank = len(x.shape)
    if rank == 0:
        raise ShapeError(f"{what}: the input is one number; needs (N, C, ...) or (C,)")
    classes = x.shape[min(1, rank - 1)]
    if weight is not None and weight.shape != (classes,):
        raise ShapeError(f"{what}: weight has shape {weight.shape}; {classes} classes need ({classes},)")
    return transpose(x, (0, *range(2, rank), 1)) if rank > 2 else x


def _expect_indices(what: str, given: Any, x: Any, target: Any, ignore_index: int | None = None) -> bool:
    """Refuses targets of another shape, and classes that there are not.

    Gives whether no target is ignored, as far as one can see: a symbolic one has no numbers yet.  A look
    costs less than the masks, which would be most of the ops of a small network's loss.
    """
    if target.shape != x.shape[:-1]:
        raise ShapeError(
            f"{what}: the input has shape {given.shape}, the target {target.shape}; "
            f"class indices need shape {x.shape[:-1]}"
        )
    if not known(target):
        return False
    labels, classes = np.asarray(target), x.shape[-1]
    inside = (labels >= 0) & (labels < classes)
    if inside.all():
        return ignore_index is None or not (0 <= ignore_index < classes and (labels == ignore_index).any())
    wrong = labels[~inside & (labels != ignore_index)]
    if wrong.size:
        ignored = "" if ignore_index is None else f", or ignore_index={ignore_index}"
        raise PlaceError(f"{what}: there is no class {wrong[0]}; needs 0 to {classes - 1}{ignored}")
    return False


def _picked(x: Any, target: Any) -> Any:
    """x at the class of the target.   x (..., C), target (...) -> (...)"""
    places = minimum(maximum(cast(target, "int64"), 0), x.shape[-1] - 1)
    return reshape(take_along(x, reshape(places, (*target.shape, 1)), -1), target.shape)


def _of_probabilities(logits: Any, target: Any, weight: Any, smoothing: float) -> Any:
    if weight is None:
        return softmax.softmax_cross_entropy(logits, target, float(smoothing))
    if smoothing:
        target = target * (1 - smoothing) + smoothing / logits.shape[-1]
    return -reduce.sum(weight * target * softmax.log_softmax(logits), -1)


def _of_classes(
    what: str,
    values: Any,
    target: Any,
    weight: Any,
    ignore_index: int,
    reduction: str,
    all_count: bool,
    weighted: bool = False,
) -> Any:
    """The values, weighted by the weights of their classes unless they are already, without the ignored."""
    if weight is None and all_count:
        return reduced(what, values, reduction)
    checked(what, reduction)
    counts = not_equal(target, ignore_index)
    if weight is None:
        weights = cast(counts, values.dtype)
    else:
        weights = select(counts, gather(weight, target, 0), 0.0)
        values = values if weighted else values * weights
    values = select(counts, values, 0.0)
    if reduction == "none":
        return values
    total = reduce.sum(values)
    return total / reduce.sum(weights) if reduction == "mean" else total
