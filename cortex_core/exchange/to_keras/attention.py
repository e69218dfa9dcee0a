"""Attention, with projections and without."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cortex_core.exchange.to_keras.at import At, exports
from cortex_core.exchange.to_keras.graph import Tensor, Weights
from cortex_core.exchange.to_keras.masks import truths

PARTS = ("query", "key", "value", "output")


@exports(
    "multi_head_attention",
    to="`MultiHeadAttention`; with fewer `key_heads` `GroupQueryAttention`",
    refuses="`rotary`; `query_mask` without `unseen: mean`; `key_heads` with other `value_size` or `units`",
)
def multi_head(at: At) -> Tensor:
    layer = at.layer
    if layer.rotary:
        at.fail("Keras has no rotary positions; train it with a positional_encoding")
    query, key, value = at.inputs + at.inputs[-1:] * (3 - len(at.inputs))
    width = at.array("query_kernel").shape[1]
    size, of_values = width // layer.heads, layer.value_size or width // layer.heads
    keywords: dict[str, Any] = {"use_causal_mask": True} if layer.causal else {}
    keywords |= _masks(at)
    args = (query, value) if key is value else (query, value, key)
    if (layer.key_heads or layer.heads) != layer.heads:
        y = _grouped(at, args, keywords, size)
    else:
        config = {
            "num_heads": layer.heads,
            "key_dim": size,
            "value_dim": of_values,
            "output_shape": at.shape[-1:],
        }
        weights = _weights(at, layer.heads, "")
        y = at.put(
            "MultiHeadAttention", *args, keywords=keywords, weights=weights, use_bias=layer.use_bias, **config
        )
    return replace(y, mask=str(at.source("query_mask")))


def _grouped(at: At, args: tuple[Tensor, ...], keywords: dict[str, Any], size: int) -> Tensor:
    layer = at.layer
    if at.shape[-1] != args[0].shape[-1] or (layer.value_size or size) != size:
        at.fail(
            "Keras has fewer key_heads only where values are as wide as keys, and the output as the query"
        )
    config = {"head_dim": size, "num_query_heads": layer.heads, "num_key_value_heads": layer.key_heads}
    weights = _weights(at, layer.heads, "_")
    return at.put(
        "GroupQueryAttention", *args, keywords=keywords, weights=weights, use_bias=layer.use_bias, **config
    )


def _weights(at: At, heads: int, private: str) -> Weights:
    """(in, heads, size) for what the heads take, (heads, size, out) for what they give."""
    found: dict[str, list[np.ndarray]] = {}
    size = at.array("query_kernel").shape[1] // heads
    for name in PARTS:
        kernel = at.array(f"{name}_kernel")
        if name == "output":
            each: tuple[int, ...] = (heads, -1, kernel.shape[1])
        else:
            own = heads if name == "query" else at.layer.key_heads or heads
            each = (len(kernel), own, -1)
        arrays = [kernel.reshape(each)]
        if at.layer.use_bias:
            bias = at.array(f"{name}_bias")
            arrays.append(bias if name == "output" else bias.reshape(each[1], -1))
        found[f"{private}{name}_dense"] = arrays
    return found if size else {}


def _masks(at: At) -> dict[str, Tensor | None]:
    """Which keys are seen: of all queries, or of each; and which queries ask."""
    mask, asked = (truths(at, at.named.get(name)) for name in ("mask", "query_mask"))
    if asked is not None and at.layer.unseen != "mean":
        told = "a query that does not ask finds 0 here, and in Keras the mean of all values"
        at.fail(f"{told}; 'unseen: mean' is that, or leave the query_mask to what follows")
    if mask is not None and at.layer.unseen != "mean":
        at.note("a query that sees no key finds 0 here, and the mean of all values in Keras")
    whole = mask is not None and len(mask.shape) == 2
    return {("attention_mask" if whole else "value_mask"): mask, "query_mask": asked}


@exports("attention", "additive_attention", to="`Attention`, `AdditiveAttention`")
def alone(at: At) -> Tensor:
    layer = at.layer
    query, key, *value = at.inputs * (2 if len(at.inputs) == 1 else 1)
    masks = [truths(at, at.named.get(name)) for name in ("query_mask", "mask")]
    keywords: dict[str, Any] = {"mask": masks} if any(m is not None for m in masks) else {}
    if layer.causal:
        keywords["use_causal_mask"] = True
    kind = "Attention" if at.kind == "attention" else "AdditiveAttention"
    weights = at.arrays("scale") if layer.use_scale else []
    args = [query, *(value or [key]), *([key] if value else [])]
    y = at.put(kind, args, keywords=keywords, weights=weights, use_scale=layer.use_scale)
    return replace(y, mask=str(at.source("query_mask")))
