"""Where windows fall, tap by tap, and how work is cut into tiles: what convolution and pooling share."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, overload

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


class Tiles(Sequence[tuple[slice, slice]]):
    """Runs of ``image_step`` images, and within them of ``row_step`` rows.

    Each is made when it is asked for, so that an offer for an absurd batch costs as little as any other.
    """

    def __init__(self, images: int, rows: int, image_step: int, row_step: int) -> None:
        self.images, self.rows = images, rows
        self.image_step, self.row_step = image_step, row_step
        self.parts = -(-rows // row_step)  # of each run of images

    def __len__(self) -> int:
        return -(-self.images // self.image_step) * self.parts

    @overload
    def __getitem__(self, index: int) -> tuple[slice, slice]: ...

    @overload
    def __getitem__(self, index: slice) -> list[tuple[slice, slice]]: ...

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        run, part = divmod(range(len(self))[index], self.parts)
        i, j = run * self.image_step, part * self.row_step
        return slice(i, min(i + self.image_step, self.images)), slice(j, min(j + self.row_step, self.rows))


def tiles(images: int, rows: int, row_bytes: int, limit: int) -> Tiles:
    """Cuts images of ``rows`` rows into runs of images, or of rows of one image, of about ``limit`` bytes."""
    row_bytes = max(1, row_bytes)
    image_bytes = rows * row_bytes
    if image_bytes > limit:
        return Tiles(images, rows, 1, max(1, limit // row_bytes))
    count = max(1, -(-images * image_bytes // limit))
    return Tiles(images, rows, max(1, -(-images // count)), max(1, rows))
