"""Maximum and mean over windows: a thread for a pack of neighbouring channels of the result.

Neighbouring threads take neighbouring packs.  A gradient is gathered: an element of dx looks at the
windows that have it, in their order, so that equal runs give equal bits.  Sizes are part of a source (to
divide by a known number is to multiply), the batch is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cortex_compute.primitives.pooling import (
    Averaging,
    AvgPool,
    AvgPoolGrad,
    MaxPool,
    MaxPoolGrad,
    MaxPoolPick,
    Pooling,
)
from cortex_compute.protocol import Offer, Operand, Refusal
from cortex_compute.types import TensorType, uint8, uint32
from cortex_gpu.backend import Gpu, offers
from cortex_gpu.columns import PACKS, packed
from cortex_gpu.kernels import BLOCK, Argument, Call, In, Out, Source, blocks, kernel, refusal, seconds
from cortex_gpu.memory import nbytes
from cortex_gpu.prelude import header, index, storage


@dataclass(frozen=True)
class Kernel:
    """What a kernel does for a pack of its result, which begins at element ``e``.

    ``reads`` is done for all taps of a window of x, if the result is like y, or for all windows of y that
    have the element, if the result is like x: ``at`` is where that is in memory, ``tap`` the place in the
    window.  ``each`` then is done for all channels ``j`` of the pack.
    """

    name: str
    parameters: str
    before: tuple[str, ...]
    reads: tuple[str, ...]
    each: tuple[str, ...]
    after: tuple[str, ...]
    like_y: bool = True


MAX_POOL = Kernel(
    "max_pool",
    "const Storage* __restrict__ x, Storage* __restrict__ y, Winner* __restrict__ winners",
    ("Real best[PACK] = {};", "Winner winner[PACK] = {};", "bool found[PACK] = {};"),
    ("const auto from = read(x + at);",),
    (
        "const Real v = load(from.at[j]);",
        "if (found[j] && !(v > best[j]) && !(isnan(v) && !isnan(best[j]))) continue;",
        "best[j] = v;",
        "winner[j] = $tap;",
        "found[j] = true;",
    ),
    ("if (y) write(y + e, best);", "if (winners) write(winners + e, winner);"),
)
MAX_POOL_GRAD = Kernel(
    "max_pool_grad",
    "const Winner* __restrict__ winners, const Storage* __restrict__ g, Storage* __restrict__ dx",
    ("Real sum[PACK] = {};",),
    ("const auto winner = read(winners + at);", "const auto from = read(g + at);"),
    ("if (winner.at[j] == $tap) sum[j] += load(from.at[j]);",),
    ("write(dx + e, sum);",),
    like_y=False,
)
MAX_POOL_PICK = Kernel(
    "max_pool_pick",
    "const Winner* __restrict__ winners, const Storage* __restrict__ v, Storage* __restrict__ z",
    ("Real picked[PACK] = {};", "const auto winner = read(winners + e);"),
    ("const auto from = read(v + at);",),
    ("if (winner.at[j] == $tap) picked[j] = load(from.at[j]);",),
    ("write(z + e, picked);",),
)
AVG_POOL = Kernel(
    "avg_pool",
    "const Storage* __restrict__ x, Storage* __restrict__ y",
    ("Real sum[PACK] = {};",),
    ("const auto from = read(x + at);",),
    ("sum[j] += load(from.at[j]);",),
    ("for (int j = 0; j < PACK; ++j) sum[j] /= $divisor;", "write(y + e, sum);"),
)
AVG_POOL_GRAD = Kernel(
    "avg_pool_grad",
    "const Storage* __restrict__ g, Storage* __restrict__ dx",
    ("Real sum[PACK] = {};",),
    ("const auto from = read(g + at);",),
    ("sum[j] += load(from.at[j]) / ($divisor);",),
    ("write(dx + e, sum);",),
    like_y=False,
)


PACK = r"""
template <class T> __device__ inline Packed<T> read(const T* x) { return fetch(x, whole(x)); }
template <class T, class S> __device__ inline void write(T* y, const S* values) {
  Packed<T> pack;
  for (int j = 0; j < PACK; ++j) pack.at[j] = store<T>(values[j]);
  put(y, pack, whole(y));
}

