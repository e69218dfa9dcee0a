"""Scaled-dot-product attention over sequences of heads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError
from cortex_compute.primitives.attention import Attending, Attention, AttentionGrad
from cortex_core.ops import reduce
from cortex_core.ops.apply import apply
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import decomposition_of, gradient_of
from cortex_core.ops.linear import matmul
from cortex_core.ops.pointwise import cast, exp, isfinite, log, pointwise, select
from cortex_core.ops.views import reshape, transpose


def attention(
    q: Any, k: Any, v: Any, mask: Any | None = None, causal: bool = False, scale: float | None = None
) -> Any:
    """y = softmax(scale q k^T) v over the keys that a query sees, for each head.

    q (B, Tq, N, D), k (B, Tk, M, D), v (B, Tk, M, E) -> (B, Tq, N, E), where head n of q sees head
    n // (N / M) of k and v.  ``scale`` is 1 / sqrt(D) unless given.  ``mask``: bool, (B, N, Tq, Tk) or 1 in
    the place of any of these, true where a query sees a key.  ``causal``: query i sees the keys 0 to i.
    A query that sees no key gives 0.  Keys and values that nobody sees must be finite all the same.
    With p = softmax(scale q k^T) and s = p (g v^T - sum(g y)):
    dq = scale s k;  dk = scale s^T q;  dv = p^T g
    """
    scale = 1 / math.sqrt(max((1, *q.shape[-1:]))) if scale is None else float(scale)
    if not math.isfinite(scale):
        raise ArgumentError(f"attention: scale is {scale}, expected a finite number")
    seen = () if mask is None else (mask,)
    return apply(Attention(scale, causal, mask is not None), q, k, v, *seen)[0]


@gradient_of(Attention)
def _attention(node: Node, g: Any, g_l: Any) -> Any:
    """With p = softmax(scale q k^T) and s = p (g v^T - sum(g y)):
    dq = scale s k,  dk = scale s^T q,  dv = p^T g

    Of y alone; a gradient of the logarithms is left to the decomposition.
    """
    if g_l is not None:
        return NotImplemented
    p = node.primitive
    assert isinstance(p, Attention)
    return apply(AttentionGrad(p.scale, p.causal, p.masked), *node.inputs, *node.outputs, g)


@pointwise
def _power(score: Any, seen: Any, largest: Any) -> Any:
    """exp(score - largest), 0 where the key is not seen; no infinity is subtracted from another one."""
    return select(seen, exp(select(seen, score - largest, 0.0)), 0.0)


@pointwise
def _finite(x: Any) -> Any:
    return select(isfinite(x), x, 0.0)


@pointwise
def _some(total: Any) -> Any:
    return select(total > 0, total, 1.0)


@pointwise
def _logarithm(total: Any, largest: Any) -> Any:
    return select(total > 0, log(select(total > 0, total, 1.0)) + largest, -math.inf)


class _Heads:
    """The operands with grouped heads side by side, (B, M, N / M, T, D), and the scores between them.

    ``p`` are the probabilities, ``total`` and ``largest`` what their logarithm is made of.
    """

    def __init__(self, attending: Attending, q: Any, k: Any, v: Any, mask: Any | None) -> None:
        self.scale, self.heads = attending.scale, k.shape[2]
        self.wide = "float64" if str(q.dtype) == "float64" else "float32"
        self.q, self.k, self.v = (self.split(x) for x in (q, k, v))
        score = matmul(self.q, self.k, False, True) * self.scale
        seen = self._seen(attending.causal, mask, q.shape[1], k.shape[1])
        self.largest = _finite(reduce.max(select(seen, score, -math.inf), -1, keepdims=True))
        power = _power(score, seen, self.largest)
        self.total = reduce.sum(power, -1, keepdims=True)
        self.p = power / _some(self.total)

    def split(self, x: Any) -> Any:
        """(B, T, N, D) as (B, M, N / M, T, D), in the type in which is computed."""
        b, t, n, d = x.shape
        grouped = reshape(x, (b, t, self.heads, n // self.heads, d))
        return cast(transpose(grouped, (0, 2, 3, 1, 4)), self.wide)

    def joined(self, x: Any, like: Any) -> Any:
        """The way back; heads of k and v get the sum over the heads that share them."""
        if like.shape[2] == self.heads and x.shape[2] > 1:
            x = reduce.sum(x, 2, keepdims=True)
        return cast(reshape(transpose(x, (0, 3, 1, 2, 4)), like.shape), like.dtype)

    def _seen(self, causal: bool, mask: Any | None, queries: int, keys: int) -> Any:
        seen = np.tri(queries, keys, dtype=bool) if causal else np.ones((queries, keys), bool)
        if mask is None:
            return seen
        b, n, tq, tk = mask.shape
        split = (self.heads, n // self.heads) if n > 1 else (1, 1)
        return select(seen, reshape(mask, (b, *split, tq, tk)), False)


@decomposition_of(Attention)
def _attention_decomposed(p: Attention, q: Any, k: Any, v: Any, mask: Any = None) -> tuple[Any, Any]:
    h = _Heads(p, q, k, v, mask)
    b, t, n, _ = q.shape
    y = reshape(transpose(matmul(h.p, h.v), (0, 3, 1, 2, 4)), (b, t, n, v.shape[3]))
    return cast(y, q.dtype), reshape(_logarithm(h.total, h.largest), (b, n, t))


@decomposition_of(AttentionGrad)
def _attention_gradient_decomposed(p: AttentionGrad, q: Any, k: Any, v: Any, *rest: Any) -> tuple[Any, ...]:
    """The probabilities are computed again, so that q and k are differentiated through them; the saved y and
    l get nothing.
    """
    *mask, _, _, g = rest
    h = _Heads(p, q, k, v, *(mask or [None]))
    g = h.split(g)
    s = matmul(g, h.v, False, True)
    s = h.p * (s - reduce.sum(h.p * s, -1, keepdims=True)) * h.scale
    dq, dk, dv = matmul(s, h.k), matmul(s, h.q, True), matmul(h.p, g, True)
    return h.joined(dq, q), h.joined(dk, k), h.joined(dv, v)
