"""What reads by place, joins, pads and counts."""

from __future__ import annotations

import numpy as np

from cortex_compute.primitives.indexing import (
    Concatenate,
    Cumsum,
    Gather,
    OneHot,
    Pad,
    TakeAlong,
    TopK,
)
from cortex_compute.types import bool_, int64
from cortex_core.exchange.to_onnx.at import At, translates
from cortex_core.exchange.to_onnx.kernels import cast, run, running
from cortex_core.exchange.to_onnx.spoken import Before
from cortex_core.exchange.to_onnx.unsaid import Unsaid


@translates(Gather, "Gather", "Clip")
def _gather(at: At) -> str:
    return at.emit("Gather", at.names[0], _places(at), axis=at.p.axis)


@translates(TakeAlong, "GatherElements", "Clip")
def _take_along(at: At) -> str:
    return at.emit("GatherElements", at.names[0], _places(at), axis=at.p.axis)


def _places(at: At) -> str:
    """Places out of range are taken as the nearest in range, where ONNX has an error or counts backwards."""
    size, known = at.shape(0)[at.p.axis], at.known(1)
    ids = at.names[1]
    if known is not None and (known.size == 0 or (known.min() >= 0 and known.max() < min(size))):
        return ids
    ids = cast(at.writer, ids, at.types[1].dtype, int64)
    one, zero = (at.writer.constant(np.array(n, np.int64)) for n in (1, 0))
    if len(set(size)) == 1:
        last = at.writer.constant(np.array(size[0] - 1, np.int64))
    else:
        scalar = at.writer.constant(np.zeros(0, np.int64))
        last = at.emit("Sub", at.emit("Reshape", at.sizes.of(size), scalar), one)
    return at.emit("Clip", ids, zero, last)


@translates(Concatenate, "Concat")
def _concatenate(at: At) -> str:
    return at.emit("Concat", *at.names, axis=at.p.axis)


@translates(Pad, "Pad")
def _pad(at: At) -> str:
    """Negative numbers cut off, in ONNX too."""
    p, t = at.p, at.types[0]
    if any(p.interior):
        raise Unsaid("it puts numbers between neighbours")
    widths = at.writer.constant(np.array([*p.low, *p.high], np.int64))
    wide = running("Pad", t.dtype)
    value = at.writer.constant(np.array(p.value.value, t.dtype.storage).astype(wide.storage))
    y = at.emit("Pad", cast(at.writer, at.names[0], t.dtype, wide), widths, value)
    return cast(at.writer, y, wide, t.dtype)


@translates(OneHot, "Equal", "Cast")
def _one_hot(at: At) -> str:
    """By comparison: ONNX's own OneHot counts negative numbers from the end."""
    p, t = at.p, at.types[0]
    last = at.writer.constant(np.array([-1], np.int64))
    classes = at.writer.constant(np.arange(p.classes, dtype=t.dtype.storage))
    y = at.emit("Equal", at.emit("Unsqueeze", at.names[0], last), classes)
    return cast(at.writer, y, bool_, p.dtype)


@translates(TopK, "TopK")
def _top_k(at: At) -> list[str | None]:
    k, given = at.writer.constant(np.array([at.p.k], np.int64)), at.types[0].dtype
    wide = running("TopK", given)
    x = cast(at.writer, at.names[0], given, wide)
    values, places = at.writer.several("TopK", (x, k), 2, axis=-1, largest=int(at.p.largest))
    return [cast(at.writer, values, wide, given), places]


@translates(Cumsum, "CumSum")
def _cumsum(at: At) -> str:
    wanted = at.node.types[0].dtype
    x = cast(at.writer, at.names[0], at.types[0].dtype, wanted)
    axis = at.writer.constant(np.array(at.p.axis, np.int64))
    return run(at.writer, "CumSum", wanted, [x], axis, reverse=int(at.p.reverse) or None)


@translates(Before, "Range", "GreaterOrEqual")
def _before(at: At) -> str:
    queries, keys = (_count(at, i) for i in range(2))
    last = at.writer.constant(np.array([-1], np.int64))
    return at.emit("GreaterOrEqual", at.emit("Unsqueeze", queries, last), keys)


def _count(at: At, i: int) -> str:
    """0, 1, 2, ... as many as an operand has places."""
    scalar = at.writer.constant(np.zeros(0, np.int64))
    one, zero = (at.writer.constant(np.array(n, np.int64)) for n in (1, 0))
    return at.emit("Range", zero, at.emit("Reshape", at.sizes.of(at.shape(i)[1]), scalar), one)
