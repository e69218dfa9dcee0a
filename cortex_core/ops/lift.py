"""What users give where an op asks for an array."""

from __future__ import annotations

from typing import Any

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
