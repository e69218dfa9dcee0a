"""Padding by a constant, or by what the array itself holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cortex_compute.errors import ShapeError
from cortex_core.ops.indexing import pad as constant_pad
from cortex_core.ops.padding import extend


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Any:
    """The last axes of x, made longer; negative numbers of constant padding cut off.

    ``pad`` lists (before, after) from the last axis on: (left, right, top, bottom, ...).  ``mode``: constant,
    reflect (the border is not repeated), replicate or circular.
    """
    rank = len(input.shape)
    if len(pad) % 2 or len(pad) > 2 * rank:
        raise ShapeError(f"pad: {tuple(pad)} is not (before, after) for some of the last of {rank} axes")
    pairs = list(zip(pad[::2], pad[1::2]))[::-1]
    whole = [(0, 0)] * (rank - len(pairs)) + pairs
    return constant_pad(input, whole, value) if mode == "constant" else extend(input, whole, mode)
