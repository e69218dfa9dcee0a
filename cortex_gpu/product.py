"""A tiled matrix product as generated CUDA: the plain way of products and convolutions.

One template serves all of them.  A block of 256 threads computes a tile of the result: it brings a strip of
each factor into shared memory, 32 deep, and each thread adds up a few results in registers.  What a factor
*is* at a place, and what becomes of a result, are pieces of C that the caller writes: strided matrices, the
windows of an image, an epilogue.

Where the results are few and the sums long, the sums are cut into parts for more blocks, and the parts are
added in their order: equal runs give equal bits.  No sum runs on for more than `RUN` terms: rounding errors
of long sums of numbers that are alike all go one way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from string import Template
from typing import Protocol

import numpy as np

from cortex_compute.frozen import frozen
from cortex_compute.types import DType, float64
from cortex_gpu.kernels import BLOCK, FLOPS, Argument, Call, Source, Step, Work, blocks, seconds
from cortex_gpu.prelude import header, index

SIDE = 16  # threads along each side of a block
DEPTH = 32  # of the strips in shared memory
RUN = 64  # terms of a plain sum; such sums are added with what their rounding loses
SLOWER = 4  # times: arithmetic here beside a library's
STRIP = 5e-7  # seconds for a strip: a block has one after the other
SHORT = 128  # a sum is not cut into parts shorter than this
LONG = 1024  # rather than into smaller tiles, sums are cut into parts longer than this
WAVES = 4  # blocks for each processor, where sums are cut to get them
LARGEST = (1 << 31) - 1  # of rows, columns and terms, which are counted in 32 bits

FOLD = r"""
// Adds a part to a total (Kahan): what rounding loses goes into the next part.  Infinity stays infinity.
template <class T> __device__ inline void fold(T part, T& total, T& lost) {
  const T all = part + lost, sum = total + all, less = all - (sum - total);
  total = sum;
  lost = less - less == 0 ? less : 0;
}
"""

# A strip of the left factor is TALL rows, one of the right factor WIDE columns; one number more in each line
# of shared memory keeps threads that write along the terms out of each other's banks.  The next strips are on
# their way, in registers, while a block computes.
TILED = r"""
extern "C" __global__ void __launch_bounds__(BLOCK, RESIDENT)
$NAME($PARAMETERS int m, int n, int depth, int batch, int chunk) {
  __shared__ Real lefts[DEPTH * (TALL + 1)];
  __shared__ Real rights[DEPTH * (WIDE + 1)];
  const int thread = threadIdx.x, tx = thread % SIDE, ty = thread / SIDE;
  const int tiles = (m + TALL - 1) / TALL;
  const int top = (int)blockIdx.x % tiles * TALL, left = (int)blockIdx.x / tiles * WIDE;
  const int begin = (int)blockIdx.y * chunk, end = depth - begin < chunk ? depth : begin + chunk;
  for (int z = blockIdx.z; z < batch; z += gridDim.z) {
    $SETUP
    Real sums[ROWS][COLUMNS], totals[ROWS][COLUMNS], lost[ROWS][COLUMNS];
    for (int r = 0; r < ROWS; r++)
      for (int c = 0; c < COLUMNS; c++) sums[r][c] = totals[r][c] = lost[r][c] = 0;
    Real lefts_next[TALL * DEPTH / BLOCK], rights_next[WIDE * DEPTH / BLOCK];
    const auto bring = [&](int base) {
#pragma unroll
      for (int r = 0; r < TALL * DEPTH / BLOCK; r++) {
        const int i = top + $LEFT_ACROSS, p = base + $LEFT_ALONG;
        Real value = 0;
        if (i < m && p < end) {
          $LEFT_VALUE
        }
        lefts_next[r] = value;
      }
#pragma unroll
      for (int r = 0; r < WIDE * DEPTH / BLOCK; r++) {
        const int j = left + $RIGHT_ACROSS, p = base + $RIGHT_ALONG;
        Real value = 0;
        if (j < n && p < end) {
          $RIGHT_VALUE
        }
        rights_next[r] = value;
      }
    };
    bring(begin);
    for (int base = begin; base < end; base += DEPTH) {
#pragma unroll
      for (int r = 0; r < TALL * DEPTH / BLOCK; r++)
        lefts[($LEFT_ALONG) * (TALL + 1) + $LEFT_ACROSS] = lefts_next[r];
#pragma unroll
      for (int r = 0; r < WIDE * DEPTH / BLOCK; r++)
        rights[($RIGHT_ALONG) * (WIDE + 1) + $RIGHT_ACROSS] = rights_next[r];
      __syncthreads();
      if (base + DEPTH < end) bring(base + DEPTH);
#pragma unroll 8
      for (int q = 0; q < DEPTH; q++) {
        Real u[ROWS], v[COLUMNS];
        for (int r = 0; r < ROWS; r++) u[r] = lefts[q * (TALL + 1) + ty + SIDE * r];
        for (int c = 0; c < COLUMNS; c++) v[c] = rights[q * (WIDE + 1) + tx + SIDE * c];
        for (int r = 0; r < ROWS; r++) for (int c = 0; c < COLUMNS; c++) sums[r][c] += u[r] * v[c];
      }
      __syncthreads();
      if (base + DEPTH >= end || (base + DEPTH - begin) % RUN == 0) {
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
#pragma unroll
          for (int c = 0; c < COLUMNS; c++) {
            fold(sums[r][c], totals[r][c], lost[r][c]);
            sums[r][c] = 0;
          }
        }
      }
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
      for (int c = 0; c < COLUMNS; c++) {
        const int i = top + ty + SIDE * r, j = left + tx + SIDE * c;
        if (i < m && j < n) {
          const Real value = totals[r][c];
          $STORE
        }
      }
    }
  }
}
"""

ADDED = r"""
extern "C" __global__ void $NAME($PARAMETERS int m, int n, int batch, int parts, const Real* partial) {
  const Index size = (Index)batch * m * n;
#pragma unroll 1
  for (Index e = (Index)blockIdx.x * blockDim.x + threadIdx.x; e < size; e += (Index)gridDim.x * blockDim.x) {
    Real value = 0, lost = 0;
    for (int part = 0; part < parts; part++) fold(partial[(i64)part * size + e], value, lost);
    const int j = (int)(e % n), i = (int)(e / n % m), z = (int)(e / n / m);
    $STORE
  }
}
"""

PARTIAL = "partial[(((i64)blockIdx.y * batch + z) * m + i) * n + j] = value;"


class Way(Protocol):
    """How a product or a convolution may be computed."""

    @property
    def fits(self) -> bool:
        """Whether its sizes can be counted in the integers of its kernels."""

    @property
    def workspace(self) -> int:
        """Bytes of scratch."""

    def cost(self, nbytes: int, flops: int) -> float:
        """Seconds, for so many bytes read and written, and operations."""

    def steps(self) -> Sequence[Step]: ...


@frozen
class Product:
    """``batch`` products, numbered z, of m x ``depth`` by ``depth`` x n.

    The C: ``setup`` is run for each z; ``a`` sets ``value`` to the left factor's number in row i of term p,
    ``b`` to the right one's in column j, both in the type that is computed with; ``store`` writes the
    ``value`` of the result at (i, j).  All may read the ``parameters``: (C declaration, argument).
    ``a_deep``, ``b_deep``: whether a factor's neighbours in memory are neighbours along the terms.
    """

    name: str
    dtype: DType
    m: int
    n: int
    depth: int
    parameters: tuple[tuple[str, Argument], ...]
    a: str
    b: str
    store: str
    a_deep: bool
    b_deep: bool
    batch: int = 1
    setup: str = ""
    processors: int = 108
    most_workspace: int = 0

    @property
    def fits(self) -> bool:
        """Whether rows, columns and terms can be counted in 32 bits."""
        return max(self.m, self.n, self.depth, self.batch) <= LARGEST - BLOCK

    @property
    def tile(self) -> tuple[int, int]:
        """Results of a thread: how many rows, how many columns.  As large a tile as keeps the GPU busy."""
        rows, columns = (4 if x > 32 else 2 if x > 16 else 1 for x in (self.m, self.n))
        parts = max(1, self.depth // LONG)
        while rows * columns > 1 and self._blocks(rows, columns) * parts < self.processors:
            rows, columns = (rows // 2, columns) if rows >= columns else (rows, columns // 2)
        return rows, columns

    def _blocks(self, rows: int, columns: int) -> int:
        return self.batch * -(-self.m // (SIDE * rows)) * -(-self.n // (SIDE * columns))

    @property
    def cut(self) -> tuple[int, int]:
        """Into how many parts the sums are cut, and how many terms each has."""
        size = max(1, self.batch * self.m * self.n * itemsize(self.dtype))
        there = max(1, self._blocks(*self.tile))
        wanted = -(-WAVES * self.processors // there) if there < self.processors else 1
        parts = max(1, min(wanted, self.depth // SHORT, self.most_workspace // size))
        each = -(-max(1, self.depth) // parts)
        chunk = -(-each // DEPTH) * DEPTH
        return max(1, -(-self.depth // chunk)), chunk

    @property
    def workspace(self) -> int:
        """Bytes of scratch: the parts of the sums."""
        parts = self.cut[0]
        return parts * self.batch * self.m * self.n * itemsize(self.dtype) if parts > 1 else 0

    def cost(self, nbytes: int, flops: int) -> float:
        parts, chunk = self.cut
        flops = max(flops, 2 * self.batch * self.m * self.n * self.depth)  # also of terms that are 0
        waiting = min(self.depth, chunk) / DEPTH * STRIP
        return seconds(nbytes + 2 * self.workspace, max(SLOWER * flops, waiting * FLOPS), min(parts, 2))

    def steps(self) -> list[Call]:
        """The launches: one, or with sums in parts two."""
        if not self.batch * self.m * self.n:
            return []
        (parts, chunk), (rows, columns) = self.cut, self.tile
        grid = (self._blocks(rows, columns) // self.batch, parts, min(self.batch, 65535))
        given = tuple(x for _, x in self.parameters)
        partial = () if parts == 1 else (Work(),)
        counts = _numbers(self.m, self.n, self.depth, self.batch, chunk)
        steps = [Call(self._tiled(parts == 1), grid, BLOCK, (*given, *partial, *counts))]
        if parts > 1:
            sizes = self.m, self.n, self.batch
            steps.append(added(self.name, self.dtype, self.parameters, self.store, sizes, parts))
        return steps

    def _tiled(self, whole: bool) -> Source:
        rows, columns = self.tile
        tall, wide = SIDE * rows, SIDE * columns
        constants = header(
            self.dtype, ROWS=rows, COLUMNS=columns, TALL=tall, WIDE=wide, SIDE=SIDE, DEPTH=DEPTH, BLOCK=BLOCK,
            RUN=RUN, RESIDENT=1 if self.dtype is float64 else 2,
        )  # fmt: skip
        left, right = _share(self.a_deep, tall), _share(self.b_deep, wide)
        return source(
            constants + FOLD + TILED, self.name if whole else f"{self.name}_cut",
            PARAMETERS=_declared(self.parameters) + ("" if whole else "Real* partial, "),
            LEFT_VALUE=self.a, LEFT_ACROSS=left[0], LEFT_ALONG=left[1],
            RIGHT_VALUE=self.b, RIGHT_ACROSS=right[0], RIGHT_ALONG=right[1],
            SETUP=self.setup, STORE=self.store if whole else PARTIAL,
        )  # fmt: skip


def added(
    name: str, dtype: DType, parameters: tuple[tuple[str, Argument], ...], store: str,
    sizes: tuple[int, int, int], parts: int,
) -> Call:  # fmt: skip
    """The launch that adds ``parts`` arrays of m x n results, ``batch`` times, and ends as `Product` does."""
    text = header(dtype, Index=index(math.prod(sizes))[0]) + FOLD + ADDED
    end = source(text, f"{name}_added", PARAMETERS=_declared(parameters), STORE=store)
    given = tuple(x for _, x in parameters)
    return Call(end, blocks(math.prod(sizes)), BLOCK, (*given, *_numbers(*sizes, parts), Work()))


def itemsize(dtype: DType) -> int:
    """Bytes of a number that is computed with."""
    return 8 if dtype is float64 else 4


def _declared(parameters: tuple[tuple[str, Argument], ...]) -> str:
    return "".join(f"{x}, " for x, _ in parameters)


def source(text: str, name: str, **pieces: str) -> Source:
    """A text with the pieces of C in the places of their names, ``$NAME`` and such."""
    return Source(name, Template(text).substitute(pieces, NAME=name))


def _share(deep: bool, side: int) -> tuple[str, str]:
    """Which place of a strip, across and along the terms, a thread brings as its r-th.

    Threads that are neighbours bring what are neighbours in memory.
    """
    if deep:
        return f"thread / DEPTH + {BLOCK // DEPTH} * r", "thread % DEPTH"
    return f"thread % {side}", f"thread / {side} + {BLOCK // side} * r"


def _numbers(*values: int) -> tuple[np.int32, ...]:
    return tuple(map(np.int32, values))
