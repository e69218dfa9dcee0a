"""What users give where an op asks for an array or for sizes, and whose memory they get."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from cortex_compute.errors import ShapeError
from cortex_compute.primitives.elementwise import Copy
from cortex_core.ops.apply import apply
from cortex_core.ops.array import Array


def as_array(x: Any) -> Any:
    """x itself if it is an Array, else a Tensor of it: for ops that look at a shape before they apply."""
    if isinstance(x, Array):
        return x
    from cortex_core.tensor import Tensor

    return Tensor(x)


def known(x: Any) -> bool:
    """Whether x has numbers now: it is not symbolic."""
    return not isinstance(x, Array) or x.rank_of_kind == 1


def owned(y: Any, x: Any) -> Any:
    """y, which may be x or a view of it, as a result that a change in place can have for itself."""
    if not known(y) or not np.may_share_memory(y.data, x.data):
        return y
    return apply(Copy(), y)


def listed(given: tuple[Any, ...]) -> tuple[int, ...]:
    """What is given as one sequence, or as several numbers."""
    sizes = given[0] if len(given) == 1 and not isinstance(given[0], (int, np.integer)) else given
    try:
        return tuple(map(operator.index, sizes))
    except TypeError:
        told = f"got {given if len(given) > 1 else given[0]!r:.60}"
        raise ShapeError(f"{told}; sizes and axes are whole numbers, one by one or one sequence") from None
