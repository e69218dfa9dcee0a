"""A stable sort of integer keys, row by row: least significant digit first (Knuth, TAOCP 3, 5.2.5).

A pass sorts by 8 bits in three kernels: each tile of a row counts its digits, the counts of each digit are
summed up over the tiles, and each key goes to its place.  No order of blocks or of atomics is seen in the
result.
"""

from __future__ import annotations

import numpy as np

from cortex_compute.frozen import frozen
from cortex_gpu.indexing import block_for
from cortex_gpu.kernels import Call, Source, Work
from cortex_gpu.memory import offsets
from cortex_gpu.prelude import PRELUDE
from cortex_gpu.scan import SCAN

TILE = 256  # keys of a tile, threads of its block, and values of a digit
DIGIT = 8  # bits

COUNT = r"""
// How often each digit occurs in each tile: counts (rows, 256, tiles).
extern "C" __global__ void sort_count(const Key* __restrict__ keys, int* __restrict__ counts, i64 n,
                                      i64 tiles, int shift) {
  __shared__ int found[256];
  const int t = threadIdx.x;
  const i64 row = blockIdx.x / tiles, tile = blockIdx.x % tiles, i = tile * 256 + t;
  found[t] = 0;
  __syncthreads();
  if (i < n) atomicAdd(&found[(int)(keys[row * n + i] >> shift & 255)], 1);
  __syncthreads();
  counts[(row * 256 + t) * tiles + tile] = found[t];
}
"""

SUM = r"""
// Block (row, digit): counts become how many keys of this digit earlier tiles have; totals (rows, 256).
extern "C" __global__ void sort_sum(int* __restrict__ counts, int* __restrict__ totals, i64 tiles) {
  __shared__ int shared[THREADS];
  int* own = counts + (i64)blockIdx.x * tiles;
  int before = 0;
  for (i64 start = 0; start < tiles; start += THREADS) {
    const i64 i = start + threadIdx.x;
    const int x = i < tiles ? own[i] : 0;
    const int sum = scan<THREADS>(shared, x);
    if (i < tiles) own[i] = before + sum - x;
    before += shared[THREADS - 1];
    __syncthreads();
  }
  if (threadIdx.x == 0) totals[blockIdx.x] = before;
}
"""

PLACE = r"""
// Moves each key, and where it was, behind all smaller digits and the earlier keys of its own.
extern "C" __global__ void sort_place(const Key* __restrict__ keys, const int* __restrict__ order,
                                      const int* __restrict__ counts, const int* __restrict__ totals,
                                      Key* __restrict__ keys_out, int* __restrict__ order_out, i64 n,
                                      i64 tiles, int shift) {
  __shared__ int smaller[256];
  __shared__ int digits[256];
  const int t = threadIdx.x;
  const i64 row = blockIdx.x / tiles, tile = blockIdx.x % tiles, i = tile * 256 + t;
  const int total = totals[row * 256 + t];
  const int sum = scan<256>(smaller, total);
  smaller[t] = sum - total;
  const Key key = i < n ? keys[row * n + i] : 0;
  digits[t] = (int)(key >> shift & 255);
  __syncthreads();
  if (i >= n) return;
  const int digit = digits[t];
  int earlier = 0;
  for (int j = 0; j < t; ++j) earlier += digits[j] == digit;
  const i64 to = row * n + smaller[digit] + counts[(row * 256 + digit) * tiles + tile] + earlier;
  keys_out[to] = key;
  order_out[to] = order[row * n + i];
}
"""


@frozen
class Sort:
    """Sorts ``rows`` rows of ``n`` keys by their lowest ``bits`` bits, ascending; equals keep their order.

    Keys are u32 or, with ``wide``, u64.  Someone fills ``keys`` and, with 0 ... n - 1 for each row, ``order``
    (int); the steps leave the result in ``sorted_keys`` and ``sorted_order``.  All of it lies in ``nbytes``
    of scratch from ``start`` on.
    """

    rows: int
    n: int
    bits: int
    wide: bool = False
    start: int = 0

    @property
    def key(self) -> str:
        """The C type of a key."""
        return "u64" if self.wide else "u32"

    @property
    def _tiles(self) -> int:
        return -(-self.n // TILE)

    @property
    def _passes(self) -> int:
        return -(-self.bits // DIGIT)

    def _pieces(self) -> tuple[list[int], int]:
        count = self.rows * self.n
        keys, order = count * (8 if self.wide else 4), count * 4
        return offsets([keys, order, keys, order, self.rows * TILE * self._tiles * 4, self.rows * TILE * 4])

    @property
    def nbytes(self) -> int:
        return self._pieces()[1]

    def _work(self, piece: int) -> Work:
        return Work(self.start + self._pieces()[0][piece])

    @property
    def keys(self) -> Work:
        return self._work(0)

    @property
    def order(self) -> Work:
        return self._work(1)

    @property
    def sorted_keys(self) -> Work:
        return self._work(self._passes % 2 * 2)

    @property
    def sorted_order(self) -> Work:
        return self._work(self._passes % 2 * 2 + 1)

    @property
    def launches(self) -> int:
        return 3 * self._passes

    def steps(self) -> list[Call]:
        """The kernels of all passes."""
        if not self.rows * self.n:
            return []
        threads = block_for(self._tiles)
        text = f"{PRELUDE}typedef {self.key} Key;\nenum {{ THREADS = {threads} }};\n{SCAN}"
        count, total, place = (
            Source(f"sort_{name}", text + body)
            for name, body in (("count", COUNT), ("sum", SUM), ("place", PLACE))
        )
        n, tiles = np.int64(self.n), np.int64(self._tiles)
        grid = self.rows * self._tiles, 1, 1
        counts, totals = self._work(4), self._work(5)
        calls = []
        for i in range(self._passes):
            (keys, order), (keys_out, order_out) = (
                (self._work(2 * k), self._work(2 * k + 1)) for k in (i % 2, 1 - i % 2)
            )
            shift = np.int32(i * DIGIT)
            moved = keys, order, counts, totals, keys_out, order_out
            calls += [
                Call(count, grid, TILE, (keys, counts, n, tiles, shift)),
                Call(total, (self.rows * TILE, 1, 1), threads, (counts, totals, tiles)),
                Call(place, grid, TILE, (*moved, n, tiles, shift)),
            ]
        return calls
