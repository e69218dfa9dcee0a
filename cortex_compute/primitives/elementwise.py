"""Pointwise code over broadcast operands, and the copy."""

from __future__ import annotations

from cortex_compute.errors import DTypeError
from cortex_compute.expression import Code, Literal
from cortex_compute.frozen import frozen
from cortex_compute.primitives.base import Primitive
from cortex_compute.protocol import ROW_MAJOR, Layout
from cortex_compute.types import TensorType, broadcast


@frozen
class Elementwise(Primitive):
    """results = code(operands), for each element of the broadcast shape.  Every result has that shape.

    Code with bfloat16 is computed in float32: a cast to bfloat16 inside it does not round, only what is
    written to memory does.
    """

    code: Code
    literals: tuple[Literal, ...] = ()

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect(len(types) == self.code.arity, "takes {} operands, got {}", self.code.arity, len(types))
        told = self.code.instructions[0][0] if len(self.code.instructions) == 1 else self.name
        shape = broadcast((t.shape for t in types), told)
        try:
            dtypes = self.code.result_types([t.dtype for t in types], self.literals)
        except DTypeError as error:
            raise DTypeError(f"{told}: {error}") from None
        return tuple(TensorType(shape, d) for d in dtypes)

    def flops(self, *types: TensorType) -> int:
        shape = broadcast(t.shape for t in types)
        return TensorType(shape).size * len(self.code.instructions)

    def __str__(self) -> str:
        return "Elementwise(" + ", ".join(i[0] for i in self.code.instructions) + ")"


@frozen
class Copy(Primitive):
    """y = x, in memory of its own: row-major, or in an opaque layout that the backend has chosen."""

    layout: Layout = ROW_MAJOR
    operands = ("x",)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 1)
        return types
