"""The matrix product, batched, with transposes and an epilogue."""

from __future__ import annotations

from cortex_compute.expression import Code, Literal
from cortex_compute.frozen import frozen
from cortex_compute.primitives.base import Primitive
from cortex_compute.types import TensorType, broadcast


@frozen
class Gemm(Primitive):
    """C = epilogue(A B, ...).   A (..., m, k), B (..., k, n) -> C (..., m, n).

    A transposed operand lies (k, m), (n, k).  The leading axes broadcast.  The epilogue is pointwise code
    whose operand 0 is the product; its further operands follow B and broadcast to C's shape.

    With ``sums`` there is a second output, the sums of B's columns: (n,).  It is the gradient of a dense
    layer's bias, beside that of its weights.  A and B then have two axes, and there is no epilogue.
    """

    operands = ("a", "b")
    transpose_a: bool = False
    transpose_b: bool = False
    epilogue: Code | None = None
    literals: tuple[Literal, ...] = ()
    sums: bool = False

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
        result = with_epilogue(self, product, types[2:], self.epilogue, self.literals)
        if not self.sums:
            return (result,)
        plain = types[0].rank == types[1].rank == 2 and not self.transpose_b and self.epilogue is None
        self.expect(plain, "sums are of a plain b with two axes, without epilogue; got a {}, b {}",
                    types[0].shape, types[1].shape)  # fmt: skip
        return result, TensorType(types[1].shape[1:], result.dtype)

    def flops(self, *types: TensorType) -> int:
        k = self._matrix(types[0], self.transpose_a)[1]
        after = len(self.epilogue.instructions) if self.epilogue else 0
        added = types[1].size if self.sums else 0
        return self.product(*types[:2]).size * (2 * k + after) + added

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