"""


class Axis:
    """What a kernel does along spatial axis K, as text: iK is an element, oK a window, kK a place in it."""

    def __init__(self, p: Pooling, x: TensorType, k: int) -> None:
        self.k, self.n, self.count = k, x.shape[1 + k], p.pooled(x).shape[1 + k]
        self.size, self.stride, (self.before, self.after) = p.size[k], p.stride[k], p.padding[k]
        self.whole = self.before == 0 and (self.count - 1) * self.stride + self.size <= self.n
        self.averaging = isinstance(p, Averaging)
        self.padding = isinstance(p, Averaging) and p.count_padding

    def taps(self) -> list[str]:
        """The beginning of a loop over the places of window oK that are in x."""
        k = self.k
        lines = [
            f"for (int k{k} = 0; k{k} < {self.size}; ++k{k}) {{",
            f"  const int i{k} = o{k} * {self.stride} - {self.before} + k{k};",
        ]
        return lines if self.whole else [*lines, f"  if (i{k} < 0 || i{k} >= {self.n}) continue;"]

    def windows(self) -> list[str]:
        """The beginning of a loop over the windows that have element iK."""
        k = self.k
        lines = [
            f"for (int w{k} = {(self.size - 1) // self.stride}; w{k} >= 0; --w{k}) {{",
            f"  const int o{k} = (i{k} + {self.before}) / {self.stride} - w{k};",
            f"  const int k{k} = i{k} + {self.before} - o{k} * {self.stride};",
            f"  if (o{k} < 0 || o{k} >= {self.count} || k{k} >= {self.size}) continue;",
        ]
        return [*lines, *(f"  {line}" for line in self.divisor())]

    def divisor(self) -> list[str]:
        """How many elements window oK has, as sizeK, where that is wanted."""
        k = self.k
        if not self.averaging:
            return []
        if self.whole:
            return [f"const int size{k} = {self.size};"]
        low, high = (-self.before, self.n + self.after) if self.padding else (0, self.n)
        least, most = f"(start{k} > {low} ? start{k} : {low})", f"(end{k} < {high} ? end{k} : {high})"
        return [
            f"const int start{k} = o{k} * {self.stride} - {self.before}, end{k} = start{k} + {self.size};",
            f"const int size{k} = {most} - {least};",
        ]


class Windows:
    """The windows of one pooling of x, as text."""

    def __init__(self, p: Pooling, x: TensorType) -> None:
        self.x, self.y, self.channels = x, p.pooled(x), max(1, x.shape[-1])
        self.pack = packed(x)
        self.axes = [Axis(p, x, k) for k in range(len(p.size))]
        self.index, self.integer = index(max(x.size, self.y.size))
        self.winner = uint8 if math.prod(p.size) <= 1 << 8 else uint32

    def call(self, k: Kernel, *arguments: Argument) -> Call:
        """The launch of a kernel; its last argument is the number of packs of the result."""
        count = (self.y if k.like_y else self.x).size // self.pack
        names = header(self.x.dtype, Winner=storage(self.winner), Index=self.index, PACK=self.pack)
        return Call(
            Source(k.name, names + PACKS + PACK + self.text(k)),
            blocks(count),
            BLOCK,
            (*arguments, self.integer(count)),
        )

    def text(self, k: Kernel) -> str:
        """The entry of a kernel."""
        lines = [
            f'extern "C" __global__ void {k.name}({k.parameters},',
            " " * len(f'extern "C" __global__ void {k.name}(') + "Index count) {",
            "  const Index first = (Index)blockIdx.x * blockDim.x + threadIdx.x;",
            "  const Index step = (Index)gridDim.x * blockDim.x;",
            "  #pragma unroll 1  // else each thread would divide, to know how often it goes round",
            "  for (Index pack = first; pack < count; pack += step) {",
            *(f"    {line}" for line in [*self._place(k), *k.before, *self._loops(k), *k.after]),
            "  }",
            "}\n",
        ]
        divisor = " * ".join(f"size{axis.k}" for axis in self.axes)
        return "\n".join(lines).replace("$divisor", divisor)

    def _place(self, k: Kernel) -> list[str]:
        """The first channel, the place and the image of a pack."""
        packs = self.channels // self.pack
        lines = ["const Index e = pack * PACK;", f"const int c = pack % {packs} * PACK;"]
        lines.append(f"Index image = pack / {packs};")
        for axis in reversed(self.axes):
            name, n = (f"o{axis.k}", axis.count) if k.like_y else (f"i{axis.k}", axis.n)
            lines += [f"const int {name} = image % {n};", f"image /= {n};"]
        return lines + [line for axis in self.axes for line in axis.divisor() if k.like_y]

    def _loops(self, k: Kernel) -> list[str]:
        """One loop inside the other, and what is done in the innermost one."""
        lines, at, tap = [], "image", ""
        for depth, axis in enumerate(self.axes):
            lines += ["  " * depth + line for line in (axis.taps() if k.like_y else axis.windows())]
            at = f"({at} * {axis.n} + i{axis.k})" if k.like_y else f"({at} * {axis.count} + o{axis.k})"
            tap = f"({tap} * {axis.size} + k{axis.k})" if tap else f"k{axis.k}"
        inner = [f"const Index at = {at} * {self.channels} + c;", *k.reads, "#pragma unroll"]
        inner += ["for (int j = 0; j < PACK; ++j) {", *(f"  {line}" for line in k.each), "}"]
        lines += ["  " * len(self.axes) + line.replace("$tap", tap) for line in inner]
        return lines + ["  " * depth + "}" for depth in reversed(range(len(self.axes)))]


@offers(MaxPool)
def max_pool(p: MaxPool, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    if (no := refusal(p, operands)) is not None:
        return no
    x = operands[0].type
    windows = Windows(p, x)
    residual = windows.y.size * windows.winner.itemsize
    cost = seconds(nbytes(x, windows.y) + residual)
    return kernel(lambda: [windows.call(MAX_POOL, In(0), Out(0), Out(1))], residual=residual, cost=cost)


@offers(MaxPoolGrad, MaxPoolPick)
def max_pool_gradient(p: MaxPoolGrad | MaxPoolPick, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    if (no := refusal(p, operands)) is not None:
        return no
    windows = Windows(p, operands[0].type)
    what = MAX_POOL_GRAD if isinstance(p, MaxPoolGrad) else MAX_POOL_PICK
    cost = seconds(nbytes(windows.x, windows.y) + windows.y.size * windows.winner.itemsize)
    return kernel(lambda: [windows.call(what, In(2), In(3), Out(0))], reads=frozenset((2, 3)), cost=cost)


@offers(AvgPool)
def avg_pool(p: AvgPool, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    if (no := refusal(p, operands)) is not None:
        return no
    windows = Windows(p, operands[0].type)
    cost = seconds(nbytes(windows.x, windows.y))
    return kernel(lambda: [windows.call(AVG_POOL, In(0), Out(0))], cost=cost)


@offers(AvgPoolGrad)
def avg_pool_gradient(p: AvgPoolGrad, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    if (no := refusal(p, operands)) is not None:
        return no
    windows = Windows(p, p.infer(operands[0].type)[0])
    cost = seconds(nbytes(windows.x, windows.y))
    return kernel(lambda: [windows.call(AVG_POOL_GRAD, In(0), Out(0))], cost=cost)
