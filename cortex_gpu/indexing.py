"""Gathers, concatenation, padding and one-hot: kernels that move elements without looking at their type.

What reads along one axis sees its arrays as (outer, n, inner).  An element is a word of its size, so that
types of one size share a source.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cortex_compute.numpy_backend.bfloat16 import narrow
from cortex_compute.primitives.indexing import Concatenate, Gather, OneHot, Pad, TakeAlong
from cortex_compute.protocol import Offer, Operand, Refusal, row_major
from cortex_compute.types import DType, TensorType, bfloat16
from cortex_gpu.backend import Gpu, offers
from cortex_gpu.kernels import BLOCK, Call, In, Out, Source, blocks, kernel, refusal, seconds
from cortex_gpu.prelude import PRELUDE, storage

PLACES = r"""
// Each element e of ``count``, shared out to the threads of the grid.  Unrolled, each thread would divide, to
// know how often it goes round.
#define EACH(e, count) \
  _Pragma("unroll 1") for (Index e = (Index)blockIdx.x * blockDim.x + threadIdx.x; e < count; \
                           e += (Index)gridDim.x * blockDim.x)

template <class I> __device__ inline i64 nearest(I id, i64 n) {  // the place in range
  const i64 i = (i64)id;
  return i < 0 ? 0 : i < n ? i : n - 1;
}
"""


def outer_inner(shape: tuple[int, ...], axis: int) -> tuple[int, int]:
    """Number of elements before and after ``axis``."""
    return math.prod(shape[:axis]), math.prod(shape[axis + 1 :])


def block_for(n: int) -> int:
    """Threads of a block that works on ``n`` elements: a power of two, at least a warp."""
    return min(BLOCK, max(32, 1 << (n - 1).bit_length()))


def places(*types: TensorType, **names: str) -> str:
    """What a source of this family begins with: C types by ``names``, and an index for arrays so large."""
    index = "u32" if max(t.size for t in types) < 2**31 else "i64"  # 32 bits divide several times as fast
    named = "".join(f"typedef {c} {name};\n" for name, c in {"Index": index, **names}.items())
    return PRELUDE + named + PLACES


def word(d: DType) -> str:
    """An unsigned C type of the size of an element."""
    return {1: "unsigned char", 2: "unsigned short", 4: "u32", 8: "u64"}[d.itemsize]


def bits(value: float, d: DType) -> np.uint64:
    """The bits of a number as an element, in the lowest bytes."""
    if d is bfloat16:
        return np.uint64(narrow(np.array(value, np.float32)))
    element = np.array(value).astype(d.storage)
    return np.uint64(element.view(f"u{d.itemsize}"))


GATHER = r"""
struct alignas(16) Wide { u64 a, b; };

template <class W>
__device__ inline void gather_rows(const W* __restrict__ x, const Id* __restrict__ ids, W* __restrict__ y,
                                   Index inner, Index m, i64 n, Index count) {
  EACH(e, count) {
    const Index row = e / inner;
    const Index from = row / m * (Index)n + (Index)nearest(ids[row % m], n);
    y[e] = x[from * inner + (e - row * inner)];
  }
}

