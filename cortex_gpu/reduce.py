"""Reduce: every kind, over any axes of operands that lie anyhow, of a piece of code if one is given.

A block reduces several results at once.  Its threads form a table: some results beside each other, and some
lanes for each.  Where what is reduced lies together in memory, neighbouring threads are the lanes of one
result; where the results lie together, they are neighbouring results.  A lane walks over its share, then the
lanes are joined by halves.  What is long is cut into parts, so that the GPU is filled and no lane adds up too
many terms, and a second launch reduces the parts.  Every order is fixed: equal runs give equal bits.
"""

from __future__ import annotations

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

UNROLLED = 4  # elements that a lane has under way at a time, each in a total of its own
ENOUGH = 32  # elements for each lane that make another part worth while
MOST = 2048  # elements for each lane: after more of them rounding errors have added up
MOST_PARTS = 65535  # blocks along y
FILLED = 4  # blocks for each processor that fill a GPU


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
            total, table, title(p.body, f"reduce_{p.kind}"), [storage(d) for d in dtypes], literals,
            results.offsets("k", "from"), element(p, dtypes, total, reduced), last=parts == 1,
        )  # fmt: skip
        given = [In(k) for k in range(len(types))]
        if parts == 1:
            return [first.call([*given, Out(0)], 1, reduced.size, numbers)]
        partial = Table.of(Walk((results.size,), ((1,),)), Walk((parts,), ((results.size,),)))
        second = Stage(
            total,
            partial,
            f"reduce_{p.kind}_parts",
            ["Total"],
            [],
            ([], ["k"]),
            ["return x0[r * results];"],
            last=True,
        )
        return [
            first.call([*given, Work()], parts, reduced.size, numbers),
            second.call([Work(), Out(0)], 1, reduced.size),
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
class Total:
    """What is kept of the elements met so far, for values and a result of these data types."""

    kind: str
    value: DType
    result: DType

    @property
    def place(self) -> bool:
        return self.kind in ("argmax", "argmin")

    @property
    def type(self) -> str:
        """The C type, but for places."""
        sums = self.kind in ("sum", "mean", "prod")
        return "i64" if sums and self.value.kind != "float" else compute(self.value)

    @property
    def nbytes(self) -> int:
        """Bytes in memory: at least those of the C type."""
        return 16 if self.place else 8

    def of(self, value: str) -> str:
        """The total of one element, number ``r``, with this value."""
        return f"Total{{{value}, r}}" if self.place else f"({self.type}){value}"

    def text(self) -> str:
        """The C type Total, and its functions nothing, join and finished."""
        result = compute(self.result)
        if self.place:
            better = "a.value > b.value" if self.kind == "argmax" else "a.value < b.value"
            return PLACE.replace("VALUE", self.type).replace("BETTER", better)
        nothing, join = self._rule()
        finished = "a"
        if self.kind == "mean":  # integers are added exactly
            wide = "double" if self.type == "i64" else self.type
            finished = f"({wide})a / ({wide})count"
        return "\n".join([
            f"typedef {self.type} Total;",
            f"__device__ inline Total nothing() {{ return {nothing}; }}",
            f"__device__ inline Total join(Total a, Total b) {{ return {join}; }}",
            f"__device__ inline {result} finished(Total a, i64 count) {{ return ({result})({finished}); }}",
        ])  # fmt: skip

    def _rule(self) -> tuple[str, str]:
        """The total of no elements, and how two are joined."""
        if self.kind in ("max", "min"):
            return _extreme(self.value, self.kind == "min"), {"max": "larger", "min": "smaller"}[
                self.kind
            ] + "(a, b)"
        sign, nothing = ("*", "1") if self.kind == "prod" else ("+", "0")
        wraps = self.type == "i64"
        return nothing, f"(i64)((u64)a {sign} (u64)b)" if wraps else f"a {sign} b"


PLACE = """\
struct Total { VALUE value; i64 index; };  // an element and where it stands; -1: none yet
__device__ inline Total nothing() { return Total{0, -1}; }
__device__ inline Total join(Total a, Total b) {  // NaN wins, and of equals the first
  if (a.index < 0 || b.index < 0) return a.index < 0 ? b : a;
  const bool nan_a = a.value != a.value, nan_b = b.value != b.value;
  if (nan_a ? nan_b : a.value == b.value) return a.index < b.index ? a : b;
  return nan_a || (!nan_b && BETTER) ? a : b;
}
__device__ inline i64 finished(Total a, i64 count) { return a.index; }"""


def _extreme(d: DType, largest: bool) -> str:
    """The largest or the smallest number of a data type, in C."""
    if d.kind == "float":
        return f"({compute(d)})__int_as_float({'0x7f800000' if largest else '0xff800000'})"
    if d.kind == "bool":
        return "true" if largest else "false"
    info = np.iinfo(d.storage)
    if info.min == 0:
        return f"({compute(d)}){info.max if largest else 0}ull"
    return f"({compute(d)}){info.max}ll" if largest else f"({compute(d)})(-{info.max}ll - 1)"


class Stage:
    """One launch: all results of all parts.  ``last``: it writes results, not totals."""

    def __init__(
        self,
        total: Total,
        table: Table,
        name: str,
        arrays: Sequence[str],
        literals: Sequence[str],
        start: tuple[Sequence[str], Sequence[str]],
        element: Sequence[str],
        last: bool,
    ) -> None:
        self.total, self.table, self.name, self.last = total, table, name, last
        self.arrays, self.literals, self.start, self.element = arrays, literals, start, element

    def call(
        self, arguments: Sequence[Argument], parts: int, count: int, numbers: Sequence[np.generic] = ()
    ) -> Call:
        """The launch; ``count``: elements that each result is made of."""
        t = self.table
        share = -(-t.reduced // (parts * t.lanes)) * t.lanes
        sizes = (np.int64(n) for n in (t.results, t.reduced, share, count))
        return Call(self.source(), (t.blocks, parts, 1), BLOCK, (*arguments, *sizes, *numbers))

    def source(self) -> Source:
        """The whole source."""
        names = [f"x{k}" for k in range(len(self.arrays))]
        given = [f"const {c}* {x}" for c, x in zip(self.arrays, names)]
        one = ", ".join([*given, "i64 r", "i64 results", *self.literals])
        written = storage(self.total.result) if self.last else "Total"
        numbers = ["i64 results", "i64 reduced", "i64 share", "i64 count", *self.literals]
        return Source(self.name, "\n".join([
            PRELUDE, self.total.text(), "",
            f"__device__ inline Total element({one}) {{",
            *(f"  {line}" for line in self.element),
            "}", "",
            f'extern "C" __global__ void {self.name}({", ".join([*given, f"{written}* y", *numbers])}) {{',
            *(f"  {line}" for line in self._body(names)),
            "}", "",
        ]))  # fmt: skip

    def _body(self, names: Sequence[str]) -> list[str]:
        t = self.table
        lane, beside = ("%", "/") if t.rows else ("/", "%")
        near = t.lanes if t.rows else t.beside
        arguments = ", ".join([*names, "{}", "results", *(x.split()[-1] for x in self.literals)])
        lines, offsets = self.start
        value = f"store<{storage(self.total.result)}>(finished(whole, count))" if self.last else "whole"
        return [
            f"__shared__ Total totals[{BLOCK}];",
            f"const int lane = threadIdx.x {lane} {near}, beside = threadIdx.x {beside} {near};",
            f"const i64 k = (i64)blockIdx.x * {t.beside} + beside;",
            f"Total part[{UNROLLED}];",
            f"for (int j = 0; j < {UNROLLED}; ++j) part[j] = nothing();",
            "if (k < results) {",
            *(f"  {line}" for line in lines),
            *(f"  {x} += {at};" for x, at in zip(names, offsets)),
            "  const i64 begin = blockIdx.y * share, end = smaller(reduced, begin + share);",
            "  i64 r = begin + lane;",
            "  #pragma unroll 1",
            f"  for (; r + {(UNROLLED - 1) * t.lanes} < end; r += {UNROLLED * t.lanes}) {{",
            "    #pragma unroll",
            f"    for (int j = 0; j < {UNROLLED}; ++j)",
            f"      part[j] = join(part[j], element({arguments.format(f'r + j * {t.lanes}')}));",
            "  }",
            "  #pragma unroll 1",
            f"  for (; r < end; r += {t.lanes}) part[0] = join(part[0], element({arguments.format('r')}));",
            "}",
            "Total whole = part[0];",
            f"for (int j = 1; j < {UNROLLED}; ++j) whole = join(whole, part[j]);",
            "totals[threadIdx.x] = whole;",
            f"for (int reach = {t.lanes // 2}; reach > 0; reach /= 2) {{",
            "  __syncthreads();",
            "  if (lane < reach) {",
            f"    whole = join(whole, totals[threadIdx.x + reach{'' if t.rows else f' * {t.beside}'}]);",
            "    totals[threadIdx.x] = whole;",
            "  }",
            "}",
            f"if (lane == 0 && k < results) y[blockIdx.y * results + k] = {value};",
        ]  # fmt: skip
