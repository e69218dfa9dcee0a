"""Running sums: Cumsum, and the sum over the threads of a block on which it stands.

The axis is cut into pieces.  Their sums are found, then the running sums of these (by the same kernels), then
each piece begins from what stands before it: the axis is worked on in parallel, and no number is the
result of more than some 32 additions one after the other at each level, whatever the length.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cortex_compute.frozen import frozen
from cortex_compute.primitives.indexing import Cumsum
from cortex_compute.protocol import Offer, Operand, Refusal
from cortex_compute.types import TensorType
from cortex_gpu.backend import Gpu, offers
from cortex_gpu.indexing import block_for, outer_inner, places
from cortex_gpu.kernels import BLOCK, Call, In, Out, Place, Source, Work, blocks, kernel, refusal, seconds
from cortex_gpu.memory import aligned
from cortex_gpu.prelude import compute, storage

LOADED = 8  # elements that a thread reads before it writes any: x and y may be the same memory
PIECE = 32  # elements that a thread adds up, where the axis is not the last one

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
// A block for each piece of THREADS * LOADED elements of a row.  With ``only_totals`` it writes its sum to
// totals (rows, pieces); else it begins from totals, which by then are running sums.
extern "C" __global__ void cumsum_rows(const X* x, Y* y, C* totals, i64 n, i64 pieces, int reverse,
                                       int only_totals) {
  __shared__ C own[THREADS * (LOADED + 1)];  // a gap after each thread's: they lie in other banks
  __shared__ C ends[THREADS];
  const int t = threadIdx.x;
  const i64 row = blockIdx.x / pieces, piece = blockIdx.x % pieces, first = piece * (THREADS * LOADED);
  for (int k = 0; k < LOADED; ++k) {
    const int at = k * THREADS + t;
    const i64 i = first + at;
    own[at + at / LOADED] = i < n ? (C)load(x[row * n + (reverse ? n - 1 - i : i)]) : (C)0;
  }
  __syncthreads();
  C sum = 0;
  for (int k = 0; k < LOADED; ++k) sum += own[t * (LOADED + 1) + k];
  sum = scan<THREADS>(ends, sum);
  if (only_totals) {
    if (t == THREADS - 1) totals[blockIdx.x] = sum;
    return;
  }
  const C start = piece > 0 ? totals[blockIdx.x - 1] : (C)0, before = start + (t > 0 ? ends[t - 1] : (C)0);
  sum = 0;
  for (int k = 0; k < LOADED; ++k) {
    sum += own[t * (LOADED + 1) + k];
    own[t * (LOADED + 1) + k] = before + sum;
  }
  __syncthreads();
  for (int k = 0; k < LOADED; ++k) {
    const int at = k * THREADS + t;
    const i64 i = first + at;
    if (i < n) y[row * n + (reverse ? n - 1 - i : i)] = store<Y>(own[at + at / LOADED]);
  }
}
"""

COLUMNS = r"""
// A thread for each piece of PIECE elements of a column; totals (outer, pieces, inner) as above.
extern "C" __global__ void cumsum_columns(const X* x, Y* y, C* totals, i64 n, i64 pieces, i64 inner,
                                          i64 count, int reverse, int only_totals) {
  EACH(e, (Index)count) {
    const i64 piece = e / (Index)inner % (Index)pieces, first = piece * PIECE;
    const i64 start = (i64)(e / (Index)inner / (Index)pieces) * n * inner + e % (Index)inner;
    const i64 end = first + PIECE < n ? first + PIECE : n;
    const C before = piece > 0 && !only_totals ? totals[e - (Index)inner] : (C)0;
    C sum = 0;
    for (i64 i = first; i < end; i += LOADED) {
      C own[LOADED];
      #pragma unroll
      for (int k = 0; k < LOADED; ++k)
        own[k] = i + k < end ? (C)load(x[start + (reverse ? n - 1 - i - k : i + k) * inner]) : (C)0;
      #pragma unroll
      for (int k = 0; k < LOADED; ++k) {
        sum += own[k];
        if (i + k < end && !only_totals)
          y[start + (reverse ? n - 1 - i - k : i + k) * inner] = store<Y>(before + sum);
      }
    }
    if (only_totals) totals[e] = sum;
  }
}
"""


