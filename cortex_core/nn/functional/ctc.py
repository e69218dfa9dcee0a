"""The loss of connectionist temporal classification, with PyTorch's arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_core.nn.functional.loss import checked, reduced
from cortex_core.ops.ctc import ctc
from cortex_core.ops.indexing import gather
from cortex_core.ops.lift import as_array, known
from cortex_core.ops.pointwise import cast, equal, maximum, select
from cortex_core.ops.views import reshape, transpose


def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Any:
    """-log p(targets), p over all alignments; see `cortex_core.ops.ctc`.   Graves et al., 2006

    log_probs (T, N, C), or (T, C) of one example; targets (N, S), or all of them one after the other; the
    lengths (N,) each.  "mean" divides each loss by its number of targets, then takes the mean.  A target that
    fits into no alignment has an infinite loss, 0 with ``zero_infinity``; its gradient is 0 in both.
    """
    checked("ctc_loss", reduction)
    x, frames, lengths = as_array(log_probs), as_array(input_lengths), as_array(target_lengths)
    one = len(x.shape) == 2
    x = reshape(x, (x.shape[0], 1, x.shape[1])) if one else x
    if len(x.shape) != 3 or not 0 <= blank < x.shape[2]:
        raise ShapeError(f"ctc_loss: log_probs {x.shape} with blank {blank}; needs (T, N, C), blank below C")
    frames, lengths = (reshape(count, (-1,)) for count in (frames, lengths))
    labels = _rows(as_array(targets), lengths, x.shape[1])
    _check("input_lengths", frames, 1, x.shape[0], x.shape[1])
    _check("target_lengths", lengths, 0, labels.shape[1], x.shape[1])
    _check_labels(labels, lengths, blank, x.shape[2])
    values = ctc(transpose(x, (1, 0, 2)), labels, frames, lengths, blank)
    if zero_infinity:
        values = select(equal(values, np.inf), 0.0, values)
    if reduction == "mean":
        values = values / cast(maximum(lengths, 1), values.dtype)
    found = reduced("ctc_loss", values, reduction)
    return reshape(found, ()) if one and reduction == "none" else found


def _rows(targets: Any, lengths: Any, examples: int) -> Any:
    """The targets of each example in a row of its own, (N, S)."""
    if len(targets.shape) == 2:
        return targets
    if not known(lengths):
        raise ArgumentError(
            "ctc_loss: targets one after the other need lengths that are numbers; give (N, S)"
        )
    counts = np.asarray(lengths).astype(np.int64)
    if len(targets.shape) != 1 or len(counts) != examples or counts.sum() != targets.shape[0]:
        raise ShapeError(
            f"ctc_loss: targets {targets.shape} and target_lengths {counts.tolist()} for {examples} examples;"
            " needs (N, S), or one axis as long as the lengths together"
        )
    places = (np.cumsum(counts) - counts)[:, None] + np.arange(counts.max(initial=0))
    return gather(targets, np.minimum(places, max(0, targets.shape[0] - 1)))


def _check(name: str, counts: Any, least: int, most: int, examples: int) -> None:
    """Refuses lengths of another number than the examples', or out of range, where they are known."""
    if counts.shape != (examples,):
        raise ShapeError(f"ctc_loss: {name} {counts.shape}; needs one for each of {examples} examples")
    if known(counts):
        numbers = np.asarray(counts)
        wrong = numbers[(numbers < least) | (numbers > most)]
        if wrong.size:
            raise ArgumentError(f"ctc_loss: {name} holds {wrong[0]}; needs {least} to {most}")


def _check_labels(labels: Any, lengths: Any, blank: int, classes: int) -> None:
    """Refuses labels that are no class or the blank, where they are known."""
    if not (known(labels) and known(lengths)):
        return
    numbers = np.asarray(labels)
    real = np.arange(numbers.shape[1]) < np.asarray(lengths)[:, None]
    wrong = numbers[real & ((numbers < 0) | (numbers >= classes) | (numbers == blank))]
    if wrong.size:
        raise ArgumentError(
            f"ctc_loss: targets hold {wrong[0]}; needs 0 to {classes - 1} without the blank, {blank}"
        )
