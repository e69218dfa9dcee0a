"""Sorting: the order is found by `top_k`, which has a gradient rule."""

from __future__ import annotations

from typing import Any, NamedTuple

from cortex_compute.types import normalize_axis
from cortex_core.ops.indexing import take_along, top_k
from cortex_core.ops.pointwise import cast
from cortex_core.ops.table import distinct, op, sample
from cortex_core.ops.views import swapaxes


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


@op(sample(distinct(3, 4)), sample(distinct(3, 4), dim=0, descending=True), gradient=False)
def argsort(x: Any, axis: int = -1, descending: bool = False) -> Any:
    """The places of the elements in order, int64; see `sort`.   No gradient: places have none."""
    return sort(x, axis, descending).indices
