"""Reduce: every kind, over any axes of operands that lie anyhow, of a piece of code if one is given.

A block reduces several results at once.  Its threads form a table: some results beside each other, and some
lanes for each.  Where what is reduced lies together in memory, neighbouring threads are the lanes of one
result; where the results lie together, they are neighbouring results.  A lane walks over its share, then the
lanes are joined by halves.  What is long is cut into parts, so that the GPU is filled and no lane adds up too
many terms, and a second launch reduces the parts.  Every order is fixed: equal runs give equal bits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from cortex_compute.frozen import frozen
from cortex_compute.primitives.reduce import Reduce
from cortex_compute.protocol import Offer, Operand
from cortex_compute.types import DType
from cortex_gpu.backend import Gpu, offers
from cortex_gpu.index import Walk, spread
from cortex_gpu.kernels import BLOCK, Argument, Call, In, Out, Source, Work, kernel, seconds
from cortex_gpu.pointwise import parameters, statements, title
from cortex_gpu.prelude import PRELUDE, compute, storage
from cortex_gpu.total import Total

UNROLLED = 4  # elements that a lane has under way at a time, each in a total of its own
ENOUGH = 32  # elements for each lane that make another part worth while
MOST = 2048  # elements for each lane: after more of them rounding errors have added up
MOST_PARTS = 65535  # blocks along y
FILLED = 8  # blocks for each processor: the 2048 threads that it holds


@offers(Reduce)
def reduce(p: Reduce, operands: Sequence[Operand], gpu: Gpu) -> Offer:
    types = [o.type for o in operands]
    dtypes = [t.dtype for t in types]
    shape, value = p.space(*types)
    strides = [spread(o, shape) for o in operands]
    kept = [i for i in range(len(shape)) if i not in p.axes]
    results, reduced = (
        Walk.over([shape[i] for i in axes], [[s[i] for i in axes] for s in strides])
        for axes in (kept, p.axes)
    )
    table = Table.of(results, reduced, max(range(len(types)), key=lambda k: types[k].size))
    parts = table.parts(gpu.processors)
    total = Total(p.kind, value, p.infer(*types)[0].dtype)

    def steps() -> list[Call]:
        literals, numbers = parameters(p.literals)
        first = Stage(
            title(p.body, f"reduce_{p.kind}"), total, table, [storage(d) for d in dtypes],
            results.offsets("k", "from"), element(p, dtypes, total, reduced), literals, last=parts == 1,
        )  # fmt: skip
        given = [In(k) for k in range(len(types))]
        if parts == 1:
            return [first.call([*given, Out(0)], reduced.size, parts, numbers)]
        part = Table.of(Walk((results.size,), ((1,),)), Walk((parts,), ((results.size,),)))
        second = Stage(
            f"reduce_{p.kind}_parts", total, part, ["Total"], ([], ["k"]), ["return x0[r * results];"]
        )
        return [
            first.call([*given, Work()], reduced.size, parts, numbers),
            second.call([Work(), Out(0)], reduced.size),
        ]

    return kernel(
        steps,
        workspace=parts * results.size * total.nbytes if parts > 1 else 0,
        cost=seconds(p.nbytes(*types), launches=1 if parts == 1 else 2),
    )


def element(p: Reduce, dtypes: Sequence[DType], total: Total, reduced: Walk) -> list[str]:
    """C lines that return the total of element ``r`` alone."""
    lines, at = reduced.offsets("r")
    loads = [f"const {compute(d)} a{k} = load(x{k}[{at[k]}]);" for k, d in enumerate(dtypes)]
    if p.body is None:
        return [*lines, *loads, f"return {total.of('a0')};"]
    code, (value,) = statements(p.body, p.literals, dtypes, [f"a{k}" for k in range(len(dtypes))])
    return [*lines, *loads, *code, f"return {total.of(value)};"]


@frozen
class Table:
    """The threads of a block: ``lanes`` for each of some results.  ``rows``: neighbours are lanes."""

    results: int
    reduced: int
    lanes: int
    rows: bool

    @classmethod
    def of(cls, results: Walk, reduced: Walk, largest: int = 0) -> Table:
        """The table for these walks; the operand ``largest`` is the one to read well."""
        far = max(results.size, reduced.size)
        across, along = (abs(w.strides[largest][-1]) if w.shape else far for w in (results, reduced))
        useful = _power_of_two(-(-reduced.size // UNROLLED))
        if along <= across:
            return cls(results.size, reduced.size, min(BLOCK, useful), True)
        beside = min(_power_of_two(results.size), 32 if results.size > 4096 else 16)
        return cls(results.size, reduced.size, min(BLOCK // beside, useful), False)

    @property
    def beside(self) -> int:
        """Results of a block."""
        return BLOCK // self.lanes

    @property
    def blocks(self) -> int:
        """Blocks that all results take."""
        return max(1, -(-self.results // self.beside))

    def parts(self, processors: int) -> int:
        """Into how many parts the reduced elements are cut."""
        if not self.results:
            return 1
        needed = -(-self.reduced // (self.lanes * MOST))
        worth = min(-(-FILLED * processors // self.blocks), self.reduced // (self.lanes * ENOUGH))
        return min(MOST_PARTS, max(1, needed, worth))


def _power_of_two(n: int) -> int:
    """The least power of two that is not below ``n``."""
    return 1 << max(0, n - 1).bit_length()


@frozen
class Stage:
    """One launch.

    ``arrays``: the C types of the operands; ``start``: C lines and the offsets of result number ``k``;
    ``element``: C lines that return the total of its element ``r``; ``last``: it writes results, not totals.
    """

    name: str
    total: Total
    table: Table
    arrays: Sequence[str]
    start: tuple[Sequence[str], Sequence[str]]
    element: Sequence[str]
    literals: Sequence[str] = ()
    last: bool = True

    def call(
        self, arguments: Sequence[Argument], count: int, parts: int = 1, numbers: Sequence[np.generic] = ()
    ) -> Call:
        """The launch; ``count``: elements that each result is made of."""
        t = self.table
        share = -(-t.reduced // (parts * t.lanes)) * t.lanes
        sizes = (np.int64(n) for n in (t.results, t.reduced, share, count))
        return Call(self.source(), (t.blocks, parts, 1), BLOCK, (*arguments, *sizes, *numbers))

    def source(self) -> Source:
        """The whole source."""
        t, names = self.table, [f"x{k}" for k in range(len(self.arrays))]
        given = ", ".join(f"const {c}* {x}" for c, x in zip(self.arrays, names))
        literals = "".join(f", {x}" for x in self.literals)
        lines, offsets = self.start
        written, value = "Total", "whole"
        if self.last:
            written = storage(self.total.result)
            value = f"store<{written}>(finished(whole, count))"
        places = {
            "NAME": self.name, "GIVEN": f"{given}, {written}* y", "LITERALS": literals, "WRITTEN": value,
            "PASSED": ", ".join([*names, "results", *(x.split()[-1] for x in self.literals)]),
            "START": "\n    ".join([*lines, *(f"{x} += {at};" for x, at in zip(names, offsets))]),
        }  # fmt: skip
        element = "\n  ".join(self.element)
        return Source(self.name, "\n".join([
            PRELUDE, self.total.text(),
            f"constexpr int LANES = {t.lanes}, BESIDE = {t.beside}, ROWS = {int(t.rows)};",
            f"constexpr int UNROLLED = {UNROLLED}, BLOCK = {BLOCK};", "",
            f"__device__ inline Total element({given}, i64 results{literals}, i64 r) {{\n  {element}\n}}",
            re.sub("|".join(places), lambda found: places[found[0]], KERNEL),
        ]))  # fmt: skip


KERNEL = r"""
extern "C" __global__ void NAME(GIVEN, i64 results, i64 reduced, i64 share, i64 countLITERALS) {
  __shared__ Total totals[BLOCK];
  const int lane = ROWS ? threadIdx.x % LANES : threadIdx.x / BESIDE;
  const int beside = ROWS ? threadIdx.x / LANES : threadIdx.x % BESIDE;
  const i64 k = (i64)blockIdx.x * BESIDE + beside;
  Total part[UNROLLED];
  for (int j = 0; j < UNROLLED; ++j) part[j] = nothing();
  if (k < results) {
    START
    const i64 begin = blockIdx.y * share, end = smaller(reduced, begin + share);
    i64 r = begin + lane;
    #pragma unroll 1
    for (; r + (UNROLLED - 1) * LANES < end; r += UNROLLED * LANES) {
      #pragma unroll
      for (int j = 0; j < UNROLLED; ++j) part[j] = join(part[j], element(PASSED, r + j * LANES));
    }
    #pragma unroll 1
    for (; r < end; r += LANES) part[0] = join(part[0], element(PASSED, r));
  }
  Total whole = part[0];
  for (int j = 1; j < UNROLLED; ++j) whole = join(whole, part[j]);
  totals[threadIdx.x] = whole;
  for (int reach = LANES / 2; reach > 0; reach /= 2) {
    __syncthreads();
    if (lane < reach) {
      whole = join(whole, totals[threadIdx.x + reach * (ROWS ? 1 : BESIDE)]);
      totals[threadIdx.x] = whole;
    }
  }
  if (lane == 0 && k < results) y[blockIdx.y * results + k] = WRITTEN;
}
"""
