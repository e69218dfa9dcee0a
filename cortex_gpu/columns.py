"""Channels as the columns of (rows, C): how batch norm, and a gradient of layer norm, sum over rows.

A block is WIDTH by HEIGHT threads: neighbours read neighbours, and a thread keeps to the PACK channels that
one instruction brings it.  The rows are cut into parts, so that there are blocks enough and no sum is long.
Each block leaves two numbers per channel in the workspace, and a second kernel takes those together, in an
order that depends on nothing but the shape and the device; one part alone is the result.

A thread reads several rows at once, as what is under way hides the time that memory takes; and RESIDENT
blocks share a processor, which limits a thread to 64 registers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cortex_compute.primitives.normalization import vector_type
from cortex_compute.types import DType, TensorType
from cortex_gpu.kernels import BLOCK, Argument, Call, Source, Work
from cortex_gpu.memory import offsets
from cortex_gpu.prelude import header

WARP = 32
MOVED = 8  # bytes that a thread moves at once
CHUNK = 4  # rows that a thread reads at once
FEW = 2  # the same where it reads several arrays
MOST = 32  # such reads of a thread: after more of them rounding errors have added up
MOST_PARTS = 65535  # blocks along y
RESIDENT = 4  # blocks of a processor at a time
NARROW = 4  # channels of a block that takes parts together: there is more to wait for than to read

PACKS = r"""
template <class T> struct alignas(PACK * sizeof(T)) Packed { T at[PACK]; };  // of neighbouring channels
template <class T> __device__ inline bool whole(const T* x) {  // x may begin anywhere
  return (u64)x % sizeof(Packed<T>) == 0;
}
template <class T> __device__ inline Packed<T> fetch(const T* x, bool whole) {
  if (whole) return *(const Packed<T>*)x;
  Packed<T> pack;
  for (int j = 0; j < PACK; ++j) pack.at[j] = x[j];
  return pack;
}
template <class T> __device__ inline void put(T* y, Packed<T> pack, bool whole) {
  if (whole) *(Packed<T>*)y = pack;
  else
    for (int j = 0; j < PACK; ++j) y[j] = pack.at[j];
}
"""

TILE = r"""
typedef Packed<Storage> Pack;

// A thread's first channel, and its rows: from first to below last, each HEIGHT behind the one before.
struct Place {
  int channel, line;
  i64 first, last;
};
__device__ inline Place place(i64 rows, i64 step, int channels) {
  Place p;
  p.channel = (blockIdx.x * WIDTH + threadIdx.x % WIDTH) * PACK;
  p.line = threadIdx.x / WIDTH;
  const i64 start = blockIdx.y * step, end = start + step;
  p.first = start + p.line;
  p.last = p.channel >= channels ? 0 : end < rows ? end : rows;
  return p;
}

// What the threads of a channel have, as one; the thread of line 0 gets it.
template <class T> __device__ inline T together(T x, T* shared) {
  shared[threadIdx.x] = x;
  for (int half = HEIGHT / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half * WIDTH)
      shared[threadIdx.x] = join(shared[threadIdx.x], shared[threadIdx.x + half * WIDTH]);
  }
  return shared[threadIdx.x];
}
"""


def packed(x: TensorType) -> int:
    """How many channels of x a thread takes at once."""
    return math.gcd(MOVED // x.dtype.itemsize, x.shape[-1])


class Columns:
    """An array seen as (rows, channels), cut into parts of ``step`` rows."""

    def __init__(self, x: TensorType, processors: int) -> None:
        self.rows, self.channels = math.prod(x.shape[:-1]), x.shape[-1]
        self.vector = self.channels * vector_type(x.dtype).itemsize  # bytes
        self.pack = packed(x)
        packs = self.channels // self.pack
        self.width = min(WARP, 1 << (packs - 1).bit_length())
        self.height = BLOCK // self.width
        self.tiles = -(-packs // self.width)
        unit = self.height * CHUNK
        wanted = max(1, RESIDENT * processors // self.tiles)
        chunks = min(MOST, -(-self.rows // (unit * wanted)))
        self.step = max(1, chunks, -(-self.rows // (unit * MOST_PARTS))) * unit
        self.parts = max(1, -(-self.rows // self.step))
        self.launches = 1 if self.parts == 1 else 2  # of `sums`

    def scratch(self) -> tuple[list[Work], int]:
        """Where two numbers for each part and channel, and two for each channel, lie; the bytes of all."""
        starts, total = offsets([self.vector * self.parts] * 2 + [self.vector] * 2)
        return [Work(start) for start in starts], total

    def source(self, name: str, d: DType, body: str, **names: str | int) -> Source:
        """A kernel over tiles; the ``body`` gives ``join`` of what it takes ``together``."""
        return _source(name, d, self.width, self.pack, body, names)

    def call(self, source: Source, *arguments: Argument) -> Call:
        """A launch on all parts; the kernel's last arguments are ``i64 rows, i64 step, int channels``."""
        return self._call(source, (self.tiles, self.parts, 1), arguments)

    def finish_source(self, name: str, d: DType, body: str) -> Source:
        """A kernel that takes the parts together."""
        return _source(name, d, NARROW, 1, body, {})

    def sums(
        self,
        source: Source,
        finish: Source,
        given: Sequence[Argument],
        pieces: Sequence[Argument],
        results: Sequence[Argument],
    ) -> list[Call]:
        """What all rows have: ``source`` leaves two ``pieces`` of each part, ``finish`` joins them.

        There are four ``results``: two for the kernels that follow, and two that may be null.
        """
        if self.parts == 1:
            return [self.call(source, *given, *results)]
        grid = -(-self.channels // NARROW), 1, 1
        return [
            self.call(source, *given, *pieces, *results[2:]),
            self._call(finish, grid, (*pieces, *results)),
        ]

    def _call(self, source: Source, grid: tuple[int, int, int], arguments: tuple[Argument, ...]) -> Call:
        sizes = np.int64(self.rows), np.int64(self.step), np.int32(self.channels)
        return Call(source, grid, BLOCK, (*arguments, *sizes))


def _source(name: str, d: DType, width: int, pack: int, body: str, names: dict[str, str | int]) -> Source:
    sizes = {"WIDTH": width, "HEIGHT": BLOCK // width, "PACK": pack, "CHUNK": CHUNK, "RESIDENT": RESIDENT}
    return Source(name, header(d, **{**sizes, **names}) + PACKS + TILE + body)
