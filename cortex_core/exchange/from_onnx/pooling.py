"""Pooling over windows, and over everything."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.from_onnx.arithmetic import affine, magnitude
from cortex_core.exchange.from_onnx.at import At
from cortex_core.exchange.from_onnx.convolution import lengths, numbers, paddings, spatial
from cortex_core.exchange.from_onnx.operators import operator
from cortex_core.exchange.from_onnx.value import Value, shown


class Windows:
    """The windows of a pooling, as its attributes say."""

    def __init__(self, at: At, x: Value) -> None:
        self.rank = spatial(at, x)
        self.size = [*at.attribute("kernel_shape")]
        self.stride = numbers(at, "strides", self.rank)
        self.dilation = numbers(at, "dilations", self.rank)
        self.reach = [(k - 1) * d + 1 for k, d in zip(self.size, self.dilation)]
        self.padding = paddings(at, x, self.reach, self.stride)
        self.up = bool(at.attribute("ceil_mode", 0))
        if self.up and self.padding != "same":
            self.padding = self._rounded_up(x)

    @property
    def plain(self) -> bool:
        """Whether windows have no holes."""
        return all(d == 1 for d in self.dilation)

    def pairs(self, x: Value) -> list[list[int]]:
        """What is added before and behind each axis."""
        if self.padding == "same":
            found = []
            for n, r, s in zip(lengths(x), self.reach, self.stride):
                more = max(0, (-(-n // s) - 1) * s + r - n)
                found.append([more // 2, more - more // 2])
            return found
        return [[0, 0]] * self.rank if self.padding == "valid" else self.padding

    def _rounded_up(self, x: Value) -> Any:
        """Padding with which as many windows fit as ONNX has: one more that begins within the values or the
        padding before them."""
        made = []
        for n, (before, behind), r, s in zip(lengths(x), self.pairs(x), self.reach, self.stride):
            count = -(-(n + before + behind - r) // s) + 1
            count -= (count - 1) * s >= n + before
            made.append([before, max(0, (count - 1) * s + r - n - before)])
        return made


@operator("MaxPool", since=(8, 10, 11, 12, 22))
def max_pool(at: At) -> Value:
    x = at.value()
    windows = Windows(at, x)
    at.attribute("storage_order", 0)
    narrow = x.dtype != "float32"
    lying = at.channels_last(x)
    lying = replace(at.put("cast", lying, part="floats"), whole="") if narrow else lying
    if narrow:
        at.notes.append(f"{at.path}: what it gives is in float32 here")
    if windows.plain:
        kind = f"max_pool{windows.rank}d"
        return at.put(kind, lying, size=windows.size, stride=windows.stride, padding=windows.padding)
    return _with_holes(at, lying, windows, windows.pairs(x))


def _with_holes(at: At, x: Value, windows: Windows, pairs: list[list[int]]) -> Value:
    """The largest of what stands at each place of a window, taken from the value apart."""
    count = math.prod(windows.size)
    if count > 64 or any(map(any, pairs)):
        raise Unfit("windows with holes (dilations) are supported without padding, of 64 places at most")
    sizes = [n for n in x.shape[:-1] if n is not None]
    if len(sizes) < windows.rank:
        raise Unfit("windows with holes (dilations) are supported of known sizes")
    given = []
    for number, place in enumerate(np.ndindex(*windows.size)):
        part = x
        for axis, (k, d, s, n, r) in enumerate(
            zip(place, windows.dilation, windows.stride, sizes, windows.reach), 1
        ):
            stop = k * d + (n - r) // s * s + 1
            part = at.put("slice", part, part=f"place_{number}", axis=axis, start=k * d, stop=stop, step=s)
        given.append(part)
    return at.put("maximum", given)


@operator("AveragePool", since=(7, 10, 11, 19, 22))
def average_pool(at: At) -> Value:
    x = at.value()
    counts_padding = bool(at.attribute("count_include_pad", 0))
    declared = Windows(at, x)
    lying = at.channels_last(x)
    padded = declared.padding not in ("valid",) and any(map(any, declared.pairs(x)))
    if declared.plain and not (counts_padding and padded):
        fields: dict[str, Any] = {"size": declared.size, "stride": declared.stride}
        return at.put(f"avg_pool{declared.rank}d", lying, padding=declared.padding, **fields)
    y = _summed(at, lying, declared, "sum")
    return affine(at, y, 1 / _counts(at, x, declared, counts_padding), part="mean")


def _summed(at: At, x: Value, windows: Windows, part: str) -> Value:
    """The sum of each window, by a convolution of each channel with ones."""
    channels, rank = x.shape[-1], windows.rank
    if windows.plain and windows.padding == "valid":
        mean = at.put(f"avg_pool{rank}d", x, part="mean", size=windows.size, stride=windows.stride)
        return at.put("scale", mean, part=part, factor=math.prod(windows.size))
    if channels is None or rank > 2:
        raise Unfit("such windows are supported along one or two axes, of so many channels as are known")
    fields: dict[str, Any] = {"kernel": windows.size, "stride": windows.stride, "padding": windows.padding}
    weights = {"kernel": np.ones((*windows.size, 1, channels), np.float32)}
    kind = f"depthwise_conv{rank}d"
    fields |= {"dilation": windows.dilation, "use_bias": False}
    return at.put(kind, x, part=part, weights=weights, trainable=False, **fields)


def _counts(at: At, x: Value, windows: Windows, padding: bool) -> np.ndarray:
    """How many values each window holds; those of the padding that the file declares may count."""
    told = at.attribute("pads", [0] * 2 * windows.rank)
    found = np.ones(1)
    for axis, (n, (before, behind), k, d, s) in enumerate(
        zip(lengths(x), windows.pairs(x), windows.size, windows.dilation, windows.stride)
    ):
        explicit = at.attribute("auto_pad", "NOTSET") == "NOTSET"
        last = told[windows.rank + axis] if explicit else behind
        line = np.zeros(n + before + max(behind, last))
        line[0 if padding else before : n + before + (last if padding else 0)] = 1
        places = range(0, n + before + behind - (k - 1) * d, s)
        along = np.array([line[p : p + (k - 1) * d + 1 : d].sum() for p in places])
        found = found[..., None] * along if axis else along
    return found[None, None]


@operator("LpPool", since=(11, 18, 22))
def lp_pool(at: At) -> Value:
    """(sum |x|^p)^(1 / p) of each window."""
    x, p = at.value(), at.attribute("p", 2)
    windows = Windows(at, x)
    powered = at.put("power", magnitude(at, at.channels_last(x), "magnitude"), part="powered", exponent=p)
    return at.put("power", _summed(at, powered, windows, "sum"), exponent=1 / p)


@operator("GlobalAveragePool", "GlobalMaxPool", since=(1, 22))
def everything(at: At) -> Value:
    x = at.value()
    if not 3 <= x.rank <= 5:
        raise Unfit(f"its input is {shown(x)}; supported are 1 to 3 axes behind the channels")
    kind = {"GlobalAveragePool": "avg", "GlobalMaxPool": "max"}[at.op]
    order = (0, 1, *[None] * (x.rank - 2))
    return at.put(f"global_{kind}_pool{x.rank - 2}d", at.channels_last(x), order=order)
