"""Padding by a constant, or by what the array itself holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_core.ops.indexing import gather
from cortex_core.ops.indexing import pad as constant_pad

MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}  # PyTorch's names -> NumPy's


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Any:
    """The last axes of x, made longer; negative numbers of constant padding cut off.

    ``pad`` lists (before, after) from the last axis on: (left, right, top, bottom, ...).  ``mode``: constant,
    reflect (the border is not repeated), replicate or circular.
    """
    rank = len(input.shape)
    if len(pad) % 2 or len(pad) > 2 * rank:
        raise ShapeError(f"pad: {tuple(pad)} is not (before, after) for some of the last of {rank} axes")
    pairs = list(zip(pad[::2], pad[1::2]))[::-1]
    if mode == "constant":
        return constant_pad(input, [(0, 0)] * (rank - len(pairs)) + pairs, value)
    if mode not in MODES:
        raise ArgumentError(f"pad: mode={mode!r}; choose constant, {', '.join(MODES)}")
    for axis, (before, after) in enumerate(pairs, rank - len(pairs)):
        if before or after:
            input = gather(input, _places(input.shape, axis, before, after, mode), axis)
    return input


def _places(shape: tuple[int, ...], axis: int, before: int, after: int, mode: str) -> np.ndarray:
    """Which element of the axis stands at each place of the padded one."""
    n = shape[axis]
    most = {"reflect": n - 1, "replicate": max(before, after), "circular": n}[mode]
    if not 0 <= min(before, after) <= max(before, after) <= most or n == 0:
        raise ShapeError(
            f"pad: ({before}, {after}) around axis {axis} of shape {shape}; {mode} takes 0 to {most}"
        )
    return np.pad(np.arange(n), (before, after), mode=MODES[mode])  # type: ignore[call-overload,no-any-return]
