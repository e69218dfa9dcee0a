"""Attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_compute.types import dtype
from cortex_core.nn.functional.linear import dropout
from cortex_core.ops.arrange import repeat_interleave
from cortex_core.ops.attention import attention
from cortex_core.ops.lift import as_array
from cortex_core.ops.linear import matmul
from cortex_core.ops.pointwise import logical_and, select
from cortex_core.ops.softmax import softmax
from cortex_core.ops.views import broadcast_to, reshape, transpose


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """softmax(q kᵀ scale) v.   q (..., L, E), k (..., S, E), v (..., S, F) -> (..., L, F)

    ``scale`` is 1 / sqrt(E) unless given.  ``attn_mask`` broadcasts to (..., L, S): booleans say which keys a
    query sees, numbers are added to the scores.  ``is_causal``: query i sees the keys up to i.  A query that
    sees no key gets 0.  ``dropout_p`` always applies: give 0 outside of training.  ``enable_gqa``: the heads,
    the third axis from the end, of q may be a multiple of those of k and v, which groups of them share.
    Without numbers to be added and without dropout the scores are never stored.  Vaswani et al., 2017.
    """
    q, k, v = _fitting(as_array(query), as_array(key), as_array(value), enable_gqa)
    if is_causal and attn_mask is not None:
        raise ArgumentError("scaled_dot_product_attention: attn_mask and is_causal both say what is seen")
    seen, added = split_mask(attn_mask)
    if added is None and not dropout_p:
        return _blockwise(q, k, v, seen, is_causal, scale, enable_gqa)
    groups = q.shape[-3] // k.shape[-3] if enable_gqa else 1
    if groups > 1:
        k, v = (repeat_interleave(x, groups, len(x.shape) - 3) for x in (k, v))
    weights = attention_weights(q, k, seen, added, is_causal, scale)
    return matmul(dropout(weights, dropout_p), v)


def attention_weights(
    q: Any, k: Any, seen: Any = None, added: Any = None, causal: bool = False, scale: float | None = None
) -> Any:
    """softmax(q kᵀ scale + added) over the keys that are seen.   q (..., L, E), k (..., S, E) -> (..., L, S)

    A query that sees no key has weights of 0.
    """
    factor = 1 / math.sqrt(max(1, q.shape[-1])) if scale is None else float(scale)
    scores = matmul(q * factor, k, transpose_b=True)
    if added is not None:
        scores, visible = scores + added, as_array(added) != -np.inf
        seen = visible if seen is None else logical_and(seen, visible)
    if causal:
        before = np.tri(*scores.shape[-2:], dtype=np.bool_)
        seen = before if seen is None else select(before, seen, False)
    if seen is None:
        return softmax(scores)
    lowest = -65504.0 if scores.dtype.itemsize == 2 else float(np.finfo(scores.dtype.storage).min)
    return select(seen, softmax(select(seen, scores, lowest)), 0.0)  # not -inf: a row of these has none


def split_mask(mask: Any) -> tuple[Any, Any]:
    """A mask as what is seen, or as what is added to the scores."""
    if mask is None:
        return None, None
    kind = dtype(as_array(mask).dtype).kind
    if kind == "int":
        raise ArgumentError(f"a mask of {as_array(mask).dtype}: needs booleans, or floats to be added")
    return (mask, None) if kind == "bool" else (None, mask)


def _blockwise(q: Any, k: Any, v: Any, seen: Any, causal: bool, scale: float | None, grouped: bool) -> Any:
    """By the op, whose heads are the second axis from the end."""
    rank = 4 if grouped and len(q.shape) == 3 else len(q.shape)  # three axes with heads among them
    mask = None if seen is None else _four_axes(as_array(seen), rank, q.shape[:-2])
    q4, k4, v4 = (transpose(_four_axes(x, rank, x.shape[:-2]), (0, 2, 1, 3)) for x in (q, k, v))
    y = transpose(attention(q4, k4, v4, mask, causal, scale), (0, 2, 1, 3))
    return reshape(y, (*q.shape[:-1], v.shape[-1]))


def _four_axes(x: Any, rank: int, lead: tuple[int, ...]) -> Any:
    """(..., m, n) as (batch, heads, m, n): axes of size 1 where there are fewer, else one batch of all."""
    x = reshape(x, ((1,) * (rank - len(x.shape)) + tuple(x.shape)))
    if rank <= 3:
        return reshape(x, (*(x.shape[:-2] or (1,)), 1, *x.shape[-2:]))
    if rank == 4:
        return x
    x = broadcast_to(x, (*lead[:-1], *x.shape[-3:]))
    return reshape(x, (math.prod(lead[:-1]), *x.shape[-3:]))


def _fitting(q: Any, k: Any, v: Any, grouped: bool) -> tuple[Any, Any, Any]:
    """The operands with equal axes before the last two, but for the heads where they are ``grouped``."""
    told = ShapeError(
        f"scaled_dot_product_attention: query {q.shape}, key {k.shape}, value {v.shape}; needs (..., L, E), "
        "(..., S, E), (..., S, F)" + (", the heads of the query a multiple of the others'" if grouped else "")
    )
    if min(map(len, (q.shape, k.shape, v.shape))) < 2 or q.shape[-1] != k.shape[-1]:
        raise told
    if grouped:
        heads = k.shape[-3:-2]
        if (
            q.shape[:-3] != k.shape[:-3]
            or k.shape[:-1] != v.shape[:-1]
            or not heads
            or not heads[0]
            or q.shape[-3] % heads[0]
        ):
            raise told
        return q, k, v
    try:
        lead = np.broadcast_shapes(*(x.shape[:-2] for x in (q, k, v)))
    except ValueError:
        raise told from None
    if k.shape[-2] != v.shape[-2]:
        raise told
    q, k, v = (broadcast_to(x, (*lead, *x.shape[-2:])) for x in (q, k, v))
    return q, k, v
