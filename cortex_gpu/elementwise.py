"""Elementwise and Copy: one generated kernel, wherever operands and outputs lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from cortex_compute.expression import Code, Literal
from cortex_compute.frozen import frozen
from cortex_compute.primitives.elementwise import Copy, Elementwise
from cortex_compute.protocol import Array, Offer, Operand, Refusal, row_major
from cortex_compute.types import DType, TensorType, contiguous_strides, uint8, uint16, uint32, uint64
from cortex_gpu.backend import Gpu, offers
from cortex_gpu.index import Strides, Walk, spread
from cortex_gpu.kernels import BLOCK, Argument, Call, In, Memory, Out, Source, blocks, kernel, seconds
from cortex_gpu.pointwise import parameters, statements, title
from cortex_gpu.prelude import PRELUDE, compute, storage
from cortex_gpu.transpose import transposed

COPIED = Code(1, (), (("a", 0),))
LOAD = 16  # bytes that a thread reads or writes at once, where all lies so
BITS = {1: uint8, 2: uint16, 4: uint32, 8: uint64}
"""By item size: the type as which a copy moves elements, so that not even the bits of a NaN change."""

PACK = r"""
template <class T, int N> struct alignas(N * sizeof(T)) Pack { T at[N]; };  // moved by one instruction
"""


@offers(Elementwise)
def elementwise(p: Elementwise, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    types = [o.type for o in operands]
    results = p.infer(*types)
    # A thread reads all that it needs of an element before it writes any of its results.
    reuse = tuple(
        (k, j) for k, o in enumerate(operands) for j, r in enumerate(results)
        if row_major(o) and o.type.shape == r.shape and o.type.dtype.itemsize == r.dtype.itemsize
    )  # fmt: skip
    strides = tuple([spread(o, results[0].shape) for o in operands])
    dtypes = tuple([t.dtype for t in types])
    step = Pointwise(p.code, p.literals, dtypes, strides, results)
    return kernel(lambda: [step], reuse=reuse, strided_outputs=True, cost=seconds(p.nbytes(*types)))


@offers(Copy)
def copy(p: Copy, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    if p.layout.key:
        return Refusal(f"cupy cannot write the layout {p.layout.key}")
    (x,) = operands
    bits = BITS[x.type.dtype.itemsize]
    shape = x.type.shape
    step = Pointwise(COPIED, (), (bits,), (spread(x, shape),), (TensorType(shape, bits),))
    return kernel(lambda: [step], strided_outputs=True, cost=seconds(2 * x.type.nbytes))


@frozen
class Pointwise:
    """The step of a piece of code over operands with these data types and strides, in elements.

    The source depends on how the outputs lie, which is known when they are bound.
    """

    code: Code
    literals: tuple[Literal, ...]
    dtypes: tuple[DType, ...]
    strides: tuple[Strides, ...]  # over the shape of the results
    results: tuple[TensorType, ...]

    @property
    def sources(self) -> Sequence[Source]:
        dense = contiguous_strides(self.results[0].shape)
        return (self.call((dense,) * len(self.results)).source,)

    def bind(self, memory: Memory) -> Callable[[], None]:
        return self.call([None if a is None else _strides(a) for a in memory.outputs]).bind(memory)

    def call(self, outputs: Sequence[Strides | None]) -> Call:
        """The launch for outputs with these strides; None: nobody wants it."""
        (shape, _), *_ = self.results
        wanted = [j for j, strides in enumerate(outputs) if strides is not None]
        walk = Walk.over(shape, [*self.strides, *(s for s in outputs if s is not None)])
        turned = transposed(walk, self.dtypes[0]) if self.code == COPIED and wanted else None
        if turned is not None:
            return turned
        written = {j: self.results[j].dtype for j in wanted}
        writer = Writer(self.code, self.literals, self.dtypes, written, walk)
        places: list[Argument] = [*(In(k) for k in range(len(self.dtypes))), *(Out(j) for j in wanted)]
        arguments = (*places, np.int64(walk.size), *parameters(self.literals)[1])
        return Call(writer.source(), blocks(-(-walk.size // writer.width)), BLOCK, arguments)


def _strides(a: Array) -> Strides:
    return tuple(s // a.itemsize for s in a.strides)


class Writer:
    """Writes the source for one way in which operands and outputs are walked.

    ``written`` are the data types of the results that are wanted, by number.  ``width`` elements are moved at
    once where the arrays allow it: all that do not repeat lie one after the other along the last axis, and
    begin at a multiple of 16 bytes, which the kernel looks at.
    """

    def __init__(
        self,
        code: Code,
        literals: Sequence[Literal],
        dtypes: Sequence[DType],
        written: Mapping[int, DType],
        walk: Walk,
    ) -> None:
        self.code, self.literals, self.dtypes, self.written = code, literals, dtypes, written
        self.walk = walk if walk.shape else Walk((1,), ((1,),) * len(walk.strides))
        self.packed = [s[-1] == 1 for s in self.walk.strides]
        sizes = [d.itemsize for d, packed in zip((*dtypes, *written.values()), self.packed) if packed]
        self.width = min(8, LOAD // max(sizes, default=LOAD))
        if not self._divides(self.width):
            self.width = 1

    def _divides(self, width: int) -> bool:
        """Whether each ``width`` neighbours in the order of the walk are neighbours in all arrays."""
        outer = [n for s, packed in zip(self.walk.strides, self.packed) if packed for n in s[:-1]]
        return all(s[-1] in (0, 1) for s in self.walk.strides) and (
            len(self.walk.shape) == 1 or all(n % width == 0 for n in (self.walk.shape[-1], *outer))
        )

    def source(self) -> Source:
        """The whole source."""
        name = "copy" if self.code == COPIED else title(self.code, "elementwise")
        operands = [f"const {storage(d)}* x{k}" for k, d in enumerate(self.dtypes)]
        results = [f"{storage(d)}* y{j}" for j, d in self.written.items()]
        given = ", ".join([*operands, *results, "i64 n", *parameters(self.literals)[0]])
        loops = [*self._packs(), *self._elements()] if self.width > 1 else self._elements()
        return Source(name, "\n".join([
            PRELUDE, *([PACK] if self.width > 1 else []), *self._point(), "",
            f'extern "C" __global__ void {name}({given}) {{',
            "  const i64 first = (i64)blockIdx.x * blockDim.x + threadIdx.x;",
            "  const i64 step = (i64)gridDim.x * blockDim.x;",
            *(f"  {line}" for line in loops),
            "}", "",
        ]))  # fmt: skip

    def _point(self) -> list[str]:
        """The function that computes one element in registers."""
        operands = [f"a{k}" for k in range(len(self.dtypes))]
        lines, values = statements(self.code, self.literals, self.dtypes, operands)
        given = [f"{compute(d)} {a}" for d, a in zip(self.dtypes, operands)]
        given += [f"{compute(d)}& r{j}" for j, d in self.written.items()]
        return [
            f"__device__ inline void point({', '.join([*given, *parameters(self.literals)[0]])}) {{",
            *(f"  {line}" for line in (*lines, *(f"r{j} = {values[j]};" for j in self.written))),
            "}",
        ]

    def _called(self, operands: Sequence[str]) -> list[str]:
        """The lines that compute one element from operands in registers into r0, r1, ..."""
        declared = [f"{compute(d)} r{j};" for j, d in self.written.items()]
        given = [*operands, *(f"r{j}" for j in self.written), *(f"l{k}" for k in range(len(self.literals)))]
        return [" ".join(declared), f"point({', '.join(given)});"]

    def _elements(self) -> list[str]:
        """The loop over single elements: all of them, or those that no pack holds."""
        lines, at = self.walk.offsets("i")
        operands = [f"load(x{k}[{o}])" for k, o in zip(range(len(self.dtypes)), at)]
        stores = [
            f"y{j}[{o}] = store<{storage(d)}>(r{j});"
            for (j, d), o in zip(self.written.items(), at[len(self.dtypes) :])
        ]
        start = f"packs * {self.width} + first" if self.width > 1 else "first"
        return [
            "#pragma unroll 1",
            f"for (i64 i = {start}; i < n; i += step) {{",
            *(f"  {line}" for line in (*lines, *self._called(operands), *stores)),
            "}",
        ]

    def _packs(self) -> list[str]:
        """The loop over packs of ``width`` elements."""
        width, arity = self.width, len(self.dtypes)
        lines, at = self._walk_of_packs().offsets("p")
        names = [*(f"x{k}" for k in range(arity)), *(f"y{j}" for j in self.written)]
        addresses = " | ".join(f"(u64){x}" for x, packed in zip(names, self.packed) if packed)
        operands = []
        for k, d in enumerate(self.dtypes):
            pack = f"Pack<{storage(d)}, {width}>"
            if self.packed[k]:
                lines.append(f"const {pack} v{k} = ((const {pack}*)x{k})[{at[k]}];")
                operands.append(f"load(v{k}.at[j])")
            else:
                lines.append(f"const {compute(d)} v{k} = load(x{k}[{at[k]}]);")
                operands.append(f"v{k}")
        body, stores = self._called(operands), []
        for (j, d), o in zip(self.written.items(), at[arity:]):
            pack = f"Pack<{storage(d)}, {width}>"
            lines.append(f"{pack} w{j};")
            body.append(f"w{j}.at[j] = store<{storage(d)}>(r{j});")
            stores.append(f"(({pack}*)y{j})[{o}] = w{j};")
        return [
            f"const i64 packs = (({addresses}) & {LOAD - 1}) == 0 ? n / {width} : 0;",
            "#pragma unroll 1  // else each thread would divide, to know how often it goes round",
            "for (i64 p = first; p < packs; p += step) {",
            *(f"  {line}" for line in lines),
            "  #pragma unroll",
            f"  for (int j = 0; j < {width}; ++j) {{",
            *(f"    {line}" for line in body),
            "  }",
            *(f"  {line}" for line in stores),
            "}",
        ]

    def _walk_of_packs(self) -> Walk:
        """The walk of packs: offsets of arrays that are moved in packs count packs."""
        shape, width = self.walk.shape, self.width
        if len(shape) == 1:
            return self.walk
        strides = [
            (*(n // width for n in s[:-1]), 1) if packed else s
            for s, packed in zip(self.walk.strides, self.packed)
        ]
        return Walk((*shape[:-1], shape[-1] // width), tuple(strides))
