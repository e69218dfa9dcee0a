"""Scatters: the adjoints of what gathers.  Repeats are added in a fixed order, without atomics.

Two ways, the cheaper one by estimate.  *Looking*: the thread of each element of y walks all ids and adds what
belongs to it, O(elements of y x ids), in the order of the ids.  *Sorting*: the ids are sorted, then threads
add up runs of equal ids piece by piece, then pieces of these sums, O(elements of g), in a dozen launches or
two; only where one list of ids serves the whole axis.  Either way the sum of one id is a tree: `PIECE`
numbers are added one after the other, not as many as it has repeats.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cortex_compute.frozen import frozen
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.indexing import ScatterAdd, ScatterAlong, ScatterRows
from cortex_compute.protocol import Offer, Operand, Refusal
from cortex_compute.types import TensorType
from cortex_gpu.backend import Gpu, offers
from cortex_gpu.indexing import outer_inner, places
from cortex_gpu.kernels import BLOCK, Call, In, Out, Source, Work, blocks, kernel, refusal, seconds
from cortex_gpu.memory import offsets
from cortex_gpu.prelude import compute, storage
from cortex_gpu.sort import Sort

PIECE = 32  # numbers that are added one after the other
LOOK = 5e-9  # seconds from one id to the next, of a thread that looks at all
LOOKS = 3.0  # operations for one of them

LOOKING = r"""
// A sum in a tree: part k holds what fewer than PIECE parts k - 1 came to.
struct Sum {
  C part[4] = {};
  u32 count = 0;
  __device__ inline void add(C x) {
    part[0] += x;
    ++count;
    u32 full = 1;
    #pragma unroll
    for (int k = 1; k < 4; ++k) {
      full *= PIECE;
      if (count % full == 0) { part[k] += part[k - 1]; part[k - 1] = 0; }
    }
  }
  __device__ inline C value() const { return part[3] + (part[2] + (part[1] + part[0])); }
};

