"""Connectionist temporal classification: how likely a sequence of labels is, over all of its alignments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cortex_compute.errors import DTypeError, ShapeError
from cortex_compute.types import dtype
from cortex_core.ops import reduce
from cortex_core.ops.indexing import cumsum, pad, stack, take_along
from cortex_core.ops.pointwise import (
    cast,
    equal,
    exp,
    log,
    logical_and,
    logical_or,
    maximum,
    not_equal,
    pointwise,
    select,
)
from cortex_core.ops.softmax import logsumexp
from cortex_core.ops.views import broadcast_to, narrow, reshape, transpose

NEVER = -1e30
"""The logarithm of a probability of 0, with room for sums of it: minus infinity would make NaN of its
gradients."""


def ctc(
    log_probabilities: Any,
    labels: Any,
    frames: Any | None = None,
    lengths: Any | None = None,
    blank: int = 0,
) -> Any:
    """-log p(labels): p is the sum over all alignments, each the product of its frames' probabilities.

    log_probabilities (B, T, C), labels (B, S) int, frames (B,), lengths (B,) -> (B,).  In an alignment each
    label lasts one frame or more, with any number of frames of ``blank`` around it, at least one between
    equal labels.  Without ``frames`` every sequence has T of them; without ``lengths`` the labels end before
    the first that is ``blank`` or negative.  Where no alignment fits, the result is infinite, its gradient 0.

    Graves et al., 2006: over the labels with blanks around them, l' (2 S + 1), the forward variable is
    alpha_t(s) = p_t(l'_s) (alpha_{t-1}(s) + alpha_{t-1}(s - 1) + alpha_{t-1}(s - 2)), the last one only where
    l'_s is no blank and differs from l'_{s-2}; here in logarithms.
    """
    batch, steps, _ = _checked(log_probabilities, labels)
    valid = _valid(labels, lengths, blank)
    count = reduce.sum(cast(valid, "int64"), 1, keepdims=True)
    path = _with_blanks(select(valid, cast(labels, "int64"), blank), blank)
    before = pad(narrow(path, 1, 0, max(0, path.shape[1] - 2)), [[0, 0], [min(2, path.shape[1]), 0]], blank)
    leap = logical_and(not_equal(path, blank), not_equal(path, before))
    emitted = _emitted(log_probabilities, path)
    place = np.arange(path.shape[1])
    alpha = select(place < 2, emitted[0], NEVER)
    for t in range(1, steps):
        new = _forward(emitted[t], *_shifted(alpha), leap)
        alpha = new if frames is None else select(reshape(frames > t, (batch, 1)), new, alpha)
    last = logical_or(equal(place, 2 * count), equal(place, 2 * count - 1))
    return _negative(logsumexp(select(last, alpha, NEVER), 1))


def _checked(x: Any, labels: Any) -> tuple[int, ...]:
    if len(x.shape) != 3 or len(labels.shape) != 2 or x.shape[0] != labels.shape[0] or not x.shape[1]:
        raise ShapeError(
            f"ctc needs log-probabilities (batch, frames, classes) and labels (batch, labels); got {x.shape}"
            f" and {labels.shape}"
        )
    if dtype(labels.dtype).kind != "int":
        raise DTypeError(f"ctc needs labels that are class indices; they are {labels.dtype}")
    return tuple(x.shape)


def _valid(labels: Any, lengths: Any | None, blank: int) -> Any:
    """Where there are labels, (B, S): up to a sequence's length, else up to its first blank or negative."""
    if lengths is not None:
        return np.arange(labels.shape[1]) < reshape(lengths, (-1, 1))
    ended = logical_or(equal(labels, blank), labels < 0)
    return equal(cumsum(cast(ended, "int64"), 1), 0)


def _with_blanks(labels: Any, blank: int) -> Any:
    """blank, label, blank, label, ..., blank.   (B, S) -> (B, 2 S + 1)"""
    batch, size = labels.shape
    pairs = reshape(stack([labels * 0 + blank, labels], 2), (batch, 2 * size))
    return pad(pairs, [[0, 0], [0, 1]], blank)


def _emitted(x: Any, path: Any) -> list[Any]:
    """The log-probability of each place of the path at each step, (B, L) for each."""
    ids = broadcast_to(path, (x.shape[1], *path.shape))
    found = maximum(take_along(transpose(x, (1, 0, 2)), ids, -1), NEVER)
    return [reshape(piece, path.shape) for piece in _halved(found)]


def _halved(x: Any) -> list[Any]:
    """The slices along the first axis, cut by halves of halves: so the gradients of all n of them are put
    together in n log n additions, not in n^2."""
    n = x.shape[0]
    if n == 1:
        return [x]
    return [*_halved(narrow(x, 0, 0, n // 2)), *_halved(narrow(x, 0, n // 2, n - n // 2))]


def _shifted(alpha: Any) -> list[Any]:
    """alpha, what lies one place before, and two."""
    size = alpha.shape[1]
    padded = pad(alpha, [[0, 0], [2, 0]], NEVER)
    return [alpha, narrow(padded, 1, 1, size), narrow(padded, 1, 0, size)]


@pointwise
def _forward(emitted: Any, stay: Any, step: Any, leap: Any, allowed: Any) -> Any:
    """log(p (exp(stay) + exp(step) + exp(leap))), the last one where it is allowed"""
    leap = select(allowed, leap, NEVER)
    largest = maximum(maximum(stay, step), leap)
    return emitted + largest + log(exp(stay - largest) + exp(step - largest) + exp(leap - largest))


@pointwise
def _negative(x: Any) -> Any:
    return select(x < 0.5 * NEVER, math.inf, -x)
