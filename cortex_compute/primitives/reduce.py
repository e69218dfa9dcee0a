"""Sums, means, extremes and their places, over any axes, with pointwise code as body."""

from __future__ import annotations

from cortex_compute.expression import Code, Literal
from cortex_compute.frozen import frozen
from cortex_compute.primitives.base import Primitive
from cortex_compute.types import TensorType, broadcast, int64, promote

KINDS = ("sum", "mean", "prod", "max", "min", "argmax", "argmin")


@frozen
class Reduce(Primitive):
    """y = kind over axes of body(operands).

    The operands broadcast to one shape; ``axes`` (counted from the front, sorted) index that shape.  argmax
    and argmin take one axis, give int64, and the first place wins.  Of an empty axis sum is 0, prod 1, mean
    NaN, the others are an error.  ``keepdims`` keeps the reduced axes with size 1.
    """

    kind: str
    axes: tuple[int, ...]
    keepdims: bool = False
    body: Code | None = None
    literals: tuple[Literal, ...] = ()

    def space(self, *types: TensorType) -> TensorType:
        """The type of what is reduced: the body's result over the broadcast shape."""
        shape = broadcast((t.shape for t in types), self.name)
        if self.body is None:
            return TensorType(shape, types[0].dtype)
        return TensorType(shape, self.body.result_types([t.dtype for t in types], self.literals)[0])

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        arity = 1 if self.body is None else self.body.arity
        self.expect(len(types) == arity, "takes {} operands, got {}", arity, len(types))
        self.expect(self.kind in KINDS, "kind is {!r}; known are {}", self.kind, ", ".join(KINDS))
        shape, dtype = self.space(*types)
        self.expect(all(0 <= a < len(shape) for a in self.axes), "axes {} of shape {}", self.axes, shape)
        if self.kind in ("argmax", "argmin"):
            self.expect(len(self.axes) == 1, "{} takes one axis, got {}", self.kind, self.axes)
            dtype = int64
        elif self.kind == "mean":
            dtype = promote((dtype,), ("float",))
        elif self.kind in ("sum", "prod") and dtype.kind != "float":
            dtype = int64
        if self.kind not in ("sum", "mean", "prod"):
            self.expect(all(shape[a] for a in self.axes), "{} of an empty axis, shape {}", self.kind, shape)
        kept = [1 if i in self.axes else n for i, n in enumerate(shape)]
        if not self.keepdims:
            kept = [n for i, n in enumerate(kept) if i not in self.axes]
        return (TensorType(tuple(kept), dtype),)

    def flops(self, *types: TensorType) -> int:
        return self.space(*types).size * (1 + (len(self.body.instructions) if self.body else 0))