// x (outer, n, inner) unless FROM_ZERO, ids (m,) or for EACH_ITS_OWN (outer, m, inner), g (outer, m, inner).
extern "C" __global__ void scatter_look(const T* x, const Id* ids, const T* g, T* y, i64 n, i64 m, i64 inner,
                                        i64 count) {
  EACH(e, (Index)count) {
    const Index i = e % (Index)inner, row = e / (Index)inner, outer = row / (Index)n;
    const i64 place = row % (Index)n;
    const i64 first = (i64)outer * m * inner + i;
    Sum sum;
    for (i64 s = 0; s < m; ++s) {
      const i64 from = first + s * inner;
      if (nearest(ids[EACH_ITS_OWN ? from : s], n) == place) sum.add(load(g[from]));
    }
    y[e] = store<T>((FROM_ZERO ? (C)0 : load(x[e])) + sum.value());
  }
}
"""

START = r"""
extern "C" __global__ void scatter_start(const T* x, T* y, i64 count) {
  EACH(e, (Index)count) y[e] = FROM_ZERO ? store<T>((C)0) : x[e];
}
"""

KEYS = r"""
extern "C" __global__ void scatter_keys(const Id* __restrict__ ids, u32* __restrict__ keys,
                                        int* __restrict__ order, i64 n, i64 m) {
  EACH(e, (Index)m) {
    keys[e] = (u32)nearest(ids[e], n);
    order[e] = (int)e;
  }
}
"""

RUNS = r"""
// Thread (outer, piece, i) adds up a piece of m numbers, of the sorted ids keys[0], keys[stride] ...  The sum
// of a run that begins in it goes to y, that of one that began earlier to heads (outer, pieces, inner): the
// numbers of the next launch, of the first id of each piece.
extern "C" __global__ void scatter_NAME(const u32* __restrict__ keys, const int* __restrict__ order,
                                        const G* __restrict__ g, T* __restrict__ y, C* __restrict__ heads,
                                        i64 n, i64 m, i64 inner, i64 pieces, i64 stride, i64 count) {
  EACH(e, (Index)count) {
    const Index i = e % (Index)inner, o = e / (Index)inner / (Index)pieces;
    const i64 first = (i64)(e / (Index)inner % (Index)pieces) * PIECE;
    const i64 end = first + PIECE < m ? first + PIECE : m;
    u32 key = keys[first * stride];
    bool begun = first == 0 || keys[(first - 1) * stride] != key;
    if (begun) heads[e] = 0;
    C sum = 0;
    for (i64 j = first; j <= end; ++j) {
      if (j == end || keys[j * stride] != key) {
        T* to = y + ((i64)o * n + key) * inner + i;
        if (begun) *to = store<T>(load(*to) + sum);
        else heads[e] = sum;
        if (j == end) break;
        key = keys[j * stride];
        begun = true;
        sum = 0;
      }
      sum += load(g[((i64)o * m + (ORDERED ? order[j] : j)) * inner + i]);
    }
  }
}
"""


@frozen
class Scatter:
    """g (outer, m, inner) added at ids to y (outer, n, inner); ``base`` is the operand y begins with."""

    g: TensorType
    ids: TensorType
    outer: int
    n: int
    m: int
    inner: int
    base: int | None = None
    own: bool = False  # whether the ids are as many as the elements of g

    @property
    def count(self) -> int:
        return self.outer * self.n * self.inner

    @property
    def operands(self) -> tuple[In | Out, In, In]:
        """x (or, where it is not read, y), ids, g."""
        first = 0 if self.base is None else 1
        return (Out(0) if self.base is None else In(self.base)), In(first), In(first + 1)

    def text(self, body: str) -> str:
        """The source of a kernel over these types."""
        y = TensorType((self.outer, self.n, self.inner), self.g.dtype)
        number = compute(self.g.dtype)
        c_types = {"T": storage(self.g.dtype), "C": number, "Id": storage(self.ids.dtype)}
        known = f"FROM_ZERO = {int(self.base is None)}, EACH_ITS_OWN = {int(self.own)}, PIECE = {PIECE}"
        return f"{places(y, self.g, **c_types)}enum {{ {known} }};\n{body}"

    # Looking.

    def looking_cost(self) -> float:
        return max(seconds(0, LOOKS * self.count * self.m), self.m * LOOK)

    def look(self) -> list[Call]:
        sizes = map(np.int64, (self.n, self.m, self.inner, self.count))
        source = Source("scatter_look", self.text(LOOKING))
        return [Call(source, blocks(self.count), BLOCK, (*self.operands, Out(0), *sizes))]

    # Sorting.

    @property
    def levels(self) -> list[int]:
        """How many numbers each launch adds up: those of g, then one of each piece, down to one piece."""
        levels = [self.m]
        while levels[-1] > PIECE:
            levels.append(-(-levels[-1] // PIECE))
        return levels

    @property
    def sort(self) -> Sort:
        return Sort(1, self.m, max(1, (self.n - 1).bit_length()))

    def sorting_cost(self) -> float:
        launches = 2 + self.sort.launches + len(self.levels)
        return seconds(2 * self.g.nbytes + 2 * self.count * self.g.dtype.itemsize, launches=launches)

    def _heads(self) -> tuple[list[int], int]:
        """Where the sums of pieces of each level begin, behind the sort, and how many bytes they are."""
        size = self.outer * self.inner * max(4, self.g.dtype.itemsize)
        return offsets([-(-m // PIECE) * size for m in self.levels])

    @property
    def workspace(self) -> int:
        """Bytes: the sort, and the sums of pieces of runs."""
        return self.sort.nbytes + self._heads()[1]

    def add_sorted(self) -> list[Call]:
        sort, (x, ids, _) = self.sort, self.operands
        n, m, count = map(np.int64, (self.n, self.m, self.count))
        start, keys = Source("scatter_start", self.text(START)), Source("scatter_keys", self.text(KEYS))
        return [
            Call(start, blocks(self.count), BLOCK, (x, Out(0), count)),
            Call(keys, blocks(self.m), BLOCK, (ids, sort.keys, sort.order, n, m)),
            *sort.steps(),
            *(self._runs(level) for level in range(len(self.levels))),
        ]

    def _runs(self, level: int) -> Call:
        """Adds up pieces of the elements of g, or of the sums of pieces that the level before left."""
        m, sort = self.levels[level], self.sort
        pieces = -(-m // PIECE)
        threads = self.outer * pieces * self.inner
        heads = [Work(sort.nbytes + at) for at in self._heads()[0]]
        g, kind, name = (heads[level - 1], "C", "join") if level else (self.operands[2], "T", "runs")
        text = f"typedef {kind} G;\nenum {{ ORDERED = {int(not level)} }};\n{RUNS.replace('NAME', name)}"
        sizes = map(np.int64, (self.n, m, self.inner, pieces, PIECE**level, threads))
        arguments = sort.sorted_keys, sort.sorted_order, g, Out(0), heads[level], *sizes
        return Call(Source(f"scatter_{name}", self.text(text)), blocks(threads), BLOCK, arguments)

    def offer(self, p: Primitive, operands: Sequence[Operand]) -> Offer | Refusal:
        """The cheaper way to compute ``p``."""
        if (no := refusal(p, operands)) is not None:
            return no
        reuse = () if self.base is None else ((self.base, 0),)
        looking, sorting = self.looking_cost(), self.sorting_cost()
        sortable = not self.own and 0 < self.m < 2**31 and self.n <= 2**32
        if sortable and sorting < looking:
            return kernel(self.add_sorted, workspace=self.workspace, reuse=reuse, cost=sorting)
        return kernel(self.look, reuse=reuse, cost=looking)


@offers(ScatterRows)
def scatter_rows(p: ScatterRows, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    ids, g = (o.type for o in operands)
    (y,) = p.infer(ids, g)
    outer, inner = outer_inner(y.shape, p.axis)
    return Scatter(g, ids, outer, p.size, ids.size, inner).offer(p, operands)


@offers(ScatterAdd)
def scatter_add(p: ScatterAdd, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    x, ids, g = (o.type for o in operands)
    outer, inner = outer_inner(x.shape, p.axis)
    return Scatter(g, ids, outer, x.shape[p.axis], ids.size, inner, base=0).offer(p, operands)


@offers(ScatterAlong)
def scatter_along(p: ScatterAlong, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    ids, g = (o.type for o in operands)
    outer, inner = outer_inner(g.shape, p.axis)
    own = outer * inner != 1
    return Scatter(g, ids, outer, p.size, ids.shape[p.axis], inner, own=own).offer(p, operands)
