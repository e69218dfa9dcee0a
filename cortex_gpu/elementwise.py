"""Elementwise and Copy: one generated kernel, wherever operands and outputs lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cortex_compute.expression import Code, Literal
from cortex_compute.frozen import frozen
from cortex_compute.primitives.elementwise import Copy, Elementwise
from cortex_compute.protocol import Array, Offer, Operand, Refusal
from cortex_compute.types import DType, TensorType, contiguous_strides, uint8, uint16, uint32, uint64
from cortex_gpu.backend import Gpu, offers
from cortex_gpu.index import Strides, Walk, spread
from cortex_gpu.kernels import BLOCK, Argument, Call, In, Memory, Out, Source, blocks, kernel, seconds
from cortex_gpu.memory import row_major
from cortex_gpu.pointwise import parameters, statements, title
from cortex_gpu.prelude import PRELUDE, compute, storage

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
    step = Pointwise(
        Code(1, (), (("a", 0),)), (), (bits,), (spread(x, x.type.shape),), (TensorType(x.type.shape, bits),)
    )
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
        return (self.call((None,) * len(self.results)).source,)

    def bind(self, memory: Memory) -> Callable[[], None]:
        return self.call([None if a is None else _strides(a) for a in memory.outputs]).bind(memory)

    def call(self, outputs: Sequence[Strides | None]) -> Call:
        """The launch for outputs with these strides; None: row-major."""
        shape = self.results[0].shape
        dense = contiguous_strides(shape)
        walk = Walk.over(shape, [*self.strides, *(dense if s is None else s for s in outputs)])
        writer = Writer(self.code, self.literals, self.dtypes, [r.dtype for r in self.results], walk)
        arguments: list[Argument] = [In(k) for k in range(len(self.dtypes))]
        arguments += [Out(j) for j in range(len(self.results))]
        arguments += [np.int64(walk.size), *parameters(self.literals)[1]]
        return Call(writer.source(), blocks(-(-walk.size // writer.width)), BLOCK, tuple(arguments))


def _strides(a: Array) -> Strides:
    return tuple(s // a.itemsize for s in a.strides)


class Writer:
    """Writes the source for one way in which operands and outputs are walked.

    ``width`` elements are moved at once where the arrays allow it: all that do not repeat lie one after the
    other along the last axis, and begin at a multiple of 16 bytes, which the kernel looks at.
    """

    def __init__(
        self,
        code: Code,
        literals: Sequence[Literal],
        dtypes: Sequence[DType],
        results: Sequence[DType],
        walk: Walk,
    ) -> None:
        self.code, self.literals, self.dtypes, self.results = code, literals, dtypes, results
        self.walk = walk if walk.shape else Walk((1,), ((1,),) * len(walk.strides))
        self.names = [*(f"x{k}" for k in range(len(dtypes))), *(f"y{j}" for j in range(len(results)))]
        self.types = [storage(d) for d in (*dtypes, *results)]
        self.packed = [s[-1] == 1 for s in self.walk.strides]
        sizes = [d.itemsize for d, packed in zip((*dtypes, *results), self.packed) if packed]
        self.width = min(8, LOAD // max(sizes, default=LOAD))
        if not self._divides(self.width):
            self.width = 1

    def _divides(self, width: int) -> bool:
        """Whether each ``width`` neighbours in the order of the walk are neighbours in all arrays."""
        outer = [s for s, packed in zip(self.walk.strides, self.packed) if packed]
        return all(s[-1] in (0, 1) for s in self.walk.strides) and (
            len(self.walk.shape) == 1
            or (self.walk.shape[-1] % width == 0 and all(n % width == 0 for s in outer for n in s[:-1]))
        )

    def source(self) -> Source:
        """The whole source."""
        name = title(self.code, "elementwise") if self.code.instructions else "copy"
        const = ["const "] * len(self.dtypes) + [""] * len(self.results)
        arrays = [f"{c}{t}* {n}" for c, t, n in zip(const, self.types, self.names)]
        given = ", ".join([*arrays, "i64 n", *parameters(self.literals)[0]])
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
        given += [f"{compute(d)}& r{j}" for j, d in enumerate(self.results)]
        return [
            f"__device__ inline void point({', '.join([*given, *parameters(self.literals)[0]])}) {{",
            *(f"  {line}" for line in (*lines, *(f"r{j} = {value};" for j, value in enumerate(values)))),
            "}",
        ]

    def _called(self, operands: Sequence[str]) -> list[str]:
        """The lines that compute one element from operands in registers into r0, r1, ..."""
        declared = [f"{compute(d)} r{j};" for j, d in enumerate(self.results)]
        results = [f"r{j}" for j in range(len(self.results))]
        literals = [f"l{k}" for k in range(len(self.literals))]
        return [" ".join(declared), f"point({', '.join([*operands, *results, *literals])});"]

    def _elements(self) -> list[str]:
        """The loop over single elements: all of them, or those that no pack holds."""
        lines, at = self.walk.offsets("i")
        arity = len(self.dtypes)
        operands = [f"load({x}[{o}])" for x, o in zip(self.names[:arity], at)]
        stores = [
            f"if ({y}) {y}[{o}] = store<{t}>(r{j});"
            for j, (y, o, t) in enumerate(zip(self.names[arity:], at[arity:], self.types[arity:]))
        ]
        start = f"packs * {self.width} + first" if self.width > 1 else "first"
        return [
            f"for (i64 i = {start}; i < n; i += step) {{",
            *(f"  {line}" for line in (*lines, *self._called(operands), *stores)),
            "}",
        ]

    def _packs(self) -> list[str]:
        """The loop over packs of ``width`` elements."""
        width, arity = self.width, len(self.dtypes)
        lines, at = self._walk_of_packs().offsets("p")
        pack = [f"Pack<{t}, {width}>" for t in self.types]
        loads, operands = [], []
        for k in range(arity):
            if self.packed[k]:
                loads.append(f"const {pack[k]} v{k} = ((const {pack[k]}*)x{k})[{at[k]}];")
                operands.append(f"load(v{k}.at[j])")
            else:
                loads.append(f"const {compute(self.dtypes[k])} v{k} = load(x{k}[{at[k]}]);")
                operands.append(f"v{k}")
        results = range(len(self.results))
        body = [
            *self._called(operands),
            *(f"w{j}.at[j] = store<{self.types[arity + j]}>(r{j});" for j in results),
        ]
        return [
            f"const bool aligned = (({' | '.join(f'(u64){n}' for n, p in zip(self.names, self.packed) if p)})"
            f" & {LOAD - 1}) == 0;",
            f"const i64 packs = aligned ? n / {width} : 0;",
            "for (i64 p = first; p < packs; p += step) {",
            *(f"  {line}" for line in (*lines, *loads)),
            *(f"  {pack[arity + j]} w{j};" for j in results),
            "  #pragma unroll",
            f"  for (int j = 0; j < {width}; ++j) {{",
            *(f"    {line}" for line in body),
            "  }",
            *(f"  if (y{j}) (({pack[arity + j]}*)y{j})[{at[arity + j]}] = w{j};" for j in results),
            "}",
        ]  # fmt: skip

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
