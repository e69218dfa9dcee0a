"""The matrix product, through NumPy's BLAS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from cortex_compute.numpy_backend import direct
from cortex_compute.numpy_backend.backend import kernel, offers
from cortex_compute.numpy_backend.elementwise import sequence
from cortex_compute.numpy_backend.memory import carve, scratch_size
from cortex_compute.numpy_backend.pointwise import bind, workspace_size
from cortex_compute.numpy_backend.reduce import add_rows, sums_of_rows
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.protocol import Offer, Operand, Refusal
from cortex_compute.types import TensorType, contiguous_strides

PEAK = 1e11  # FLOP per second, of a small machine; only the order of costs matters
STREAM = 8e10  # bytes per second, from the caches
MEMORY = 3e10  # the same of what they do not hold
CACHES = 3e7  # bytes


def blas_reads(t: TensorType, strides: tuple[int, ...] | None) -> bool:
    """Whether BLAS can read the matrices as they lie: one of the two axes dense, the other one no shorter."""
    rows, columns = (strides or contiguous_strides(t.shape))[-2:]
    m, n = t.shape[-2:]
    dense = (columns == 1 or n == 1) and (rows >= n or m == 1)
    turned = (rows == 1 or m == 1) and (columns >= m or n == 1)
    return dense or turned


@offers(Gemm)
def gemm(p: Gemm, operands: Sequence[Operand]) -> Offer | Refusal:
    types = [o.type for o in operands]
    product, result = p.product(*types[:2]), p.infer(*types)[0]
    if product.dtype is not result.dtype:
        return Refusal("numpy's epilogue keeps the data type of the product")
    copied = [i for i in (0, 1) if not blas_reads(types[i], operands[i].layout.strides)]
    pieces = [types[i] for i in copied]
    if p.sums:
        pieces.append(sums_of_rows(types[1]))
    copies = scratch_size(pieces)
    scratch = 0
    if p.epilogue is not None:
        scratch = workspace_size(p.epilogue, p.literals, [product, *types[2:]])

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Callable[[], None]:
        calls: list[Callable[[], Any]] = []
        matrices = list(inputs[:2])
        spare = carve(workspace, pieces)
        for i, memory in zip(copied, spare):
            calls.append(partial(np.copyto, memory, matrices[i]))
            matrices[i] = memory
        a, b, out = matrices[0], matrices[1], outputs[0]
        if p.sums and outputs[1] is not None:
            calls += add_rows(b, outputs[1][None, :], spare[-1])
        if out is None:
            return sequence(calls)
        if b.ndim == 2 and a.ndim > 2 and not p.transpose_a and a.flags.c_contiguous:
            a, flat = a.reshape(-1, a.shape[-1]), out.reshape(-1, out.shape[-1])
        else:
            flat = out
        a = a.swapaxes(-1, -2) if p.transpose_a else a
        b = b.swapaxes(-1, -2) if p.transpose_b else b
        calls.append(partial(np.matmul, a, b, flat))
        if p.epilogue is not None:
            rest = None if workspace is None else workspace[copies:]
            dtypes = [product.dtype, *(t.dtype for t in types[2:])]
            calls += bind(p.epilogue, p.literals, [out, *inputs[2:]], [out], rest, dtypes)
        return sequence(calls)

    nbytes = p.nbytes(*types)
    cost = max(p.flops(*types) / PEAK, nbytes / (STREAM if nbytes < CACHES else MEMORY))
    return kernel(bound, workspace=copies + scratch, cost=cost, direct=partial(direct.gemm, p, types))
