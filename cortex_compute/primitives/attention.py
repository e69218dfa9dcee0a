"""Scaled-dot-product attention and its gradient.   Vaswani et al., 2017; in blocks: Dao et al., 2022.

Neither keeps the scores: a backend computes them block by block, and again for the gradient.  ``causal``
lets query i see the keys 0 to i.  With ``masked`` there is an operand mask, bool, that broadcasts to
(B, N, Tq, Tk): true where a query sees a key.  A query that sees no key gets 0, and so do the gradients
through it.

Heads of q may share a head of k and v (grouped queries): head n of q sees head n // (N / M) of these.
"""

from __future__ import annotations

from typing import ClassVar

from cortex_compute.errors import DTypeError
from cortex_compute.frozen import frozen
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.normalization import vector_type
from cortex_compute.types import TensorType, bool_


@frozen
class Attending(Primitive):
    """What both have in common.  ``scale`` multiplies the scores."""

    scale: float = 1.0
    causal: bool = False
    masked: bool = False
    wide: ClassVar[tuple[str, ...]] = ("l",)

    @property
    def given(self) -> tuple[str, ...]:
        return tuple(name for name in self.operands if self.masked or name != "mask")

    def _expect(self, types: tuple[TensorType, ...]) -> tuple[TensorType, TensorType]:
        """The types of y and of the logarithms, for q, k, v and the mask."""
        q, k, v = types[:3]
        self.floating(q, k, v)
        fits = q.rank == k.rank == v.rank == 4 and q.shape[0] == k.shape[0] and q.shape[3] == k.shape[3]
        fits = fits and k.shape[:3] == v.shape[:3] and k.shape[2] > 0 and q.shape[2] % k.shape[2] == 0
        needs = "q (B, Tq, N, D), k (B, Tk, M, D) and v (B, Tk, M, E) with N a multiple of M"
        self.expect(fits, "q has shape {}, k {}, v {}; needs " + needs, q.shape, k.shape, v.shape)
        self.expect(k.shape[1] > 0, "k has shape {}; there is nothing to attend to", k.shape)
        if self.masked:
            whole, mask = (q.shape[0], q.shape[2], q.shape[1], k.shape[1]), types[3]
            good = mask.rank == 4 and all(m in (1, n) for m, n in zip(mask.shape, whole))
            self.expect(good, "mask has shape {}; needs {} or 1 for an axis", mask.shape, whole)
            if mask.dtype is not bool_:
                raise DTypeError(f"{self.name}: the mask is {mask.dtype}; needs bool")
        y = TensorType((*q.shape[:3], v.shape[3]), q.dtype)
        return y, TensorType((q.shape[0], q.shape[2], q.shape[1]), vector_type(q.dtype))

    def _products(self, *types: TensorType) -> int:
        """Pairs of queries and keys, over all heads; half of them where that is causal."""
        q, k = types[:2]
        pairs = q.shape[0] * q.shape[2] * q.shape[1] * k.shape[1]
        return pairs // 2 if self.causal else pairs


@frozen
class Attention(Attending):
    """y = softmax(scale q k^T) v over the keys, and l = log sum exp of the scores of each query.

    q (B, Tq, N, D), k (B, Tk, M, D), v (B, Tk, M, E)[, mask] -> y (B, Tq, N, E), l (B, N, Tq).  l is float32
    beside 16 bits, -inf where a query sees no key; no gradient flows from it.
    """

    operands = ("q", "k", "v", "mask")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 3 + self.masked)
        return self._expect(types)

    def flops(self, *types: TensorType) -> int:
        return self._products(*types) * (2 * types[0].shape[3] + 2 * types[2].shape[3] + 5)


@frozen
class AttentionGrad(Attending):
    """The gradients of `Attention` for a gradient g of y.

    With p = exp(scale q k^T - l), s = p (g v^T - sum(g y)):  dq = scale s k, dk = scale s^T q, dv = p^T g.
    q, k, v[, mask], y, l, g -> dq, dk, dv.
    """

    operands = ("q", "k", "v", "mask", "y", "l", "g")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 6 + self.masked)
        y, logs = self._expect(types)
        for name, t, needs in zip(("y", "l", "g"), types[-3:], (y, logs, y)):
            self.expect(t == needs, "{} is {}; needs {}", name, t, needs)
        return types[:3]

    def flops(self, *types: TensorType) -> int:
        return self._products(*types) * (6 * types[0].shape[3] + 4 * types[2].shape[3] + 10)
