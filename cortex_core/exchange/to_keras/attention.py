"""Attention, with projections and without."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cortex_core.exchange.to_keras.at import At, Shape, exports
from cortex_core.exchange.to_keras.graph import Tensor, Weights
from cortex_core.exchange.to_keras.masks import truths

PARTS = ("query", "key", "value", "output")
GROUPED = "GroupQueryAttention"


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
    keywords = {"use_causal_mask": layer.causal or None, **_masks(at, key)}
    args = (query, value) if key is value else (query, value, key)
    kind, config = _few_keys(at) if layer.key_heads not in (None, layer.heads) else _sizes(at)
    weights = _weights(at, "_" if kind == GROUPED else "")
    return at.put(kind, *args, keywords=keywords, weights=weights, use_bias=layer.use_bias, **config)


def _size(at: At) -> int:
    """Channels of a head of queries."""
    return int(at.array("query_kernel").shape[1]) // int(at.layer.heads)


def _sizes(at: At) -> tuple[str, dict[str, Any]]:
    size = _size(at)
    of_values = at.layer.value_size or size
    if of_values != size:
        at.note("Keras on JAX cannot compute values that are not as wide as keys; TensorFlow and PyTorch do")
    config = {"num_heads": at.layer.heads, "key_dim": size, "value_dim": of_values}
    return "MultiHeadAttention", {**config, "output_shape": [at.shape[-1]]}


def _few_keys(at: At) -> tuple[str, dict[str, Any]]:
    layer, size = at.layer, _size(at)
    if at.shape[-1] != at.inputs[0].shape[-1] or (layer.value_size or size) != size:
        told = "Keras has fewer key_heads where values are as wide as keys, and the output as the query"
        at.fail(f"{told}; train it with units and value_size as they are by default")
    return GROUPED, {"head_dim": size, "num_query_heads": layer.heads, "num_key_value_heads": layer.key_heads}


def _weights(at: At, private: str) -> Weights:
    """(in, heads, size) for what the heads take, (heads, size, out) for what they give."""
    heads = at.layer.heads
    found: dict[str, list[np.ndarray]] = {}
    for name in PARTS:
        kernel = at.array(f"{name}_kernel")
        own = at.layer.key_heads or heads if name in ("key", "value") else heads
        last = name == "output"
        arrays = [kernel.reshape((own, -1, kernel.shape[1]) if last else (len(kernel), own, -1))]
        if at.layer.use_bias:
            bias = at.array(f"{name}_bias")
            arrays.append(bias if last else bias.reshape(own, -1))
        found[f"{private}{name}_dense"] = arrays
    return found


def _masks(at: At, key: Tensor) -> dict[str, Tensor | None]:
    """Which keys are seen, of all queries or of each.

    A mask of queries is one of pairs here: given as such it changes nothing in Keras on JAX.
    """
    mask, asked = (truths(at, at.named.get(name), name) for name in ("mask", "query_mask"))
    if asked is not None and at.layer.unseen != "mean":
        told = "a query that does not ask finds 0 here, and in Keras the mean of all values"
        at.fail(f"{told}; 'unseen: mean' is that, or leave the query_mask to what follows")
    if mask is not None and at.layer.unseen != "mean":
        at.note("a query that sees no key finds 0 here, and the mean of all values in Keras")
    if asked is not None:
        return {"attention_mask": _of_pairs(at, asked, mask, key)}
    return {"value_mask" if mask is not None and len(mask.shape) == 1 else "attention_mask": mask}


def _of_pairs(at: At, asked: Tensor, mask: Tensor | None, key: Tensor) -> Tensor:
    """Which query sees which key, (queries, keys)."""
    pairs = (*asked.shape, *key.shape[:1])
    rows = _reshaped(at, asked, (*asked.shape, 1), "rows")
    if mask is None:
        (count,) = at.known(Tensor(key.shape[:1]), "the mask of its queries is as wide as there are keys")
        return at.op("Tile", rows, part="pairs", shape=pairs, gives="bool", repeats=[1, 1, count])
    if len(mask.shape) == 1:
        mask = _reshaped(at, mask, (1, *mask.shape), "columns")
    return at.op("LogicalAnd", rows, mask, part="pairs", shape=pairs, gives="bool")


def _reshaped(at: At, x: Tensor, shape: Shape, part: str) -> Tensor:
    free = [-1 if n is None else n for n in shape]
    return at.put("Reshape", x, part=part, shape=shape, gives="bool", target_shape=free)


@exports("attention", "additive_attention", to="`Attention`, `AdditiveAttention`")
def alone(at: At) -> Tensor:
    layer = at.layer
    query, key, *value = at.inputs * (2 if len(at.inputs) == 1 else 1)
    masks = [truths(at, at.named.get(name), name) for name in ("query_mask", "mask")]
    keywords: dict[str, Any] = {"mask": masks} if any(m is not None for m in masks) else {}
    if layer.causal:
        keywords["use_causal_mask"] = True
    kind = "Attention" if at.kind == "attention" else "AdditiveAttention"
    weights = at.arrays("scale") if layer.use_scale else []
    args = [query, *(value or [key]), *([key] if value else [])]
    y = at.put(kind, args, keywords=keywords, weights=weights, use_scale=layer.use_scale)
    return replace(y, mask=str(at.source("query_mask")))
