"""Attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_compute.types import dtype
from cortex_core.nn.functional.linear import dropout
from cortex_core.ops.lift import as_array
from cortex_core.ops.linear import matmul
from cortex_core.ops.pointwise import select
from cortex_core.ops.softmax import softmax


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Any:
    """softmax(q kᵀ scale) v.   q (..., L, E), k (..., S, E), v (..., S, F) -> (..., L, F)

    ``scale`` is 1 / sqrt(E) unless given.  ``attn_mask`` broadcasts to (..., L, S): booleans say which keys a
    query sees, numbers are added to the scores.  ``is_causal``: query i sees the keys up to i.  A query that
    sees no key gets 0.  ``dropout_p`` always applies: give 0 outside of training.  Vaswani et al., 2017.
    """
    if query.shape[-1:] != key.shape[-1:] or key.shape[-2:-1] != value.shape[-2:-1]:
        raise ShapeError(
            f"scaled_dot_product_attention: query {query.shape}, key {key.shape}, value {value.shape}; needs "
            "(..., L, E), (..., S, E), (..., S, F)"
        )
    if is_causal and attn_mask is not None:
        raise ArgumentError("scaled_dot_product_attention: attn_mask and is_causal both say what is seen")
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else float(scale)
    scores = matmul(query * factor, key, transpose_b=True)
    seen = np.tri(*scores.shape[-2:], dtype=np.bool_) if is_causal else attn_mask
    if seen is None:
        weights = softmax(scores)
    elif dtype(as_array(seen).dtype).kind == "bool":
        lowest = float(np.finfo(scores.dtype.storage).min)  # not -inf: a row of these has a softmax
        weights = select(seen, softmax(select(seen, scores, lowest)), 0.0)
    else:
        weights = softmax(scores + seen)
    return matmul(dropout(weights, dropout_p), value)