extern "C" __global__ void gather(const Word* __restrict__ x, const Id* __restrict__ ids,
                                  Word* __restrict__ y, i64 inner, i64 m, i64 n, i64 rows) {
  const int many = 16 / sizeof(Word);
  const i64 wide = inner / many;
  if (inner % many == 0 && (u64)x % 16 == 0 && (u64)y % 16 == 0)
    gather_rows((const Wide*)x, ids, (Wide*)y, (Index)wide, (Index)m, n, (Index)(rows * wide));
  else
    gather_rows(x, ids, y, (Index)inner, (Index)m, n, (Index)(rows * inner));
}
"""


@offers(Gather)
def gather(p: Gather, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    if (no := refusal(p, operands)) is not None:
        return no
    x, ids = (o.type for o in operands)
    (y,) = p.infer(x, ids)
    outer, inner = outer_inner(x.shape, p.axis)

    def steps() -> list[Call]:
        text = places(x, y, Word=word(x.dtype), Id=storage(ids.dtype)) + GATHER
        sizes = np.int64(inner), np.int64(ids.size), np.int64(x.shape[p.axis]), np.int64(outer * ids.size)
        words = y.size // (16 // y.dtype.itemsize) if inner * y.dtype.itemsize % 16 == 0 else y.size
        return [Call(Source("gather", text), blocks(words), BLOCK, (In(0), In(1), Out(0), *sizes))]

    return kernel(steps, cost=seconds(p.nbytes(x, ids)))


TAKE_ALONG = r"""
extern "C" __global__ void take_along(const Word* __restrict__ x, const Id* __restrict__ ids,
                                      Word* __restrict__ y, i64 inner, i64 m, i64 n, i64 count) {
  EACH(e, (Index)count) {
    const Index row = e / (Index)inner;
    const Index from = row / (Index)m * (Index)n + (Index)nearest(ids[e], n);
    y[e] = x[from * (Index)inner + (e - row * (Index)inner)];
  }
}
"""


@offers(TakeAlong)
def take_along(p: TakeAlong, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    if (no := refusal(p, operands)) is not None:
        return no
    x, ids = (o.type for o in operands)
    _, inner = outer_inner(ids.shape, p.axis)

    def steps() -> list[Call]:
        text = places(x, ids, Word=word(x.dtype), Id=storage(ids.dtype)) + TAKE_ALONG
        sizes = map(np.int64, (inner, ids.shape[p.axis], x.shape[p.axis], ids.size))
        return [Call(Source("take_along", text), blocks(ids.size), BLOCK, (In(0), In(1), Out(0), *sizes))]

    return kernel(steps, cost=seconds(p.nbytes(x, ids)))


CONCATENATE = r"""
// x, rows of ``width``, becomes columns ``start`` ... of y, whose rows lie ``stride`` apart.
extern "C" __global__ void concatenate(const Word* __restrict__ x, Word* __restrict__ y, i64 width, i64 start,
                                       i64 stride, i64 count) {
  EACH(e, (Index)count) {
    const Index row = e / (Index)width;
    y[row * (Index)stride + (Index)start + (e - row * (Index)width)] = x[e];
  }
}
"""


@offers(Concatenate)
def concatenate(p: Concatenate, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    if not all(map(row_major, operands)):
        return Refusal("cupy wants the parts row-major")
    types = [o.type for o in operands]
    (y,) = p.infer(*types)
    widths = [math.prod(t.shape[p.axis :]) for t in types]

    def steps() -> list[Call]:
        source = Source("concatenate", places(y, Word=word(y.dtype)) + CONCATENATE)
        starts = np.cumsum([0, *widths])
        return [
            Call(source, blocks(t.size), BLOCK,
                 (In(k), Out(0), *map(np.int64, (widths[k], starts[k], starts[-1], t.size))))
            for k, t in enumerate(types) if t.size
        ]  # fmt: skip

    return kernel(steps, cost=seconds(2 * y.nbytes, launches=len(types)))


PAD = r"""
extern "C" __global__ void pad(const Word* __restrict__ x, Word* __restrict__ y, u64 value, i64 countSIZES) {
  EACH(e, (Index)count) {
    Index rest = e;
    i64 from = 0, scale = 1;
    bool inside = true;
AXES    y[e] = inside ? x[from] : (Word)value;
  }
}
"""


def pad_text(rank: int) -> str:
    """`PAD` for so many axes, the last one first: each takes the four numbers of `padded_axes`."""
    sizes = "".join(f", i64 n{a}, i64 size{a}, i64 low{a}, i64 step{a}" for a in range(rank))
    axes = "".join(
        f"""\
    {{ const i64 at = (i64)(rest % (Index)size{a}) - low{a};
      const Index i = (Index)at / (Index)step{a};  // where at < 0, anything
      inside = inside && at >= 0 && i < (Index)n{a} && i * (Index)step{a} == (Index)at;
      from += (i64)i * scale; scale *= n{a}; rest /= (Index)size{a}; }}
"""
        for a in range(rank)
    )
    return PAD.replace("SIZES", sizes).replace("AXES", axes)


def padded_axes(p: Pad, shape: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    """(n, size, low, step) of each axis, at least one; axes that keep their elements join the one before.

    n elements become ``size`` places, an element at every ``step``-th one from ``low`` on.
    """
    axes: list[tuple[int, int, int, int]] = []
    for n, low, high, gap in zip(shape, p.low, p.high, p.interior):
        size = low + n + max(n - 1, 0) * gap + high
        whole = low == high == 0 and (gap == 0 or n < 2)
        if axes and whole:  # the axis before it, in units of n
            before = axes[-1]
            if before[3] == 1:
                axes[-1] = before[0] * n, before[1] * n, before[2] * n, 1
                continue
        axes.append((n, size, low, 1 if whole else gap + 1))
    return axes or [(1, 1, 0, 1)]


@offers(Pad)
def pad(p: Pad, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    if (no := refusal(p, operands)) is not None:
        return no
    x = operands[0].type
    (y,) = p.infer(x)

    def steps() -> list[Call]:
        axes = padded_axes(p, x.shape)[::-1]
        text = places(x, y, Word=word(x.dtype)) + pad_text(len(axes))
        sizes = [np.int64(number) for axis in axes for number in axis]
        arguments = (In(0), Out(0), bits(p.value.value, x.dtype), np.int64(y.size))
        return [Call(Source("pad", text), blocks(y.size), BLOCK, (*arguments, *sizes))]

    return kernel(steps, cost=seconds(x.nbytes + y.nbytes))


ONE_HOT = r"""
extern "C" __global__ void one_hot(const Id* __restrict__ ids, Word* __restrict__ y, u64 one, i64 classes,
                                   i64 count) {
  EACH(e, (Index)count) {
    const Index row = e / (Index)classes;
    y[e] = (u64)ids[row] == (u64)(e - row * (Index)classes) ? (Word)one : (Word)0;
  }
}
"""


@offers(OneHot)
def one_hot(p: OneHot, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    if (no := refusal(p, operands)) is not None:
        return no
    ids = operands[0].type
    (y,) = p.infer(ids)

    def steps() -> list[Call]:
        text = places(y, Word=word(y.dtype), Id=storage(ids.dtype)) + ONE_HOT
        arguments = In(0), Out(0), bits(1, y.dtype), np.int64(p.classes), np.int64(y.size)
        return [Call(Source("one_hot", text), blocks(y.size), BLOCK, arguments)]

    return kernel(steps, cost=seconds(p.nbytes(ids)))
