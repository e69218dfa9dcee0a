"""Windows over axes of any length, and whether the traces tell what they do at other lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cortex_compute.primitives.convolution import Conv
from cortex_compute.primitives.pooling import AvgPool, MaxPool
from cortex_core.exchange.to_onnx.sizes import constant_size
from cortex_core.exchange.to_onnx.spoken import ChannelsFirst
from cortex_core.exchange.to_onnx.twins import Size, Twins
from cortex_core.exchange.to_onnx.unsaid import FIX, Unsaid, at_once
from cortex_core.graph.value import Value
from cortex_core.ops.array import Node


def reaches(p: Any, kernel: Sequence[int]) -> tuple[int, ...]:
    """How many places a window covers along each axis, with its holes."""
    dilation = getattr(p, "dilation", (1,) * len(kernel))
    return tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))


def same(n: int, reach: int, stride: int) -> tuple[int, int]:
    """The padding of an axis that is called "same", with the surplus behind."""
    total = max(0, (-(-n // stride) - 1) * stride + reach - n)
    return total // 2, total - total // 2


def expect_clear(twins: Twins, all_rests: bool) -> None:
    """Raises `SpecError` where the lengths of the traces do not tell what windows make of others.

    Without ``all_rests`` the others are only such as leave the same rests when they are divided.
    """
    found = []
    for node in twins.order:
        p = node.primitive
        if isinstance(p, ChannelsFirst) and isinstance(p.of, (Conv, MaxPool, AvgPool)):
            found += [Unsaid(why, node, FIX) for why in _doubts(twins, node, all_rests)]
    if found:
        at_once(found)


def _doubts(twins: Twins, node: Node, all_rests: bool) -> Iterator[str]:
    primitives = [twin.primitive.of for twin in twins.of(node)]
    p = primitives[0]
    covered = reaches(p, node.inputs[1].shape[2:] if isinstance(p, Conv) else p.size)
    given, made = (twins.shape(x)[2:] for x in (node.inputs[0], Value(node)))
    for axis, (before, after) in enumerate(zip(given, made)):
        if constant_size(before) or _is_whole(primitives, axis, before):
            continue
        if constant_size(after):
            yield "its stride leaves the same of all lengths that were tried"
        paddings = {p.padding[axis] for p in primitives}
        if all_rests and _may_be_same(paddings, before, covered[axis], p.stride[axis]):
            yield "the lengths that were tried do not tell how others are padded"


def _is_whole(primitives: Sequence[Any], axis: int, size: Size) -> bool:
    """Whether one window covers the axis, of whatever length that is."""
    return all(not isinstance(p, Conv) and p.size[axis] == n for p, n in zip(primitives, size))


def _may_be_same(paddings: set[tuple[int, int]], size: Size, reach: int, stride: int) -> bool:
    """Whether a padding that is always the same one is what "same" gives for these sizes, but not for all."""
    tried = {same(n, reach, stride) for n in size}
    every = {same(n, reach, stride) for n in range(stride, 2 * stride)}
    return len(paddings) == 1 and paddings == tried != every
