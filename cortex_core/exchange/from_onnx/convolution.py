"""Convolutions.  Kernels of ONNX are (out, in / groups, ...), of transposed ones (in, out / groups, ...)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.from_onnx.at import At
from cortex_core.exchange.from_onnx.operators import operator
from cortex_core.exchange.from_onnx.value import Value, shown

Pairs = list[list[int]]


def spatial(at: At, x: Value) -> int:
    """The number of spatial axes.  Raises `Unfit` where there are none of ours for so many."""
    if not 3 <= x.rank <= 5:
        raise Unfit(
            f"its input is {shown(x)}; supported are 1 to 3 axes behind those of examples and channels"
        )
    return x.rank - 2


def numbers(at: At, name: str, rank: int) -> list[int]:
    """An attribute with a number for each spatial axis, 1 unless it is given."""
    found = at.attribute(name, [1] * rank)
    if len(found) != rank:
        raise Unfit(f"{name} is {found!r:.60}; expected {rank} numbers")
    return [*found]


def paddings(at: At, x: Value, reach: Sequence[int], stride: Sequence[int]) -> Any:
    """`valid`, `same`, or what is added before and behind each spatial axis."""
    rank = len(reach)
    pads, auto = at.attribute("pads", [0] * 2 * rank), at.attribute("auto_pad", "NOTSET")
    if auto == "SAME_UPPER":
        return "same"
    if auto == "SAME_LOWER":
        return [[n - n // 2, n // 2] for n in _lacking(x, reach, stride)]
    if auto not in ("NOTSET", "VALID") or len(pads) != 2 * rank:
        raise Unfit(f"auto_pad is {auto!r:.40} and pads {pads!r:.60}; expected {2 * rank} numbers")
    pairs = [[0, 0] if auto == "VALID" else [pads[i], pads[rank + i]] for i in range(rank)]
    if any(n < 0 for pair in pairs for n in pair):
        raise Unfit(f"pads are {pads!r:.60}; those below 0 are not supported")
    return pairs if any(map(any, pairs)) else "valid"


def lengths(x: Value) -> list[int]:
    """The sizes of the spatial axes, which must be known."""
    found = [n for n in x.sizes[2:] if isinstance(n, int)]
    if len(found) < x.rank - 2:
        raise Unfit(f"its input is {shown(x)}; with these attributes the sizes must be known")
    return found


def _lacking(x: Value, reach: Sequence[int], stride: Sequence[int]) -> list[int]:
    """How much must be added along each axis for ceil(n / stride) windows."""
    return [max(0, (-(-n // s) - 1) * s + r - n) for n, s, r in zip(lengths(x), stride, reach)]


def _windows(at: At) -> tuple[Value, np.ndarray, list[int], list[int], list[int]]:
    """Input, kernel, strides, dilations, and over how many elements a window reaches."""
    x, w = at.value(), at.weights(1)
    rank = spatial(at, x)
    if w.ndim != x.rank or at.attribute("kernel_shape", [*w.shape[2:]]) != [*w.shape[2:]]:
        raise Unfit(f"its kernel has the shape {[*w.shape]}, its input {shown(x)}")
    stride, dilation = numbers(at, "strides", rank), numbers(at, "dilations", rank)
    return x, w, stride, dilation, [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilation)]


@operator("Conv", since=(1, 11, 22))
def conv(at: At) -> Value:
    x, w, stride, dilation, reach = _windows(at)
    rank, groups = len(reach), at.attribute("group", 1)
    fields: dict[str, Any] = {"kernel": [*w.shape[2:]], "stride": stride, "dilation": dilation}
    weights = {"kernel": np.moveaxis(w, (0, 1), (-1, -2))} | _bias(at, len(w), rank)
    fields |= {"use_bias": "bias" in weights, "padding": paddings(at, x, reach, stride)}
    if groups == x.sizes[1] and groups > 1 and rank < 3 and w.shape[1] == 1 and len(w) % groups == 0:
        fields |= {"multiplier": len(w) // groups}
        return at.put(f"depthwise_conv{rank}d", at.channels_last(x), weights=weights, **fields)
    fields |= {"filters": len(w), "groups": groups}
    return at.put(f"conv{rank}d", at.channels_last(x), weights=weights, **fields)


def _bias(at: At, filters: int, rank: int) -> dict[str, np.ndarray]:
    """That of the node, or what the next one adds."""
    return {"bias": at.weights(2)} if at.has(2) else at.bias(filters, behind=rank)


@operator("ConvTranspose", since=(1, 11, 22))
def transposed(at: At) -> Value:
    x, w, stride, dilation, reach = _windows(at)
    rank, groups = len(reach), at.attribute("group", 1)
    cut, more = _cut(at, x, reach, stride)
    filters = w.shape[1] * groups
    weights = {"kernel": np.moveaxis(w, (0, 1), (-1, -2))} | _bias(at, filters, rank)
    fields: dict[str, Any] = {
        **{"filters": filters, "kernel": [*w.shape[2:]], "stride": stride, "dilation": dilation},
        **{"groups": groups, "use_bias": "bias" in weights, "padding": cut, "output_padding": more},
    }
    long = [m for m, s in zip(more, stride) if m >= s]
    if long:
        raise Unfit(f"output_padding is {more}, and the stride {stride}; supported is less than the stride")
    return at.put(f"conv_transpose{rank}d", at.channels_last(x), weights=weights, **fields)


def _cut(at: At, x: Value, reach: Sequence[int], stride: Sequence[int]) -> tuple[Pairs, list[int]]:
    """What is cut off before and behind each axis, and what is added at its end."""
    rank = len(reach)
    more = [*at.attribute("output_padding", [0] * rank)]
    auto, wanted = at.attribute("auto_pad", "NOTSET"), at.attribute("output_shape", None)
    pads = at.attribute("pads", [0] * 2 * rank)
    if auto == "NOTSET" and wanted is None:
        return [[pads[i], pads[rank + i]] for i in range(rank)], more
    if auto == "VALID" and wanted is None:
        return [[0, 0]] * rank, more
    whole = [(n - 1) * s + r + m for n, s, r, m in zip(lengths(x), stride, reach, more)]
    sizes = [n * s for n, s in zip(lengths(x), stride)] if wanted is None else wanted[-rank:]
    left = [a - b for a, b in zip(whole, sizes)]
    halves = [[max(0, n) // 2, max(0, n) - max(0, n) // 2] for n in left]
    if auto != "SAME_UPPER":  # as ONNX has it, the larger half is cut off before
        halves = [pair[::-1] for pair in halves]
    return halves, [m + max(0, -n) for m, n in zip(more, left)]
