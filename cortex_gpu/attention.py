"""Attention and its gradient: products of matrices, and a launch for the softmax between them.

A block of queries sees all its keys at once, so memory is linear in the length.  Operands are first brought
into an order by heads, (B, M, T, ...): there the queries of all heads that share one of k and v are the rows
of one matrix, and all matrices of a product are equally far apart, as the libraries want it.  Scores are
float32 beside 16 bits; what they become is a factor of a product, and so rounded.

The gradient goes from the last block to the first: what a block adds to the gradients of k and v, of which a
causal one sees the beginning only, so never meets what nobody has written.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cortex_compute.primitives.attention import Attending, Attention, AttentionGrad
from cortex_compute.primitives.normalization import vector_type
from cortex_compute.protocol import Offer, Operand, Refusal, row_major
from cortex_compute.types import TensorType, contiguous_strides
from cortex_gpu.backend import Gpu, offers
from cortex_gpu.composed import Composed, matrix
from cortex_gpu.index import spread
from cortex_gpu.kernels import BLOCK, Argument, Call, In, Out, Place, Source, Step, Work, blocks, seconds
from cortex_gpu.prelude import compute, header, index, real, storage
from cortex_gpu.product import LARGEST
from cortex_gpu.rows import Rows

SCORES = 1 << 26  # bytes of a block
FEWEST = 64  # queries of a block, as products with fewer rows are slow

# Packed numbers (B, heads, steps, group, n) from or to an array (B, T, heads * group, n), from start on.
MOVE = r"""
extern "C" __global__ void NAME(const From* x, Storage* y, int start, int steps, int heads, int group, int n,
                                i64 step_b, i64 step_t, i64 step_n, i64 step_e, Index count) {
  if (!y) return;
  const Index first = (Index)blockIdx.x * blockDim.x + threadIdx.x, step = (Index)gridDim.x * blockDim.x;
  #pragma unroll 1  // else each thread would divide, to know how often it goes round
  for (Index e = first; e < count; e += step) {
    const Index row = e / n, r = row / group, z = r / steps, b = z / heads;
    const int i = (int)(e - row * n), g = (int)(row - r * group), t = (int)(r - z * steps);
    const i64 at = b * step_b + (start + t) * step_t + ((z - b * heads) * group + g) * step_n + i * step_e;
    MOVED
  }
}
"""

# A row is a query of one head; what it does not see is not read.
ROW = r"""
struct Row { i64 b; int query, head, seen; const bool* mask; };
__device__ inline Row row_at(i64 row, int size, const bool* mask, i64 mask_b, i64 mask_n, i64 mask_q,
                             int start, int steps, int heads, int group) {
  Row r;
  const i64 line = row / group, z = line / steps;
  r.b = z / heads;
  r.query = start + (int)(line - z * steps);
  r.head = (int)((z - r.b * heads) * group + (row - line * group));
  r.seen = CAUSAL && r.query < size ? r.query + 1 : size;
  r.mask = mask + (MASKED ? r.b * mask_b + r.head * mask_n + r.query * mask_q : 0);
  return r;
}
"""

SOFTMAX = r"""
extern "C" __global__ void attention_softmax(
    const Real* scores, Storage* shares, Real* logs, Real scale, int queries, PLACES, i64 rows, int n) {
  __shared__ Real shared[WARPS];
  const int lane = threadIdx.x % TEAM;
  const Real nothing = -(Real)__int_as_float(0x7f800000);
  for (i64 row = first_row(); more(row, rows); row = next_row(row)) {
    const int size = row < rows ? n : 0;
    const Row r = row_at(row, size, mask, mask_b, mask_n, mask_q, start, steps, heads, group);
    const Real* s = scores + row * n;
    Real most = nothing, sum = 0;
    for (int k = lane; k < r.seen; k += TEAM)
      if (!MASKED || r.mask[k * mask_k]) most = fmax(most, scale * s[k]);
    most = together<Most>(most, shared);
    const Real base = most == nothing ? 0 : most;
    for (int k = lane; k < r.seen; k += TEAM)
      if (!MASKED || r.mask[k * mask_k]) sum += exp(scale * s[k] - base);
    sum = together<Add>(sum, shared);
    for (int k = lane; k < size; k += TEAM) {
      const bool seen = k < r.seen && (!MASKED || r.mask[k * mask_k]);
      shares[row * n + k] = store<Storage>(seen ? exp(scale * s[k] - base) / sum : (Real)0);
    }
    if (logs && lane == 0 && size)
      logs[(r.b * heads * group + r.head) * queries + r.query] = log(sum) + base;
  }
}
"""

# shares and slopes may lie over scores and gradients: a thread writes only what it alone has read.
SLOPES = r"""
extern "C" __global__ void attention_slopes(
    const Real* scores, const Real* gradients, Storage* shares, Storage* slopes, const Storage* g,
    const Storage* y, const Real* logs, Real scale, int queries, int values, PLACES, i64 rows, int n) {
  __shared__ Real shared[WARPS];
  const int lane = threadIdx.x % TEAM;
  for (i64 row = first_row(); more(row, rows); row = next_row(row)) {
    const int size = row < rows ? n : 0;
    const Row r = row_at(row, size, mask, mask_b, mask_n, mask_q, start, steps, heads, group);
    const i64 query = r.b * queries + r.query;
    const Storage* result = y + (query * (heads * group) + r.head) * values;
    Real mean = 0;
    for (int i = lane; i < (size ? values : 0); i += TEAM)
      mean += load(g[row * values + i]) * load(result[i]);
    mean = together<Add>(mean, shared);
    const Real sum = size ? logs[(r.b * heads * group + r.head) * queries + r.query] : 0;
    for (int k = lane; k < size; k += TEAM) {
      const bool seen = k < r.seen && (!MASKED || r.mask[k * mask_k]);
      const Real share = seen ? exp(scale * scores[row * n + k] - sum) : 0;
      const Real slope = seen ? share * (gradients[row * n + k] - mean) * scale : 0;
      shares[row * n + k] = store<Storage>(share);
      slopes[row * n + k] = store<Storage>(slope);
    }
  }
}
"""

PLACES = (
    "const bool* mask, i64 mask_b, i64 mask_n, i64 mask_q, i64 mask_k, "
    "int start, int steps, int heads, int group"
)

# The first ``steps`` of (count, all, n) get what (count, steps, n) has, or that is added.
ADDED = r"""
extern "C" __global__ void attention_added(const Storage* part, Real* total, i64 steps, i64 all, int first,
                                           Index count) {
  const Index begin = (Index)blockIdx.x * blockDim.x + threadIdx.x, step = (Index)gridDim.x * blockDim.x;
  #pragma unroll 1
  for (Index e = begin; e < count; e += step) {
    const Index z = e / (Index)steps;
    Real* to = total + z * all + (e - z * (Index)steps);
    *to = (first ? 0 : *to) + load(part[e]);
  }
}
"""


class Heads(Composed):
    """The sizes of an attention, its blocks of queries, and what both directions have in common."""

    def __init__(self, p: Attending, operands: Sequence[Operand], gpu: Gpu) -> None:
        super().__init__(gpu)
        self.p, self.operands = p, dict(zip(p.given, operands))
        self.at = {name: In(k) for k, name in enumerate(p.given)}
        q, k, v = (o.type for o in operands[:3])
        self.batch, self.queries, heads, self.features = q.shape
        self.keys, self.heads, self.values = k.shape[1], k.shape[2], v.shape[3]
        self.group, self.count, self.dtype = heads // self.heads, self.batch * self.heads, q.dtype
        self.real = vector_type(q.dtype)
        row = self.count * self.group * self.keys * self.real.itemsize  # of a query, over all heads
        self.rows = max(1, min(self.queries, max(FEWEST, SCORES // max(1, row))))
        starts = range(0, max(1, self.queries), self.rows)
        ends = [(i, min(self.rows, self.queries - i)) for i in starts]
        seen = [min(self.keys, i + n) if p.causal else self.keys for i, n in ends[:-1]]
        seen.append(self.keys)  # the gradients of all must be written
        self.parts = [(*x, keys) for x, keys in zip(ends, seen)]
        self.k = self.kept(self.count * self.keys * self.features)
        self.v = self.kept(self.count * self.keys * self.values)

    def kept(self, elements: int) -> Work:
        return self.space(elements * self.dtype.itemsize)

    def block(self, columns: int, wide: bool = False) -> Work:
        """Scratch for as many columns of each query of a block."""
        size = (self.real if wide else self.dtype).itemsize
        return self.space(self.count * self.group * self.rows * columns * size)

    def narrowed(self, wide: Work) -> Work:
        """Where what a row of ``wide`` becomes may lie: over it, if its numbers have as many bytes."""
        return wide if self.real is self.dtype else self.block(self.keys)

    def queried(self, rows: int, columns: int) -> Operand:
        """A packed block of ``rows`` queries as matrices."""
        return matrix(self.dtype, self.count, rows * self.group, columns)

    def seen(self, keys: int, columns: int) -> Operand:
        """The first keys of k or v as matrices."""
        return matrix(self.dtype, self.count, keys, columns, strides=(self.keys * columns, columns, 1))

    def gather(self, name: str, to: Work, start: int, steps: int) -> Call:
        """Some steps of an operand, by head."""
        operand = self.operands[name]
        return self._move("attention_gather", "y[e] = x[at];", operand.type, operand.strides, self.at[name],
                          to, start, steps)  # fmt: skip

    def scatter(self, x: Work, of: TensorType, to: Out, start: int, steps: int, wide: bool = False) -> Call:
        """Some steps of a result from what lies by head; ``wide``: in the type of sums."""
        return self._move("attention_scatter", "y[at] = store<Storage>(load(x[e]));", of,
                          contiguous_strides(of.shape), x, to, start, steps, wide)  # fmt: skip

    def _move(
        self, name: str, moved: str, of: TensorType, strides: tuple[int, ...], x: Place, y: Place, start: int,
        steps: int, wide: bool = False,
    ) -> Call:  # fmt: skip
        count = self.batch * steps * of.shape[2] * of.shape[3]
        kind, integer = index(count)
        text = header(self.dtype, Index=kind, From=compute(self.dtype) if wide else storage(self.dtype))
        sizes = start, max(1, steps), self.heads, of.shape[2] // self.heads, of.shape[3]
        numbers: list[np.generic] = [*map(np.int32, sizes), *map(np.int64, strides), integer(count)]
        body = MOVE.replace("NAME", name).replace("MOVED", moved)
        return Call(Source(name, text + body), blocks(count), BLOCK, (x, y, *numbers))

    def by_rows(self, name: str, body: str, part: tuple[int, int, int], given: Sequence[Argument]) -> Call:
        """A launch over the scores of a block."""
        start, steps, keys = part
        rows = Rows(TensorType((self.count * steps * self.group, keys), self.dtype))
        flags = {"CAUSAL": int(self.p.causal), "MASKED": int(self.p.masked)}
        source = rows.source(name, self.dtype, ROW + body.replace("PLACES", PLACES), **flags)
        mask: tuple[int, ...] = (0,) * 4
        if self.p.masked:
            heads = self.heads * self.group
            mask = spread(self.operands["mask"], (self.batch, heads, self.queries, self.keys))
        places = start, max(1, steps), self.heads, self.group
        numbers: list[np.generic] = [*map(np.int64, mask), *map(np.int32, places)]
        return rows.call(source, *given, self.at.get("mask"), *numbers)

    def refused(self) -> Refusal | None:
        if (
            max(self.queries * self.group, self.keys, self.features, self.values, self.count)
            > LARGEST - BLOCK
        ):
            return Refusal("cupy counts the rows and columns of a product in 32 bits")
        for name in ("y", "l"):
            if name in self.operands and not row_major(self.operands[name]):
                return Refusal(f"cupy wants {self.p.name}'s {name} row-major")
        return None

    def seconds(self, passes: int, launches: int) -> float:
        """Of all but the products: the passes over the scores, and the operands."""
        scores = self.count * self.group * self.queries * self.keys * self.real.itemsize
        given = sum(o.type.nbytes for o in self.operands.values())
        return seconds(passes * scores + 3 * given, launches=launches * len(self.parts))


@offers(Attention)
def attention(p: Attention, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    a = Heads(p, operands, gpu)
    if (no := a.refused()) is not None:
        return no
    q, scores, mixed = a.block(a.features), a.block(a.keys, wide=True), a.block(a.values)
    shares = a.narrowed(scores)
    products = [
        (
            a.product(a.queried(n, a.features), a.seen(keys, a.features), transpose_b=True, wide=True),
            a.product(a.queried(n, keys), a.seen(keys, a.values)),
        )
        for _, n, keys in a.parts
    ]
    y = p.infer(*(o.type for o in operands))[0]
    scale, queries = real(a.dtype, p.scale), np.int32(a.queries)

    def steps() -> list[Step]:
        made: list[Step] = [a.gather("k", a.k, 0, a.keys), a.gather("v", a.v, 0, a.keys)]
        for part, (by_keys, by_values) in zip(a.parts, products):
            start, n, _ = part
            made += [
                a.gather("q", q, start, n),
                by_keys((q, a.k), scores),
                a.by_rows("attention_softmax", SOFTMAX, part, (scores, shares, Out(1), scale, queries)),
                by_values((shares, a.v), mixed),
                a.scatter(mixed, y, Out(0), start, n),
            ]
        return made

    return a.offer(steps, a.seconds(passes=5, launches=3))


@offers(AttentionGrad)
def attention_gradient(p: AttentionGrad, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    a = Heads(p, operands, gpu)
    if (no := a.refused()) is not None:
        return no
    back = Back(a)

    def steps() -> list[Step]:
        made: list[Step] = [a.gather("k", a.k, 0, a.keys), a.gather("v", a.v, 0, a.keys)]
        for k in reversed(range(len(a.parts))):
            made += back.block(k)
        return [*made, *back.end()]

    return a.offer(steps, a.seconds(passes=8, launches=8))


class Back:
    """The gradient's scratch and its steps.

    ``adds`` are the shares of one block in the gradients of k and v, ``totals`` what all blocks have added.
    """

    def __init__(self, a: Heads) -> None:
        self.a, f, e = a, a.features, a.values
        self.q, self.g, self.dq = a.block(f), a.block(e), a.block(f)
        self.scores, self.gradients = (a.block(a.keys, wide=True) for _ in range(2))
        self.shares, self.slopes = a.narrowed(self.scores), a.narrowed(self.gradients)
        self.adds = [a.kept(a.count * a.keys * n) for n in (f, e)]
        self.several = len(a.parts) > 1
        sizes = [a.count * a.keys * n * a.real.itemsize for n in (f, e)]
        self.totals = [a.space(n) for n in sizes] if self.several else self.adds
        self.products = [
            (
                a.product(a.queried(n, f), a.seen(keys, f), transpose_b=True, wide=True),
                a.product(a.queried(n, e), a.seen(keys, e), transpose_b=True, wide=True),
                a.product(a.queried(n, keys), a.seen(keys, f)),
                a.product(a.queried(n, keys), a.queried(n, f), transpose_a=True),
                a.product(a.queried(n, keys), a.queried(n, e), transpose_a=True),
            )
            for _, n, keys in a.parts
        ]

    def block(self, k: int) -> list[Step]:
        """The gradient of a block's queries, and its shares in those of all keys and values."""
        a, part = self.a, self.a.parts[k]
        start, n, keys = part
        of_scores, of_gradients, of_q, of_k, of_v = self.products[k]
        given = (
            self.scores, self.gradients, self.shares, self.slopes, self.g, a.at["y"], a.at["l"],
            real(a.dtype, a.p.scale), np.int32(a.queries), np.int32(a.values),
        )  # fmt: skip
        made: list[Step] = [
            a.gather("q", self.q, start, n),
            a.gather("g", self.g, start, n),
            of_scores((self.q, a.k), self.scores),
            of_gradients((self.g, a.v), self.gradients),
            a.by_rows("attention_slopes", SLOPES, part, given),
            of_q((self.slopes, a.k), self.dq),
            a.scatter(self.dq, a.operands["q"].type, Out(0), start, n),
            of_k((self.slopes, self.q), self.adds[0]),
            of_v((self.shares, self.g), self.adds[1]),
        ]
        first = k == len(a.parts) - 1
        return made + [self._added(j, keys, first) for j in range(2) if self.several]

    def _added(self, j: int, keys: int, first: bool) -> Call:
        a, n = self.a, (self.a.features, self.a.values)[j]
        count = a.count * keys * n
        kind, integer = index(count)
        numbers = np.int64(keys * n), np.int64(a.keys * n), np.int32(first), integer(count)
        source = Source("attention_added", header(a.dtype, Index=kind) + ADDED)
        return Call(source, blocks(count), BLOCK, (self.adds[j], self.totals[j], *numbers))

    def end(self) -> list[Step]:
        a = self.a
        types = a.operands["k"].type, a.operands["v"].type
        return [
            a.scatter(total, t, Out(1 + j), 0, a.keys, wide=self.several)
            for j, (total, t) in enumerate(zip(self.totals, types))
        ]
