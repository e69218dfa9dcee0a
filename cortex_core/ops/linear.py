"""Matrix products."""

from __future__ import annotations

from typing import Any

from cortex_compute.errors import ShapeError
from cortex_compute.primitives.matrix import Gemm
from cortex_core.ops.apply import apply
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import gradient_of
from cortex_core.ops.reduce import sum_to
from cortex_core.ops.views import reshape


def matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False) -> Any:
    """The matrix product over the last two axes; the axes before broadcast.   (..., m, k) (..., k, n) ->
    (..., m, n)

    An operand of one axis is taken as a row (left) or a column (right), and that axis is dropped from the
    result.
    """
    if not a.shape or not b.shape:
        raise ShapeError(f"matmul: needs at least one axis, got shapes {a.shape} and {b.shape}")
    row, column = len(a.shape) == 1, len(b.shape) == 1
    if row:
        a = reshape(a, (1, a.shape[0]))
    if column:
        b = reshape(b, (b.shape[0], 1))
    out = apply(Gemm(transpose_a and not row, transpose_b and not column), a, b)
    if row:
        out = reshape(out, out.shape[:-2] + out.shape[-1:])
    return reshape(out, out.shape[:-1]) if column else out


@gradient_of(Gemm)
def _gemm(node: Node, g: Any) -> Any:
    """C = A B:  dA = g Bᵀ,  dB = Aᵀ g, each summed over the leading axes along which it was repeated."""
    p, (a, b) = node.primitive, node.inputs
    assert isinstance(p, Gemm)
    assert not p.sums, "sums are fused after differentiation"

    def by_a() -> Any:
        if p.transpose_a:
            return sum_to(matmul(b, g, p.transpose_b, True), a.shape)
        return _flat(g, b, a, p.transpose_b)

    def by_b() -> Any:
        if p.transpose_b:
            d = matmul(g, a, True, p.transpose_a)
        elif (
            b.ndim == 2 and a.ndim > 2 and not p.transpose_a
        ):  # one product over all leading axes, no sum after
            d = matmul(reshape(a, (-1, a.shape[-1])), reshape(g, (-1, g.shape[-1])), True)
        else:
            d = matmul(a, g, not p.transpose_a, False)
        return sum_to(d, b.shape)

    return by_a, by_b


def _flat(g: Any, b: Any, a: Any, transposed: bool) -> Any:
    return sum_to(matmul(g, b, False, not transposed), a.shape)
