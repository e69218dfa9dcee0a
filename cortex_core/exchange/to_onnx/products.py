"""Products of matrices, convolutions and pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cortex_compute.primitives.convolution import Conv, ConvInputGrad
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.primitives.pooling import AvgPool, MaxPool, Pooling
from cortex_compute.primitives.windows import Padding
from cortex_core.exchange.to_onnx.at import At, translates
from cortex_core.exchange.to_onnx.unsaid import FIX, Unsaid
from cortex_core.exchange.to_onnx.windows import reaches, same


@translates(Gemm, "Gemm", "MatMul")
def _gemm(at: At) -> str:
    p = at.p
    if p.epilogue is not None or p.sums:
        raise Unsaid("it is fused with what stands behind it")
    if all(t.rank == 2 for t in at.types):
        return at.run("Gemm", at.names, transA=int(p.transpose_a) or None, transB=int(p.transpose_b) or None)
    turned = zip(at.names, at.types, (p.transpose_a, p.transpose_b))
    return at.run("MatMul", [_turned(at, name, t.rank) if turn else name for name, t, turn in turned])


def _turned(at: At, name: str, rank: int) -> str:
    return at.emit("Transpose", name, perm=(*range(rank - 2), rank - 1, rank - 2))


def _pads(padding: Padding) -> list[int]:
    return [*(before for before, _ in padding), *(after for _, after in padding)]


def _padding(at: At, kernel: Sequence[int]) -> dict[str, Any]:
    """The padding of windows; where it depends on a length that is free, it may be the one that is called
    "same", with the surplus behind.

    That of ONNX is below 0 where a stride is larger than what a window covers, and not all that runs ONNX
    knows it beside a dilation.
    """
    if len({p.padding for p in at.primitives}) == 1:
        return {"pads": _pads(at.p.padding)}
    covered, stride = reaches(at.p, kernel), at.p.stride
    for p, spatial in zip(at.primitives, zip(*at.shape(0)[2:])):
        if p.padding != tuple(map(same, spatial, covered, stride)):
            raise Unsaid("its padding depends on a length that is free", way=FIX)
    if covered != tuple(kernel) or any(s > k for s, k in zip(stride, kernel)):
        raise Unsaid(
            'padding "same" of a free length, with a dilation or a stride beyond the window', way=FIX
        )
    return {"auto_pad": "SAME_UPPER"}


@translates(Conv, "Conv", free=("padding",))
def _conv(at: At) -> str:
    p, (_, _, *kernel) = at.p, at.types[1].shape
    if p.epilogue is not None:
        raise Unsaid("it is fused with what stands behind it")
    geometry = {"strides": p.stride, "dilations": p.dilation, "group": p.groups, **_padding(at, kernel)}
    return at.run("Conv", at.names, kernel_shape=kernel, **geometry)


@translates(ConvInputGrad, "ConvTranspose", free=("shape",))
def _conv_transpose(at: At) -> str:
    """What the windows do not reach behind the last one is ``output_padding``."""
    p, (_, _, *kernel) = at.p, at.types[1].shape
    rest = []
    for axis, k in enumerate(kernel):
        reach = (k - 1) * p.dilation[axis] + 1 - sum(p.padding[axis])
        given, made = at.shape(0)[axis + 2], at.sized("shape")[axis + 1]
        left = {n - (m - 1) * p.stride[axis] - reach for n, m in zip(made, given)}
        if len(left) > 1:
            raise Unsaid("its size does not follow from that of its input")
        rest.append(left.pop())
    geometry = {"strides": p.stride, "pads": _pads(p.padding), "dilations": p.dilation, "group": p.groups}
    return at.run("ConvTranspose", at.names, kernel_shape=kernel, output_padding=rest, **geometry)


def _reached(at: At) -> dict[str, Any]:
    """The padding, and with ``ceil`` what the last window covers beyond it."""
    p: Pooling = at.p
    if not p.ceil:
        return _padding(at, p.size)
    found = []
    for axis, n in enumerate(at.fixed_shape(0)[1:]):
        before, after = p.padding[axis]
        count = at.result[axis + 2][0]
        found.append((before, max(after, (count - 1) * p.stride[axis] + p.size[axis] - n - before)))
    return {"pads": _pads(tuple(found))}


def _whole(at: At) -> bool:
    """Whether one window covers all, of whatever length that is."""
    spatial = tuple(zip(*at.shape(0)[2:]))
    if all(p.size == n and not any(map(any, p.padding)) for p, n in zip(at.primitives, spatial)):
        return True
    at.expect_fixed(("padding",))
    return False


@translates(MaxPool, "MaxPool", "GlobalMaxPool", free=("size", "stride", "padding"))
def _max_pool(at: At) -> str:
    if _whole(at):
        return at.run("GlobalMaxPool", at.names)
    return at.run("MaxPool", at.names, kernel_shape=at.p.size, strides=at.p.stride, **_reached(at))


@translates(AvgPool, "AveragePool", "GlobalAveragePool", free=("size", "stride", "padding"))
def _avg_pool(at: At) -> str:
    """Where a window is divided by other numbers than ONNX knows, its mean is put right by a factor."""
    if _whole(at):
        return at.run("GlobalAveragePool", at.names)
    p, padding = at.p, _reached(at)
    counted = int(p.count_padding) or None
    y = at.run(
        "AveragePool",
        at.names,
        kernel_shape=p.size,
        strides=p.stride,
        count_include_pad=counted,
        **padding,
    )
    if not counted or not p.ceil:
        return y
    n, *spatial = at.types[0].shape[1:]
    divisors = p.divisors(at.types[0]._replace(shape=(1, *spatial, n)))
    factors = math.prod(p.size) / math.prod(np.ix_(*(np.array(d, np.float64) for d in divisors)))
    return at.emit("Mul", y, at.writer.constant(np.float32(factors)))
