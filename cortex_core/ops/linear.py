"""Matrix products."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from cortex_compute.errors import ShapeError
from cortex_compute.expression import Code
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.primitives.reduce import Reduce
from cortex_core.ops.apply import apply
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import gradient_of
from cortex_core.ops.lift import as_array
from cortex_core.ops.reduce import sum_to
from cortex_core.ops.table import normal, op, sample
from cortex_core.ops.views import reshape

INNER = Reduce("sum", (0,), False, Code(2, [("mul", ("a", 0), ("a", 1))], [("t", 0)]))


@op(
    sample(normal(2, 3), normal(3, 4)),
    sample(normal(2, 1, 3, 2), normal(4, 2, 3)),
    sample(normal(3), normal(3)),
    sample(normal(2, 3, 4), normal(4)),
    sample(normal(3), normal(2, 3, 4)),
)
def matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False) -> Any:
    """The matrix product over the last two axes; the axes before broadcast.   (..., m, k) (..., k, n) ->
    (..., m, n)

    An operand of one axis is taken as a row (left) or a column (right), and that axis is dropped from the
    result.   C = A B:  dA = g B^T, dB = A^T g, each summed over the axes along which it was repeated
    """
    a, b = as_array(a), as_array(b)
    if not a.shape or not b.shape:
        raise ShapeError(f"matmul: needs at least one axis, got shapes {a.shape} and {b.shape}")
    row, column = len(a.shape) == 1, len(b.shape) == 1
    if row and column:
        if a.shape != b.shape:
            raise ShapeError(f"matmul: inner sizes differ: a is {a.shape}, b is {b.shape}")
        return apply(INNER, a, b)
    if row:
        a = reshape(a, (1, a.shape[0]))
    if column:
        b = reshape(b, (b.shape[0], 1))
    out = apply(_product(transpose_a and not row, transpose_b and not column), a, b)
    if row:
        out = reshape(out, out.shape[:-2] + out.shape[-1:])
    return reshape(out, out.shape[:-1]) if column else out


@lru_cache(maxsize=4)
def _product(transpose_a: bool, transpose_b: bool) -> Gemm:
    return Gemm(transpose_a, transpose_b)


@op(sample(normal(2, 3), normal(3, 4)))
def mm(a: Any, b: Any) -> Any:
    """The product of two matrices.   da = g b^T, db = a^T g"""
    return matmul(*_of_rank("mm", 2, a, b))


@op(sample(normal(2, 3, 4), normal(2, 4, 2)))
def bmm(a: Any, b: Any) -> Any:
    """The products of two batches of matrices.   (n, m, k) (n, k, l) -> (n, m, l);  da = g b^T, db = a^T g"""
    a, b = _of_rank("bmm", 3, a, b)
    if a.shape[0] != b.shape[0]:
        raise ShapeError(f"bmm: the batches of {a.shape} and {b.shape} differ; matmul broadcasts")
    return matmul(a, b)


@op(sample(normal(2, 3), normal(3)))
def mv(a: Any, x: Any) -> Any:
    """A matrix times a vector.   da = g x^T, dx = a^T g"""
    return matmul(*_of_rank("mv", 2, a), *_of_rank("mv", 1, x))


@op(sample(normal(4), normal(4)))
def dot(a: Any, b: Any) -> Any:
    """The sum of a b over two vectors.   da = g b, db = g a"""
    return matmul(*_of_rank("dot", 1, a, b))


@op(sample(normal(2), normal(3)))
def outer(a: Any, b: Any) -> Any:
    """y[i, j] = a[i] b[j] of two vectors.   da = g b, db = g^T a"""
    a, b = _of_rank("outer", 1, a, b)
    return reshape(a, (-1, 1) if a.shape[0] else (0, 1)) * b


def _of_rank(what: str, rank: int, *arrays: Any) -> list[Any]:
    lifted = [as_array(x) for x in arrays]
    for x in lifted:
        if len(x.shape) != rank:
            raise ShapeError(f"{what}: needs {rank} axes, got shape {x.shape}; matmul takes any number")
    return lifted


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
