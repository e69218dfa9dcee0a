"""Ops that arrange elements anew: repeated, shifted, cut into windows, kept on one side of a diagonal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cortex_compute.errors import ShapeError
from cortex_compute.types import normalize_axis
from cortex_core.ops.indexing import concatenate, gather, several, unslice
from cortex_core.ops.lift import listed, owned
from cortex_core.ops.pointwise import select
from cortex_core.ops.table import normal, op, sample
from cortex_core.ops.views import broadcast_to, moveaxis, narrow, reshape, unsqueeze
from cortex_core.ops.views import diagonal as diagonal_of

Axis = int | Sequence[int] | None


@op(
    sample(normal(2, 3), (2, 1)),
    sample(normal(3), (2, 2)),
    sample(normal(2, 3), (2,)),
    sample(normal(2, 3), 2),
    torch=lambda torch, x, *sizes: x.tile(*sizes),
)
def tile(x: Any, *repeats: Any) -> Any:
    """x side by side with itself, ``repeats`` times along each axis, counted from the last.

    dx = the sum of g over the copies
    """
    times = listed(repeats)
    rank = max(len(x.shape), len(times))
    times = (1,) * (rank - len(times)) + times
    shape = (1,) * (rank - len(x.shape)) + x.shape
    if min(times, default=0) < 0:
        raise ShapeError(f"tile: cannot repeat {times} times")
    apart = reshape(x, [m for n in shape for m in (1, n)])
    whole = broadcast_to(apart, [m for t, n in zip(times, shape) for m in (t, n)])
    return owned(reshape(whole, [t * n for t, n in zip(times, shape)]), x)


@op(sample(normal(2, 3), 2, 1), sample(normal(3), (2, 2)), torch=lambda torch, x, *sizes: x.repeat(*sizes))
def repeat(x: Any, *repeats: Any) -> Any:
    """`tile` as PyTorch's ``x.repeat(2, 3)``: one number for each axis, or more.

    dx = the sum of g over the copies
    """
    times = listed(repeats)
    if len(times) < len(x.shape):
        raise ShapeError(f"repeat: {times} has no number for each axis of shape {x.shape}; see tile")
    return tile(x, times)


@op(sample(normal(2, 3), 2, dim=1), sample(normal(2, 3), 3))
def repeat_interleave(x: Any, repeats: int, axis: int | None = None) -> Any:
    """Each element ``repeats`` times in a row, along ``axis`` or as if flat.

    dx = the sum of g over the copies
    """
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    at = normalize_axis(axis, len(x.shape), "repeat_interleave")
    if not isinstance(repeats, (int, np.integer)) or repeats < 0:
        raise ShapeError(f"repeat_interleave: repeats is {repeats!r:.60}; needs one whole number from 0 on")
    apart = unsqueeze(x, at + 1)
    whole = broadcast_to(apart, (*x.shape[: at + 1], int(repeats), *x.shape[at + 1 :]))
    return owned(reshape(whole, [n * int(repeats) if a == at else n for a, n in enumerate(x.shape)]), x)


@op(
    sample(normal(5, 2), 2, 0),
    sample(normal(3, 4), (1, -2), (0, 1)),
    sample(normal(2, 3), -1),
    torch=lambda torch, x, shifts, dims=None: torch.roll(x, shifts, dims),
)
def roll(x: Any, shifts: int | Sequence[int], axis: Axis = None) -> Any:
    """x moved on by ``shifts`` along ``axis``, or as if flat; what leaves at the end comes in at the front.

    dx = g rolled back
    """
    if axis is None:
        return reshape(roll(reshape(x, (math.prod(x.shape),)), shifts, 0), x.shape)
    axes, steps = listed((axis,)), listed((shifts,))
    if np.ndim(shifts) == 0:
        steps *= len(axes)
    if len(steps) != len(axes):
        raise ShapeError(f"roll: {len(steps)} shifts for {len(axes)} axes")
    y = x
    for step, a in zip(steps, axes):
        n = x.shape[normalize_axis(a, len(x.shape), "roll")]
        if n and step % n:
            y = concatenate([narrow(y, a, n - step % n, step % n), narrow(y, a, 0, n - step % n)], a)
    return owned(y, x)


@op(sample(normal(3, 4)), sample(normal(2, 3, 3), 1), sample(normal(3, 3), diagonal=-1))
def tril(x: Any, diagonal: int = 0) -> Any:
    """x on and below a diagonal of its last two axes, 0 above.   dx = g on and below it, else 0"""
    return select(_below("tril", x, diagonal), x, 0)


@op(sample(normal(3, 4)), sample(normal(2, 3, 3), 1), sample(normal(3, 3), diagonal=-1))
def triu(x: Any, diagonal: int = 0) -> Any:
    """x on and above a diagonal of its last two axes, 0 below.   dx = g on and above it, else 0"""
    return select(_below("triu", x, diagonal - 1), 0, x)


@op(sample(normal(3)), sample(normal(2), 1), sample(normal(2), -2), sample(normal(3, 4), 1))
def diag(x: Any, diagonal: int = 0) -> Any:
    """A vector as the diagonal of a matrix of zeros; of a matrix its diagonal.   dx = g on the diagonal"""
    if len(x.shape) == 2:
        return diagonal_of(x, diagonal)
    if len(x.shape) != 1:
        raise ShapeError(f"diag: needs one or two axes, got shape {x.shape}; see `diagonal`")
    n = x.shape[0] + abs(diagonal)
    start = diagonal if diagonal >= 0 else -diagonal * n
    return reshape(unslice(x, (n * n,), (start if x.shape[0] else 0,), (n + 1,)), (n, n))


@op(sample([normal(2, 3), normal(2, 1)]), sample([normal(2), normal()]), method=False)
def hstack(arrays: Sequence[Any]) -> Any:
    """The arrays beside each other: along the second axis, vectors along their only one.

    dx_k = the part of g where x_k lies
    """
    rows = [x if x.shape else reshape(x, (1,)) for x in several("hstack", arrays)]
    return concatenate(rows, 0 if len(rows[0].shape) == 1 else 1)


@op(sample([normal(2, 3), normal(1, 3)]), sample([normal(3), normal(3)]), method=False)
def vstack(arrays: Sequence[Any]) -> Any:
    """The arrays below each other: along the first axis, vectors as rows.

    dx_k = the part of g where x_k lies
    """
    rows = [x if len(x.shape) > 1 else reshape(x, (1, x.size)) for x in several("vstack", arrays)]
    return concatenate(rows, 0)


@op(
    sample(normal(2), normal(3)),
    sample(normal(2), normal(3), normal(1), indexing="xy"),
    torch=lambda torch, *xs, indexing="ij": torch.meshgrid(*xs, indexing=indexing),
    method=False,
)
def meshgrid(*vectors: Any, indexing: str = "ij") -> list[Any]:
    """Each vector repeated over a grid of all: vector k runs along axis k; "xy" swaps the first two axes.

    dx = g summed over the other axes
    """
    if indexing not in ("ij", "xy"):
        raise ValueError(f"meshgrid: indexing is {indexing!r}; known are 'ij' and 'xy'")
    as_list = len(vectors) == 1 and isinstance(vectors[0], (list, tuple))
    lifted = several("meshgrid", vectors[0] if as_list else vectors)
    sizes = [x.size for x in lifted]
    spread = [reshape(x, [n if a == k else 1 for a, n in enumerate(sizes)]) for k, x in enumerate(lifted)]
    grids = [owned(broadcast_to(x, sizes), x) for x in spread]
    return [moveaxis(y, 0, 1) for y in grids] if indexing == "xy" and len(sizes) > 1 else grids


def _below(what: str, x: Any, diagonal: int) -> np.ndarray:
    if len(x.shape) < 2:
        raise ShapeError(f"{what}: needs at least two axes, got shape {x.shape}")
    rows, columns = x.shape[-2:]
    return np.tri(rows, columns, diagonal, dtype=bool)


@op(
    sample(normal(2, 7), 1, 3, 2),
    sample(normal(5, 2), 0, 2, 1),
    sample(normal(4), -1, 4, 1),
    torch=lambda torch, x, *how: x.unfold(*how),
)
def unfold(x: Any, dimension: int, size: int, step: int) -> Any:
    """Windows of ``size`` along an axis, each ``step`` after the one before; they are the last axis.

    (A..., n, B...) -> (A..., (n - size) // step + 1, B..., size).   dx = g added where the windows overlap
    """
    at = normalize_axis(dimension, len(x.shape), "unfold")
    n = x.shape[at]
    if not 0 < size <= n or step < 1:
        raise ShapeError(f"unfold: windows of {size}, step {step}, do not fit on axis {at} of {x.shape}")
    places = np.arange(0, n - size + 1, step)[:, None] + np.arange(size)
    return moveaxis(gather(x, places, at), at + 1, -1)
