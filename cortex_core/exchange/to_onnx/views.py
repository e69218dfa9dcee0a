"""Other shapes of the same numbers, and parts of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cortex_compute.primitives.views import Broadcast, Reshape, Slice, Transpose
from cortex_core.exchange.to_onnx.at import At, translates
from cortex_core.exchange.to_onnx.sizes import constant_size
from cortex_core.exchange.to_onnx.twins import Size
from cortex_core.exchange.to_onnx.unsaid import Unsaid

END, START = np.iinfo(np.int64).max, np.iinfo(np.int64).min
"""As ends of a slice: as far as there is anything."""


@translates(Reshape, "Reshape", free=("shape",))
def _reshape(at: At) -> str:
    """A size that is free is copied from the same axis (0) or follows from the others (-1), where it can."""
    before, after = at.shape(0), at.result
    sizes: list[Size | int] = []
    for axis, size in enumerate(after):
        copied = axis < len(before) and before[axis] == size and not constant_size(size)
        sizes.append(0 if copied else size)
    free = [i for i, n in enumerate(sizes) if not isinstance(n, int) and not constant_size(n)]
    if free:
        sizes[free[-1]] = -1
    if any(n == (0,) * len(n) for n in after):
        raise Unsaid("it holds nothing: a size is 0")
    return at.emit("Reshape", at.names[0], at.sizes.shape(sizes))


@translates(Transpose, "Transpose")
def _transpose(at: At) -> str:
    return at.emit("Transpose", at.names[0], perm=at.p.axes)


@translates(Broadcast, "Expand", free=("shape",))
def _broadcast(at: At) -> str:
    return at.emit("Expand", at.names[0], at.sizes.shape(at.result))


class Range(NamedTuple):
    """What of an axis is taken, in ONNX's words."""

    start: Size | int
    end: Size | int
    step: int


@translates(Slice, "Slice", free=("starts", "sizes"))
def _slice(at: At) -> str:
    ranges = {}
    for axis, size in enumerate(at.shape(0)):
        starts, sizes, step = at.sized("starts")[axis], at.sized("sizes")[axis], at.p.steps[axis]
        if step != 1 or sizes != size or any(starts):
            ranges[axis] = _range(size, starts, sizes, step)
    if not ranges:
        return at.names[0]
    starts, ends, steps = zip(*ranges.values())
    axes = at.writer.constant(np.array([*ranges], np.int64))
    bounds = [at.sizes.shape(starts), at.sizes.shape(ends), at.writer.constant(np.array(steps, np.int64))]
    return at.emit("Slice", at.names[0], bounds[0], bounds[1], axes, bounds[2])


def _range(size: Size, starts: Size, sizes: Size, step: int) -> Range:
    """Places that are counted from the end are written so, because the length may be free."""
    last = tuple(a + (n - 1) * step for a, n in zip(starts, sizes))
    if step > 0:
        past: Size | int = tuple(a + 1 for a in last)
        if all(a + step >= n for a, n in zip(last, size)) and not constant_size(size):
            past = END
    else:
        past = tuple(a - 1 for a in last)
        past = START if min(past) < 0 else past
    return Range(
        _from_the_end(starts, size), past if isinstance(past, int) else _from_the_end(past, size), step
    )


def _from_the_end(place: Size, size: Size) -> Size | int:
    """A place that is not the same in all traces, where it is as far from the end in all of them."""
    behind = {a - n for a, n in zip(place, size)}
    return behind.pop() if not constant_size(place) and len(behind) == 1 and max(behind) < 0 else place
