"""A row for a team of threads: what softmax and layer norm share.

A team is a warp or a part of one where rows are short, so that no thread waits for another one, and a block
where they are long.  Its threads take every TEAM-th element, so that neighbours read neighbours.  A row is
read again rather than kept: the second time it comes from the cache, and one source serves all lengths.
"""

from __future__ import annotations

import math

import numpy as np

from cortex_compute.types import DType, TensorType
from cortex_gpu.kernels import BLOCK, Argument, Call, Source, blocks
from cortex_gpu.prelude import header

WARP = 32
SHORT = 1024  # elements of a row, at most, that are a warp's
LEAST = 4  # threads of a team: so many take a row of 8 elements, or fewer

TEAMS = r"""
struct Add { template <class T> __device__ static inline T of(T a, T b) { return a + b; } };
struct Most { template <class T> __device__ static inline T of(T a, T b) { return fmax(a, b); } };

// The numbers of all threads of a team as one, in an order that never changes; each thread gets it.
template <class Operation, class T> __device__ inline T together(T x, T* shared) {
  for (int i = TEAM < 32 ? TEAM / 2 : 16; i > 0; i /= 2)
    x = Operation::of(x, __shfl_xor_sync(0xffffffffu, x, i));
  if (TEAM <= 32) return x;
  __syncthreads();  // what was shared before has been read
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
  x = shared[0];
  for (int i = 1; i < TEAM / 32; ++i) x = Operation::of(x, shared[i]);
  return x;
}

constexpr int TEAMS = BLOCK / TEAM;  // of a block
constexpr int WARPS = TEAM < 32 ? 1 : TEAM / 32;  // of a team
__device__ inline i64 first_row() { return (i64)blockIdx.x * TEAMS + threadIdx.x / TEAM; }
// Whether any team of the warp has a row left: all threads of a warp go round together.
__device__ inline bool more(i64 row, i64 rows) { return row - threadIdx.x % 32 / TEAM < rows; }
__device__ inline i64 next_row(i64 row) { return row + (i64)gridDim.x * TEAMS; }
"""


class Rows:
    """An array seen as (count, n): the teams that walk along its rows."""

    def __init__(self, x: TensorType) -> None:
        self.n = x.shape[-1]
        self.count = math.prod(x.shape[:-1])
        half = max(0, self.n - 1) // 2
        self.team = min(WARP, max(LEAST, 1 << half.bit_length())) if self.n <= SHORT else BLOCK

    def source(self, name: str, d: DType, body: str, **names: str | int) -> Source:
        """A kernel that loops ``for (i64 row = first_row(); more(row, rows); row = next_row(row))``.

        Where ``row`` is not below ``rows`` the team has none, and only lends its threads to ``together``.
        """
        return Source(name, header(d, TEAM=self.team, BLOCK=BLOCK, **names) + TEAMS + body)

    def call(self, source: Source, *arguments: Argument) -> Call:
        """The launch; the kernel's last two arguments are ``i64 rows, int n``."""
        grid = blocks(self.count * self.team)
        return Call(source, grid, BLOCK, (*arguments, np.int64(self.count), np.int32(self.n)))
