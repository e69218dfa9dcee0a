"""Convolution where each channel has kernels of its own: too thin for a tile, so a result is a thread's sum.

Neighbouring threads have neighbouring channels, so that all they read and write lies together.
"""

from __future__ import annotations

import numpy as np

from cortex_compute.frozen import frozen
from cortex_gpu.epilogue import Ending
from cortex_gpu.geometry import Geometry, split
from cortex_gpu.kernels import BLOCK, Call, In, Source, Work, blocks, seconds
from cortex_gpu.prelude import header
from cortex_gpu.product import FOLD, LARGEST, RUN, SLOWER, added, itemsize, source

LANES = 32  # channels of a block in the kernel's gradient; its other threads share out the windows
SHORT = 64  # windows for each thread, where they are shared out among blocks
WAVES = 8

EACH = r"""
extern "C" __global__ void $NAME(const Storage* __restrict__ $LEFT, const Storage* __restrict__ w, $PARAMETERS
                                i64 size) {
#pragma unroll 1
  for (i64 at = (i64)blockIdx.x * blockDim.x + threadIdx.x; at < size; at += (i64)gridDim.x * blockDim.x) {
    $SPLIT
    Real value = 0, part = 0, lost = 0;
    [[maybe_unused]] int terms = 0;
    $LOOPS {
      $FIND
      if ($THERE) { $SUM }
    }
    fold(part, value, lost);
    $STORE
  }
}
"""

KERNEL = r"""
extern "C" __global__ void $NAME(const Storage* __restrict__ x, const Storage* __restrict__ g, Real* partial,
                                int windows, int chunk) {
  __shared__ Real sums[BLOCK];
  const int lane = threadIdx.x % LANES, tiles = (FILTERS + LANES - 1) / LANES;
  const int tap = blockIdx.x / tiles, f = (int)blockIdx.x % tiles * LANES + lane;
  const int begin = (int)blockIdx.y * chunk, end = windows - begin < chunk ? windows : begin + chunk;
  $PLACE
  Real value = 0, part = 0, lost = 0;
  if (f < FILTERS) {
    int terms = 0;
    for (int p = begin + (int)threadIdx.x / LANES; p < end; p += BLOCK / LANES) {
      $SPLIT
      $FIND
      if ($THERE) part += load(x[$IN_X]) * load(g[(i64)p * FILTERS + f]);
      if (++terms % RUN == 0) {
        fold(part, value, lost);
        part = 0;
      }
    }
    fold(part, value, lost);
  }
  sums[threadIdx.x] = value;
  __syncthreads();
  if (threadIdx.x < LANES && f < FILTERS) {
    for (int r = 1; r < BLOCK / LANES; r++) value += sums[lane + LANES * r];
    partial[((i64)blockIdx.y * TAPS + tap) * FILTERS + f] = value;
  }
}
"""


@frozen
class Each:
    """A kernel in which a thread computes a result at a time."""

    source: Source
    ending: Ending
    size: int
    terms: int  # of each result, at most
    fits: bool = True
    workspace: int = 0

    def cost(self, nbytes: int, flops: int) -> float:
        return seconds(nbytes, SLOWER * max(flops, 2 * self.size * self.terms))

    def steps(self) -> list[Call]:
        given = (In(0), In(1), *(x for _, x in self.ending.parameters))
        return [Call(self.source, blocks(self.size), BLOCK, (*given, np.int64(self.size)))]


def forward(g: Geometry, end: Ending) -> Each:
    """y[n, o, f] = sum over t of x[n, seen, c] w[t, f], where f is one of c's filters"""
    find, inside = g.seen()
    last = split("at", (g.windows, g.filters), ["window", "f"])
    tap = f"const int tap = {_tap(g)};"
    return _each(
        g, "depthwise_" + end.name, end, g.windows * g.filters, LEFT="x",
        SPLIT=f"{last} {g.split_window('window')} [[maybe_unused]] const int c = f / {g.outer}u, column = f;",
        FIND=find, THERE=inside,
        SUM=f"{tap} " + _sum(g.taps, f"load(x[{g.in_x('c')}]) * load(w[tap * {g.filters} + f])"),
    )  # fmt: skip


