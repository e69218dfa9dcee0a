"""Sorting: the order is found by `top_k`, which has a gradient rule.  And what is counted by it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cortex_compute.errors import DTypeError, ShapeError
from cortex_compute.types import normalize_axis
from cortex_core.ops.formulas import isnan
from cortex_core.ops.indexing import take_along, top_k
from cortex_core.ops.lift import as_array, known
from cortex_core.ops.pointwise import cast, select
from cortex_core.ops.table import distinct, integers, op, sample
from cortex_core.ops.views import narrow, reshape, squeeze, swapaxes


class Ranked(NamedTuple):
    """Elements in an order, and the places where they were."""

    values: Any
    indices: Any


@op(sample(distinct(3, 4), 2), sample(distinct(3, 4), 3, dim=0), sample(distinct(5), 2, largest=False))
def topk(x: Any, k: int, axis: int = -1, largest: bool = True) -> Ranked:
    """The k largest (or smallest) along ``axis``, best first, and their places, int64.   dx = g at the places

    Of equals the first wins; NaN counts as larger than every number.
    """
    at, last = normalize_axis(axis, len(x.shape), "topk"), len(x.shape) - 1
    turned = swapaxes(x, at, last)
    if x.dtype.kind == "float":
        values, places = top_k(turned, k, largest)
    else:  # places by the nearest float64: it tells whole numbers apart up to 2^53
        places = top_k(cast(turned, "float64"), k, largest)[1]
        values = take_along(turned, places, last)
    return Ranked(swapaxes(values, at, last), swapaxes(places, at, last))


@op(
    sample(distinct(3, 4)),
    sample(distinct(3, 4), dim=0, descending=True),
)
def sort(x: Any, axis: int = -1, descending: bool = False) -> Ranked:
    """x in order along ``axis``, and the places where its elements were, int64.   dx = g back at the places

    Equals keep their order; NaN counts as larger than every number.
    """
    return topk(x, x.shape[normalize_axis(axis, len(x.shape), "sort")], axis, descending)


@op(
    sample(distinct(3, 4)),
    sample(distinct(3, 4), dim=1, keepdim=True),
    sample(distinct(5, 2), dim=0),
    torch=lambda torch, x, **axis: torch.median(x, **axis).values if axis else torch.median(x),
)
def median(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The middle one in order along ``axis``, or of all; of two the smaller; NaN if one is NaN.

    dx = g at its place
    """
    rank = len(x.shape)
    at = 0 if axis is None else normalize_axis(axis, rank, "median")
    line = reshape(x, (-1,)) if axis is None else x
    n = line.shape[at]
    if not n:
        raise ShapeError(f"median: of none there is no middle one: axis {at} of shape {line.shape} is empty")
    ranked = sort(line, at).values
    middle, last = (narrow(ranked, at, i, 1) for i in ((n - 1) // 2, n - 1))
    found = select(isnan(last), last, middle) if x.dtype.kind == "float" else middle
    if axis is None:
        return reshape(found, (1,) * rank if keepdims else ())
    return found if keepdims else squeeze(found, at)


@op(sample(distinct(3, 4)), sample(distinct(3, 4), dim=0, descending=True), gradient=False)
def argsort(x: Any, axis: int = -1, descending: bool = False) -> Any:
    """The places of the elements in order, int64; see `sort`.   No gradient: places have none."""
    return sort(x, axis, descending).indices


@op(
    sample(integers(4, 3, below=5)),
    sample(integers(4, 3, below=5), return_inverse=True, return_counts=True),
    sample(integers(9, 2, below=2), dim=0),
    gradient=False,
    symbolic=False,
)
def unique(x: Any, return_inverse: bool = False, return_counts: bool = False, axis: int | None = None) -> Any:
    """The elements of x (or its slices along ``axis``) in order, each once; if asked for, where each element
    of x is among them, and how often each was there, int64.   No gradient: it has jumps.
    """
    numbers = _numbers("unique", x)
    found, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True, axis=axis)
    inverse = inverse.reshape(numbers.shape if axis is None else -1)
    asked = [found, *[inverse] * return_inverse, *[counts] * return_counts]
    results = tuple(as_array(y) for y in asked)
    return results if len(results) > 1 else results[0]


@op(
    sample(integers(9, below=4)),
    sample(integers(5, below=3), distinct(5), minlength=6),
    gradient=False,
    symbolic=False,
)
def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Any:
    """How often each whole number from 0 on is in x, int64; or the sums of ``weights`` over its places.

    No gradient: counts have none.
    """
    numbers = _numbers("bincount", x)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or (numbers.size and numbers.min() < 0):
        raise DTypeError(f"bincount: needs one axis of whole numbers from 0 on, got {as_array(x).type}")
    sums = None if weights is None else _numbers("bincount", weights)
    return as_array(np.bincount(numbers, sums, minlength))


def _numbers(what: str, x: Any) -> np.ndarray:
    if not known(x):
        raise DTypeError(f"{what}: its shape depends on numbers, which a symbolic value does not have yet")
    return np.asarray(x)