@frozen
class Scan:
    """Running sums of x (outer, n, inner) as y: C types, and a number's type as the first operand has it.

    ``start``: where in the scratch the sums of its pieces begin, behind them those of pieces of pieces.
    """

    x: str
    y: str
    number: str
    size: int
    outer: int
    n: int
    inner: int
    start: int = 0

    @property
    def _threads(self) -> int:
        """Of a block, where a row is contiguous."""
        return block_for(-(-self.n // LOADED))

    @property
    def pieces(self) -> int:
        """Into which the axis is cut."""
        return -(-self.n // (self._threads * LOADED if self.inner == 1 else PIECE))

    @property
    def above(self) -> Scan | None:
        """The running sums of the sums of pieces; None where one piece is all."""
        if self.pieces <= 1:
            return None
        number, start = self.number, self.start + self._own
        return Scan(number, number, number, self.size, self.outer, self.pieces, self.inner, start)

    @property
    def _own(self) -> int:
        return aligned(self.outer * self.pieces * self.inner * self.size)

    @property
    def nbytes(self) -> int:
        """Bytes of scratch from ``start`` on."""
        return 0 if self.above is None else self._own + self.above.nbytes

    @property
    def launches(self) -> int:
        return 1 if self.above is None else 2 + self.above.launches

    def steps(self, x: Place, y: Place, reverse: bool = False) -> list[Call]:
        """The kernels; x and y may be the same memory."""
        totals = Work(self.start)
        if self.above is None:
            return [self._call(x, y, totals, reverse, only_totals=False)]
        return [
            self._call(x, y, totals, reverse, only_totals=True),
            *self.above.steps(totals, totals),
            self._call(x, y, totals, reverse, only_totals=False),
        ]

    def _call(self, x: Place, y: Place, totals: Place, reverse: bool, only_totals: bool) -> Call:
        memory, flags = (x, y, totals), (np.int32(reverse), np.int32(only_totals))
        count = self.outer * self.pieces * self.inner
        text = places(TensorType((self.outer, self.n, self.inner)), X=self.x, Y=self.y, C=self.number)
        if self.inner == 1:
            known = f"enum {{ THREADS = {self._threads}, LOADED = {LOADED} }};\n"
            source = Source("cumsum_rows", text + known + SCAN + ROWS)
            sizes = map(np.int64, (self.n, self.pieces))
            return Call(source, (count, 1, 1), self._threads, (*memory, *sizes, *flags))
        source = Source("cumsum_columns", f"{text}enum {{ PIECE = {PIECE}, LOADED = {LOADED} }};\n{COLUMNS}")
        sizes = map(np.int64, (self.n, self.pieces, self.inner, count))
        return Call(source, blocks(count), BLOCK, (*memory, *sizes, *flags))


@offers(Cumsum)
def cumsum(p: Cumsum, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    if (no := refusal(p, operands)) is not None:
        return no
    x = operands[0].type
    (y,) = p.infer(x)
    outer, inner = outer_inner(x.shape, p.axis)
    number, size = compute(y.dtype), max(4, y.dtype.itemsize)
    scan = Scan(storage(x.dtype), storage(y.dtype), number, size, outer, x.shape[p.axis], inner)
    nbytes = p.nbytes(x) + (x.nbytes if scan.pieces > 1 else 0)  # its elements are read again
    return kernel(
        lambda: scan.steps(In(0), Out(0), p.reverse) if x.size else [],
        workspace=scan.nbytes if x.size else 0,
        reuse=() if x.dtype is not y.dtype else ((0, 0),),
        cost=seconds(nbytes, launches=scan.launches),
    )
