"""TopK: a few are selected one by one, for more the row is sorted.

Both work on the bits of an element, as an integer key that is smaller the earlier the element comes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cortex_compute.primitives.indexing import TopK
from cortex_compute.protocol import Offer, Operand, Refusal
from cortex_compute.types import TensorType, bfloat16, float16, float32, float64
from cortex_gpu.backend import Gpu, offers
from cortex_gpu.indexing import block_for, places, word
from cortex_gpu.kernels import BLOCK, Call, In, Out, Source, blocks, kernel, refusal, seconds
from cortex_gpu.sort import Sort

FEW = 16  # up to so many may be selected; a sort takes six to 24 launches
STEP = 3e-7  # seconds from one element of a thread to the next: a load that the one before does not wait for
HELD = 8  # blocks that a processor holds at a time
INFINITY = {float16: 0x7C00, bfloat16: 0x7F80, float32: 0x7F800000, float64: 0x7FF0000000000000}

RANK = r"""
// Zeros are equal, and so are NaNs, which are larger than infinity.
__device__ inline Key rank(Word element) {
  const Key all = ~(Key)0 >> 8 * (sizeof(Key) - sizeof(Word)), sign = all / 2 + 1;
  const Key b = element, size = b & ~sign;
  const Key ascending = size > (Key)INFINITE ? all : size == 0 ? sign : b & sign ? all ^ b : b | sign;
  return LARGEST ? all ^ ascending : ascending;
}
"""

SELECT = r"""
__device__ inline bool comes_before(Key a, i64 i, Key b, i64 j) { return a < b || (a == b && i < j); }

// A block for each row.  Each time the first is taken of those that come after the one before.
extern "C" __global__ void top_k_select(const Word* __restrict__ x, Word* __restrict__ values,
                                        i64* __restrict__ ids, i64 n, i64 k) {
  __shared__ Key keys[THREADS];
  __shared__ i64 at[THREADS];
  const int t = threadIdx.x;
  const Word* row = x + (i64)blockIdx.x * n;
  Key last_key = 0;
  i64 last = -1;
  for (i64 j = 0; j < k; ++j) {
    Key key = ~(Key)0;
    i64 best = n;
    for (i64 i = t; i < n; i += THREADS) {
      const Key own = rank(row[i]);
      if (comes_before(last_key, last, own, i) && comes_before(own, i, key, best)) { key = own; best = i; }
    }
    keys[t] = key;
    at[t] = best;
    for (int d = THREADS / 2; d > 0; d /= 2) {
      __syncthreads();
      if (t < d && comes_before(keys[t + d], at[t + d], keys[t], at[t])) {
        keys[t] = keys[t + d];
        at[t] = at[t + d];
      }
    }
    __syncthreads();
    last_key = keys[0];
    last = at[0];
    if (t == 0) {
      if (values) values[blockIdx.x * k + j] = row[last];
      if (ids) ids[blockIdx.x * k + j] = last;
    }
    __syncthreads();
  }
}
"""

KEYS = r"""
extern "C" __global__ void top_k_keys(const Word* __restrict__ x, Key* __restrict__ keys,
                                      int* __restrict__ order, i64 n, i64 count) {
  EACH(e, (Index)count) {
    keys[e] = rank(x[e]);
    order[e] = (int)(e % (Index)n);
  }
}
"""

FIRST = r"""
extern "C" __global__ void top_k_first(const Word* __restrict__ x, const int* __restrict__ order,
                                       Word* __restrict__ values, i64* __restrict__ ids, i64 n, i64 k,
                                       i64 count) {
  EACH(e, (Index)count) {
    const i64 row = e / (Index)k * n;
    const int at = order[row + e % (Index)k];
    if (values) values[e] = x[row + at];
    if (ids) ids[e] = at;
  }
}
"""


@offers(TopK)
def top_k(p: TopK, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    x = operands[0].type
    n = x.shape[-1]
    if (no := refusal(p, operands)) is not None:
        return no
    if n >= 2**31:
        return Refusal(f"cupy sorts rows of up to 2^31 - 1 elements, not {n}")
    rows = x.size // n if n else 0
    sort = Sort(rows, n, 8 * x.dtype.itemsize, wide=x.dtype is float64)
    sorting = seconds(sort.launches * sort.nbytes / 2, launches=2 + sort.launches)
    selecting = _selecting_cost(p, x, rows, gpu.processors)
    if p.k <= FEW and selecting <= sorting:
        return kernel(lambda: _select(p, x, rows), cost=selecting)
    return kernel(lambda: _sorted(p, x, sort), workspace=sort.nbytes, cost=sorting)


def _selecting_cost(p: TopK, x: TensorType, rows: int, processors: int) -> float:
    """A row has one block, however long it is: few long rows leave most of the GPU idle."""
    steps = -(-x.shape[-1] // block_for(x.shape[-1])) * -(-rows // (HELD * processors))
    return max(seconds(p.k * x.nbytes), p.k * steps * STEP)


def _text(p: TopK, x: TensorType) -> str:
    key = "u64" if x.dtype is float64 else "u32"
    known = f"enum {{ LARGEST = {int(p.largest)} }};\n#define INFINITE {INFINITY[x.dtype]}ull\n"
    return places(x, Word=word(x.dtype), Key=key) + known + RANK


def _select(p: TopK, x: TensorType, rows: int) -> list[Call]:
    if not rows * p.k:
        return []
    n = x.shape[-1]
    threads = block_for(n)
    source = Source("top_k_select", _text(p, x) + f"enum {{ THREADS = {threads} }};\n" + SELECT)
    return [Call(source, (rows, 1, 1), threads, (In(0), Out(0), Out(1), np.int64(n), np.int64(p.k)))]


def _sorted(p: TopK, x: TensorType, sort: Sort) -> list[Call]:
    if not x.size:
        return []
    n, k, count = np.int64(sort.n), np.int64(p.k), sort.rows * p.k
    keys = Source("top_k_keys", _text(p, x) + KEYS)
    first = Source("top_k_first", places(x, Word=word(x.dtype)) + FIRST)
    found = In(0), sort.sorted_order, Out(0), Out(1)
    return [
        Call(keys, blocks(x.size), BLOCK, (In(0), sort.keys, sort.order, n, np.int64(x.size))),
        *sort.steps(),
        Call(first, blocks(count), BLOCK, (*found, n, k, np.int64(count))),
    ]
