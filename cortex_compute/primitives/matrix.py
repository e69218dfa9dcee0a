"""The matrix product, batched, with transposes and an epilogue."""

from __future__ import annotations

from dataclasses import dataclass

from cortex_compute.expression import Code, Literal
from cortex_compute.primitives.base import Primitive
from cortex_compute.types import TensorType, broadcast


@dataclass(frozen=True)
class Gemm(Primitive):
    """C = epilogue(A B, ...).   A (..., m, k), B (..., k, n) -> C (..., m, n).

    A transposed operand lies (k, m), (n, k).  The leading axes broadcast.  The epilogue is pointwise code
    whose operand 0 is the product; its further operands follow B and broadcast to C's shape.
    """

    operands = ("a", "b")
    transpose_a: bool = False
    transpose_b: bool = False
    epilogue: Code | None = None
    literals: tuple[Literal, ...] = ()

    def product(self, a: TensorType, b: TensorType) -> TensorType:
        """The type of A B."""
        self.floating(a, b)
        for name, t in (("a", a), ("b", b)):
            self.expect(t.rank >= 2, "{} has shape {}; needs at least two axes", name, t.shape)
        m, k = self._matrix(a, self.transpose_a)
        k2, n = self._matrix(b, self.transpose_b)
        self.expect(k == k2, "inner sizes differ: a is {} x {}, b is {} x {}", m, k, k2, n)
        batch = broadcast((a.shape[:-2], b.shape[:-2]), f"{self.name}: leading axes")
        return TensorType((*batch, m, n), a.dtype)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        product = self.product(*types[:2])
        return (with_epilogue(self, product, types[2:], self.epilogue, self.literals),)

    def flops(self, *types: TensorType) -> int:
        k = self._matrix(types[0], self.transpose_a)[1]
        after = len(self.epilogue.instructions) if self.epilogue else 0
        return self.product(*types[:2]).size * (2 * k + after)

    @staticmethod
    def _matrix(t: TensorType, transposed: bool) -> tuple[int, int]:
        return (t.shape[-1], t.shape[-2]) if transposed else (t.shape[-2], t.shape[-1])


def with_epilogue(
    primitive: Primitive,
    main: TensorType,
    extra: tuple[TensorType, ...],
    epilogue: Code | None,
    literals: tuple[Literal, ...],
) -> TensorType:
    """The type after an epilogue; the further operands must broadcast to ``main``'s shape."""
    arity = 1 if epilogue is None else epilogue.arity
    primitive.expect(len(extra) == arity - 1, "the epilogue takes {} operands, got {}", arity - 1, len(extra))
    if epilogue is None:
        return main
    shape = broadcast([main.shape, *(t.shape for t in extra)], f"{primitive.name}: epilogue")
    primitive.expect(shape == main.shape, "the epilogue would enlarge {} to {}", main.shape, shape)
    (dtype,) = epilogue.result_types([main.dtype, *(t.dtype for t in extra)], literals)
    return TensorType(shape, dtype)
