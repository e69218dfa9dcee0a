"""Attention of one head without projections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cortex_compute.types import TensorType
from cortex_core.initializers import GlorotUniform, ones
from cortex_core.layers.expect import refuse
from cortex_core.layers.scope import Parameter, Scope
from cortex_core.ops.linear import matmul
from cortex_core.ops.pointwise import pointwise, select, tanh
from cortex_core.ops.reduce import sum as total
from cortex_core.ops.softmax import softmax
from cortex_core.ops.views import reshape
from cortex_core.registry import Initializer, Source, base, field, layer

UNSEEN = -1e9  # the score of a key that is not seen: next to any other its probability is 0


@pointwise
def _up_to_its_own(score: Any, query: Any, key: Any) -> Any:
    """A score where the key stands no later than the query."""
    return select(key <= query, score, UNSEEN)


def standing(queries: int, keys: int) -> tuple[np.ndarray, np.ndarray]:
    """Where queries (Tq, 1) and keys (Tk,) stand: far less than a triangle of truths (Tq, Tk)."""
    return np.arange(queries)[:, None], np.arange(keys)


@base
class _Attention:
    """What both share: `scores` says how well a key fits a query."""

    causal: bool = field(default=False, doc="position i sees the keys up to i")
    mask: Source | None = field(default=None, doc="(keys,): true where a key is seen")
    query_mask: Source | None = field(default=None, doc="(queries,): where false, the result is 0")

    def scores(self, p: Scope, q: Any, k: Any) -> Any:
        """q (B, Tq, C), k (B, Tk, C) -> (B, Tq, Tk)"""
        raise NotImplementedError

    def check_shapes(self, x: tuple[Any, ...]) -> None:
        """Refuses what is not [query and key and value] or [query, key, value]."""
        kind = self.kind  # type: ignore[attr-defined]
        if any(len(t.shape) != 3 for t in x):
            refuse(f"{kind} needs (length, channels)", *x)
        if len({x[0].shape[2], x[min(1, len(x) - 1)].shape[2]}) > 1:
            refuse(f"{kind} needs queries and keys of as many channels", *x)
        if len(x) == 3 and x[1].shape[1] != x[2].shape[1]:
            refuse(f"{kind} needs as many values as keys", *x)

    def forward(self, p: Scope, *x: Any, mask: Any = None, query_mask: Any = None) -> Any:
        self.check_shapes(x)
        q, k, v = x + x[-1:] * (3 - len(x))
        scores = self.scores(p, q, k)
        if self.causal:
            scores = _up_to_its_own(scores, *standing(*scores.shape[1:]))
        if mask is not None:
            seen = self._truths(mask, k, "mask")
            scores = select(reshape(seen, (seen.shape[0], 1, seen.shape[1])), scores, UNSEEN)
        y = matmul(softmax(scores, -1), v)
        if query_mask is None:
            return y
        asked = self._truths(query_mask, q, "query_mask")
        return select(reshape(asked, (*asked.shape, 1)), y, 0.0)

    def _truths(self, mask: Any, x: Any, name: str) -> Any:
        if mask.shape != x.shape[:2] or mask.dtype.kind not in ("bool", "int"):
            kind = self.kind  # type: ignore[attr-defined]
            refuse(f"{kind} needs a {name} of one truth for each of {x.shape[1]} positions", mask)
        return mask if mask.dtype.kind == "bool" else mask != 0


@layer("attention", inputs=(1, 2, 3))
class Attention(_Attention):
    """softmax(q k^T) v, or softmax(scale q k^T) v with a scale that is learnt.

    from: x (B, T, C), or [query, key and value], or [query, key, value]: query (B, Tq, C), key (B, Tk, C),
    value (B, Tk, E) -> (B, Tq, E); scale ().  A query that sees no key finds the mean of all values.
    Luong et al., 2015.

    Example:
        inputs: {sequence: [3, 2]}
        layers: [attention: {use_scale: true}]
    """

    use_scale: bool = field(default=False, doc="multiplies the scores by a number that is learnt")

    def parameters(self, *x: TensorType) -> Iterator[Parameter]:
        self.check_shapes(x)
        if self.use_scale:
            yield Parameter("scale", (), ones, precise=True)

    def scores(self, p: Scope, q: Any, k: Any) -> Any:
        found = matmul(q, k, False, True)
        return found * p.scale if self.use_scale else found


@layer("additive_attention", inputs=(1, 2, 3))
class AdditiveAttention(_Attention):
    """softmax(sum(scale tanh(q + k))) v, summed over the channels.

    from: x (B, T, C), or [query, key and value], or [query, key, value]: query (B, Tq, C), key (B, Tk, C),
    value (B, Tk, E) -> (B, Tq, E); scale (C,).  A query that sees no key finds the mean of all values.
    Bahdanau et al., 2015.

    Example:
        inputs: {sequence: [3, 2]}
        layers: [additive_attention]
    """

    use_scale: bool = field(default=True, doc="multiplies each channel by a number that is learnt")
    kernel_initializer: Initializer = field(default=GlorotUniform(), doc="initial scale")

    def parameters(self, *x: TensorType) -> Iterator[Parameter]:
        self.check_shapes(x)
        if self.use_scale:
            yield Parameter("scale", (x[0].shape[2],), self.kernel_initializer)

    def scores(self, p: Scope, q: Any, k: Any) -> Any:
        (batch, queries, channels), keys = q.shape, k.shape[1]
        sums = reshape(q, (batch, queries, 1, channels)) + reshape(k, (batch, 1, keys, channels))
        found = tanh(sums)
        return total(found * p.scale if self.use_scale else found, -1)
