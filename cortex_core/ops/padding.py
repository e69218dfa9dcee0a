"""Arrays made longer by what they hold themselves; `cortex_core.ops.indexing.pad` does it by a constant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_core.ops.indexing import concatenate
from cortex_core.ops.views import broadcast_to, flip, narrow

MODES = ("reflect", "replicate", "circular")


def extend(x: Any, padding: Sequence[Sequence[int]], mode: str) -> Any:
    """x with [before, after] more elements around each axis, taken from the axis itself.

    ``mode`` reflect mirrors at the border, which is not repeated; replicate repeats the border; circular
    goes on at the other end.  dx = g inside, and what lies outside is added where it was taken
    """
    if mode not in MODES:
        raise ArgumentError(f"pad: mode={mode!r}; choose constant, {', '.join(MODES)}")
    for axis, (before, after) in enumerate(padding):
        if before or after:
            x = _extended(x, axis, before, after, mode)
    return x


def _extended(x: Any, axis: int, before: int, after: int, mode: str) -> Any:
    n = x.shape[axis]
    most = {"reflect": n - 1, "circular": n}.get(mode, max(before, after))
    if n == 0 or min(before, after) < 0 or max(before, after) > most:
        takes = "0 or more" if mode == "replicate" else f"0 to {most}"
        takes = takes if n else "nothing of an empty axis"
        raise ShapeError(
            f"pad: ({before}, {after}) around axis {axis} of shape {x.shape}; {mode} takes {takes}"
        )
    if mode == "reflect":
        ends = flip(narrow(x, axis, 1, before), axis), flip(narrow(x, axis, n - 1 - after, after), axis)
    elif mode == "replicate":
        ends = (
            _repeated(narrow(x, axis, 0, 1), axis, before),
            _repeated(narrow(x, axis, n - 1, 1), axis, after),
        )
    else:
        ends = narrow(x, axis, n - before, before), narrow(x, axis, 0, after)
    # Slices, not one gather: the gradient of a gather is a scatter, which takes five times as long.
    return concatenate([part for part in (ends[0], x, ends[1]) if part.shape[axis]], axis)


def _repeated(x: Any, axis: int, times: int) -> Any:
    return broadcast_to(x, [times if a == axis else n for a, n in enumerate(x.shape)])
