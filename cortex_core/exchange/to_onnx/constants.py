"""Constants of a graph that are not the same for all lengths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cortex_compute.types import dtype as named
from cortex_core.exchange.to_onnx.sizes import Sizes
from cortex_core.exchange.to_onnx.types import code_of
from cortex_core.exchange.to_onnx.unsaid import FIX, Unsaid
from cortex_core.exchange.to_onnx.writer import Writer


def varying(writer: Writer, sizes: Sizes, arrays: Sequence[np.ndarray]) -> str:
    """The name of a constant that is one number everywhere, or counts along an axis; else raises `Unsaid`."""
    shape = list(zip(*(a.shape for a in arrays)))
    first = arrays[0].reshape(-1)
    if first.size and all((a == first[0]).all() for a in arrays):
        return writer.emit("Expand", writer.constant(first[0]), sizes.shape(shape))
    long = [axis for axis, size in enumerate(shape) if size != (1,) * len(size)]
    if len(long) == 1 and first.dtype.kind in "iu" and first.size > 1:
        step = first[1] - first[0]
        if all(np.array_equal(a.reshape(-1), first[0] + step * np.arange(a.size)) for a in arrays):
            return _counting(writer, sizes, int(first[0]), int(step), shape[long[0]], shape, first.dtype)
    raise Unsaid("its numbers depend on a length that is free", way=FIX)


def _counting(
    writer: Writer,
    sizes: Sizes,
    start: int,
    step: int,
    count: tuple[int, ...],
    shape: Sequence[tuple[int, ...]],
    dtype: np.dtype[np.generic],
) -> str:
    """start + step i for every place i, in the given shape."""

    def number(n: int) -> str:
        return writer.constant(np.array(n, np.int64))

    scalar = writer.emit("Reshape", sizes.of(count), writer.constant(np.zeros(0, np.int64)))
    places = writer.emit("Range", number(0), scalar, number(1))
    y = writer.emit("Add", writer.emit("Mul", places, number(step)), number(start))
    y = writer.emit("Reshape", y, sizes.shape([-1 if n == count else n for n in shape]))
    return y if dtype == np.int64 else writer.emit("Cast", y, to=code_of(named(dtype)))
