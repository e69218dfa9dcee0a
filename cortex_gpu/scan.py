"""Running sums: Cumsum, and the sum over the threads of a block on which it stands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cortex_compute.primitives.indexing import Cumsum
from cortex_compute.protocol import Offer, Operand, Refusal
from cortex_gpu.backend import Gpu, offers
from cortex_gpu.indexing import block_for, outer_inner, places
from cortex_gpu.kernels import BLOCK, Call, In, Out, Source, blocks, kernel, seconds
from cortex_gpu.memory import row_major
from cortex_gpu.prelude import compute, storage

SCAN = r"""
// The sum of x over the N threads of this block up to the own one; s[t] keeps that of thread t (Hillis,
// Steele 1986).  Nobody may still read what s held.
template <int N, class T> __device__ inline T scan(T* s, T x) {
  const int t = threadIdx.x;
  s[t] = x;
  __syncthreads();
  for (int d = 1; d < N; d *= 2) {
    const T y = t >= d ? s[t - d] : (T)0;
    __syncthreads();
    s[t] += y;
    __syncthreads();
  }
  return s[t];
}
"""

ROWS = r"""
// A block for each row, as many elements at a time as it has threads.
extern "C" __global__ void cumsum_rows(const X* x, Y* y, i64 n, int reverse) {
  __shared__ C shared[THREADS];
  const i64 start = (i64)blockIdx.x * n;
  C before = 0;
  for (i64 first = 0; first < n; first += THREADS) {
    const i64 i = first + threadIdx.x, at = start + (reverse ? n - 1 - i : i);
    const C sum = scan<THREADS>(shared, i < n ? (C)load(x[at]) : (C)0);
    if (i < n) y[at] = store<Y>(before + sum);
    before += shared[THREADS - 1];
    __syncthreads();
  }
}
"""

COLUMNS = r"""
// A thread for each column.
extern "C" __global__ void cumsum_columns(const X* x, Y* y, i64 n, i64 inner, i64 columns, int reverse) {
  EACH(e, (Index)columns) {
    const i64 start = (i64)(e / (Index)inner) * n * inner + e % (Index)inner;
    C sum = 0;
    for (i64 i = 0; i < n; ++i) {
      const i64 at = start + (reverse ? n - 1 - i : i) * inner;
      sum += (C)load(x[at]);
      y[at] = store<Y>(sum);
    }
  }
}
"""


@offers(Cumsum)
def cumsum(p: Cumsum, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    if not row_major(operands[0]):
        return Refusal("cupy wants x row-major")
    x = operands[0].type
    (y,) = p.infer(x)
    n = x.shape[p.axis]
    outer, inner = outer_inner(x.shape, p.axis)
    number = compute(y.dtype)

    def steps() -> list[Call]:
        text = places(x, X=storage(x.dtype), Y=storage(y.dtype), C=number)
        memory, reverse = (In(0), Out(0)), np.int32(p.reverse)
        if not x.size:
            return []
        if inner == 1:
            threads = block_for(n)
            source = Source("cumsum_rows", f"{text}enum {{ THREADS = {threads} }};\n{SCAN}{ROWS}")
            return [Call(source, (outer, 1, 1), threads, (*memory, np.int64(n), reverse))]
        source = Source("cumsum_columns", text + COLUMNS)
        columns = outer * inner
        sizes = map(np.int64, (n, inner, columns))
        return [Call(source, blocks(columns), BLOCK, (*memory, *sizes, reverse))]

    reuse = () if x.dtype is not y.dtype else ((0, 0),)
    return kernel(steps, reuse=reuse, cost=seconds(p.nbytes(x)))
