"""Where windows fall, tap by tap, and how work is cut into tiles: what convolution and pooling share."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from cortex_compute.primitives.windows import Padding
from cortex_compute.types import TensorType

Index = tuple[slice, ...]
Call = Callable[[], Any]


class Way(NamedTuple):
    """A way to compute: the types of its scratch, and what makes calls of two operands, output, scratch."""

    scratch: list[TensorType]
    calls: Callable[[np.ndarray, np.ndarray, np.ndarray, Sequence[np.ndarray]], list[Call]]


def taps(
    size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    padding: Padding,
    inputs: Sequence[int],
    outputs: Sequence[int],
    rows: slice | None = None,
) -> list[tuple[Index, Index]]:
    """For each element of the window, row-major: which outputs have it inside the input, and what they read.

    Both are index tuples over the spatial axes.  With ``rows`` only those outputs of the first axis count,
    and the output index starts at the first of them.
    """
    axes = []
    for axis, (n, count) in enumerate(zip(inputs, outputs)):
        span = rows if rows is not None and axis == 0 else slice(0, count)
        s, before = stride[axis], padding[axis][0]
        pairs = []
        for k in range(size[axis]):
            shift = k * dilation[axis] - before
            first = max(span.start, -(shift // s))
            last = max(first, min(span.stop, (n - 1 - shift) // s + 1))
            here = slice(first - span.start, last - span.start)
            pairs.append((here, slice(first * s + shift, max(0, (last - 1) * s + shift + 1), s)))
        axes.append(pairs)
    return [(tuple(o for o, _ in tap), tuple(i for _, i in tap)) for tap in itertools.product(*axes)]


def tiles(images: int, rows: int, row_bytes: int, limit: int) -> list[tuple[slice, slice]]:
    """Cuts images of ``rows`` rows into runs of images, or of rows of one image, of about ``limit`` bytes."""
    if not images:
        return []
    row_bytes = max(1, row_bytes)
    image_bytes = rows * row_bytes
    if image_bytes > limit:
        step = max(1, limit // row_bytes)
        parts = [slice(j, min(j + step, rows)) for j in range(0, rows, step)]
        return [(slice(i, i + 1), part) for i in range(images) for part in parts]
    count = -(-images * image_bytes // limit)
    step = -(-images // count)
    return [(slice(i, min(i + step, images)), slice(0, rows)) for i in range(0, images, step)]