def input_gradient(g: Geometry, end: Ending) -> Each:
    """dx[n, y, c] = sum over t and c's filters f of g[n, o, f] w[t, f], where window o has y at t"""
    find, there = g.seen_by()
    last = split("at", (g.pixels, g.channels), ["pixel", "c"])
    filters = f"for (int f = (int)c * {g.outer}; f < ((int)c + 1) * {g.outer}; f++)"
    term = f"load(g[{g.in_y('f')}]) * load(w[({_tap(g)}) * {g.filters} + f])"
    return _each(
        g, "depthwise_" + end.name, end, g.pixels * g.channels, LEFT="g",
        SPLIT=f"{last} {g.split_pixel('pixel')}",
        FIND=find, THERE=there,
        SUM=f"{filters} {{ {_sum(g.taps * g.outer, term)} }}",
    )  # fmt: skip


def _each(g: Geometry, name: str, end: Ending, size: int, **pieces: str) -> Each:
    loops = " ".join(f"for (int t{k} = 0; t{k} < {n}; t{k}++)" for k, n in enumerate(g.kernel, 1))
    declared = "".join(f"{x}, " for x, _ in end.parameters)
    text = header(g.dtype, RUN=RUN) + FOLD + EACH
    made = source(text, name, PARAMETERS=declared, LOOPS=loops, STORE=end.store, **pieces)
    return Each(made, end, size, g.taps * g.outer, fits=size <= LARGEST)


def _sum(terms: int, term: str) -> str:
    """C that adds a term to the part, which joins the sum before it is too long."""
    if terms <= RUN:
        return f"part += {term};"
    return f"part += {term}; if (++terms % RUN == 0) {{ fold(part, value, lost); part = 0; }}"


def _tap(g: Geometry) -> str:
    """The number of a place in the kernel."""
    text = "0"
    for k, n in enumerate(g.kernel, 1):
        text = f"({text} * {n} + t{k})" if k > 1 else "t1"
    return text


@frozen
class KernelGradient:
    """dw[t, f] = sum over windows of x[n, seen, c] g[n, o, f], where f is one of c's filters

    The windows are cut into parts for the blocks, and the parts are added in their order.
    """

    geometry: Geometry
    ending: Ending
    processors: int
    most_workspace: int

    @property
    def fits(self) -> bool:
        return self.geometry.windows <= LARGEST

    @property
    def parts(self) -> int:
        """Into how many parts the windows are cut."""
        g = self.geometry
        wanted = -(-WAVES * self.processors // self._tiles)
        most = self.most_workspace // (g.taps * g.filters * itemsize(g.dtype))
        return max(1, min(wanted, g.windows // (SHORT * BLOCK // LANES), most))

    @property
    def workspace(self) -> int:
        g = self.geometry
        return self.parts * g.taps * g.filters * itemsize(g.dtype)

    @property
    def _tiles(self) -> int:
        return self.geometry.taps * -(-self.geometry.filters // LANES)

    def cost(self, nbytes: int, flops: int) -> float:
        return seconds(nbytes + 2 * self.workspace, SLOWER * flops, launches=2)

    def steps(self) -> list[Call]:
        g, parts = self.geometry, self.parts
        chunk = -(-g.windows // parts)
        arguments = (In(0), In(1), Work(), np.int32(g.windows), np.int32(chunk))
        first = Call(self._source(), (self._tiles, parts, 1), BLOCK, arguments)
        store = f"const i64 at = (i64)i * {g.filters} + j; {self.ending.store}"
        sizes = g.taps, g.filters, 1
        return [first, added(self.ending.name, g.dtype, self.ending.parameters, store, sizes, parts)]

    def _source(self) -> Source:
        g, name = self.geometry, "depthwise_" + self.ending.name
        find, inside = g.seen()
        counts = header(g.dtype, BLOCK=BLOCK, LANES=LANES, FILTERS=g.filters, TAPS=g.taps, RUN=RUN)
        return source(
            counts + FOLD + KERNEL, name,
            PLACE=f"{g.split_tap('tap', 1, 'none')} const int c = f / {g.outer};",
            SPLIT=g.split_window("p"), FIND=find, THERE=inside, IN_X=g.in_x("c"),
        )  # fmt: skip
