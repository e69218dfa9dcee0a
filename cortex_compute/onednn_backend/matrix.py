"""The matrix product: oneDNN's matmul, which reads transposed and strided matrices as they lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from cortex_compute.numpy_backend.matrix import blas_reads
from cortex_compute.onednn_backend import constants as c
from cortex_compute.onednn_backend.backend import offers
from cortex_compute.onednn_backend.descriptors import MemoryDesc, PrimitiveDesc, chosen, strided
from cortex_compute.onednn_backend.epilogue import translate
from cortex_compute.onednn_backend.library import load
from cortex_compute.onednn_backend.packing import is_packed, layout_of, packed, with_packed
from cortex_compute.onednn_backend.recipe import (
    BANDWIDTH,
    Arguments,
    HostCall,
    In,
    Out,
    Recipe,
    Where,
    seconds,
)
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.protocol import Offer, Operand, Refusal, row_major
from cortex_compute.types import TensorType, bfloat16, contiguous_strides

Sizes = tuple[int, ...]
ONE_BFLOAT16 = 0x3F80
STREAM = 1e11  # bytes per second of a matrix in oneDNN's own layout, from the caches


class Matrices:
    """Operands of a product with equally many axes, as oneDNN wants them; turned ones by their strides."""

    def __init__(self, p: Gemm, operands: Sequence[Operand], result: TensorType) -> None:
        a, b = ((o.type.shape, o.layout.strides or contiguous_strides(o.type.shape)) for o in operands[:2])
        out = result.shape
        self.flat = len(b[0]) == 2 < len(out) and not p.transpose_a and row_major(operands[0])
        if self.flat:  # one product over all leading axes
            rows, out = self._joined(a[0]), self._joined(out)
            a = rows, contiguous_strides(rows)
        self.rank = len(out)
        self.a = self._turned(a) if p.transpose_a else a
        self.b = self._turned(b) if p.transpose_b else b
        self.out = out, contiguous_strides(out)

    @staticmethod
    def _joined(shape: Sizes) -> Sizes:
        return prod(shape[:-1]), shape[-1]

    @staticmethod
    def _turned(x: tuple[Sizes, Sizes]) -> tuple[Sizes, Sizes]:
        shape, strides = x
        return (*shape[:-2], shape[-1], shape[-2]), (*strides[:-2], strides[-1], strides[-2])

    def desc(self, x: tuple[Sizes, Sizes], operand: TensorType) -> MemoryDesc:
        shape, strides = x[0], settled(*x)
        front = self.rank - len(shape)
        outer = shape[0] * strides[0] if shape else 1
        return strided((1,) * front + shape, (outer,) * front + strides, operand.dtype)

    def addend(self, t: TensorType) -> MemoryDesc:
        """A further operand of the epilogue, row-major."""
        shape = self._joined(t.shape) if self._joins(t) else t.shape
        return self.desc((shape, contiguous_strides(shape)), t)

    def _joins(self, t: TensorType) -> bool:
        return self.flat and t.rank > 2


def settled(shape: Sizes, strides: Sizes) -> Sizes:
    """The strides, those of axes of length 1 as if the array were dense.

    oneDNN's cache of primitives takes descriptions that differ there alone for the same (3.2), while what it
    makes of them differs, in the scratchpad too.
    """
    steps = list(strides)
    for i in reversed(range(len(shape))):
        if shape[i] == 1:
            steps[i] = steps[i + 1] * shape[i + 1] if i + 1 < len(shape) else 1
    return tuple(steps)


@offers(Gemm)
def gemm(p: Gemm, operands: Sequence[Operand]) -> Offer | Refusal:
    types = [o.type for o in operands]
    result, *sums = p.infer(*types)
    if not all(blas_reads(o.type, o.layout.strides) for o in operands[:2]):
        return Refusal("oneDNN's matmul wants one dense axis in each matrix")
    if not all(map(row_major, operands[2:])):
        return Refusal("oneDNN's post-ops want row-major operands")
    m = Matrices(p, operands, result)
    if m.flat and any(1 in t.shape[:-1] and t.rank > 1 for t in types[2:]):
        return Refusal("an operand of the epilogue repeats along an axis that is joined with others")
    channels = m.out[0][-1]
    epilogue = translate(
        p.epilogue, p.literals,
        lambda k: m.addend(types[k + 1]),
        m.desc(((1,), (1,)), TensorType((1,))),
        lambda k: types[k + 1].shape == (channels,),
    )  # fmt: skip
    own = is_packed(operands[1])
    if own and (m.rank > 2 or p.transpose_b or p.sums):
        return Refusal("oneDNN chooses the layout of a plain matrix alone")
    a, plain, out = m.desc(m.a, types[0]), m.desc(m.b, types[1]), m.desc(m.out, result)
    b = plain
    if own:
        found = packed(operands[1].layout)
        b = found.wanted if found else chosen(types[1].shape, types[1].dtype)
    arguments: Arguments = {c.SRC: (In(0), a), c.DST: (Out(0), out), **epilogue.arguments}
    bias = None
    if epilogue.bias is not None:
        bias = m.addend(types[epilogue.bias + 1])
        arguments[c.BIAS] = In(epilogue.bias + 1), bias
    recipe, layouts = Recipe(), None
    primitive = PrimitiveDesc("matmul", a, b, bias, out, post_ops=epilogue.post_ops)
    wanted = primitive.desc("weights")
    arguments[c.WEIGHTS] = In(1), wanted
    recipe.call(primitive, arguments)
    work: float = sum(t.nbytes for t in types) + result.nbytes
    if own:
        work *= BANDWIDTH / STREAM
    elif load().threads() == 1:  # which reads a row of a large matrix more slowly than BLAS does
        work *= 2
    cost = seconds(p.flops(*types), work, 1, types[0].dtype)
    if own:
        layouts = with_packed(operands, layout_of(plain, wanted))
    if sums:
        _add_column_sums(recipe, types[1], plain)
        cost += types[1].nbytes / BANDWIDTH
    return recipe.offer(cost, layouts=layouts)


def _add_column_sums(recipe: Recipe, b: TensorType, matrix: MemoryDesc) -> None:
    """The second result, by BLAS: faster than an inner product of oneDNN that gives both."""
    rows, columns = b.shape
    if b.dtype is bfloat16:
        ones = np.full(rows, ONE_BFLOAT16, np.uint16)
        one, out = (strided((1, n), (n, 1), bfloat16) for n in (rows, columns))
        primitive = PrimitiveDesc("matmul", one, matrix, None, out)
        recipe.call(primitive, {c.SRC: (ones, one), c.WEIGHTS: (In(1), matrix), c.DST: (Out(1), out)})
        return
    ones = np.ones(rows, b.dtype.storage)

    def bind(array: Callable[[Where], Any]) -> Callable[[], None]:
        wanted = array(Out(1)).size > 0
        return partial(np.matmul, ones, array(In(1)), array(Out(1))) if wanted else lambda: None

    recipe.calls.append(HostCall(bind))
