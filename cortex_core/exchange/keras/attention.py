"""Attention, with projections and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError
from cortex_core.exchange.build import Unfit
from cortex_core.exchange.keras.at import At, flat, translates
from cortex_core.exchange.keras.masks import joined_truths, loses_masks
from cortex_core.exchange.keras.recurrent import note_dropout
from cortex_core.exchange.keras.value import Value
from cortex_core.exchange.weights import ATTENTION, from_keras

MASKS_SINCE = (2, 10)
"""The version since which attention with projections sees the masks of its inputs, and hands one on."""

BLIND_SINCE = (3, 10)
"""The version since which a query that sees no key finds zeros where the layer drops weights: those use
another function than layers that drop none, whose queries find the mean (keras-team/keras#21149)."""


BUILT_WITH = ("query_shape", "key_shape", "value_shape")
"""What Keras 2 adds to the configuration of a layer that it has built: shapes that its inputs tell too."""


@translates("MultiHeadAttention")
def multi_head(at: At) -> Value:
    for key in BUILT_WITH:
        at.get(key, None)
    size = at.get("key_dim")
    value_size, axes = at.get("value_dim", None), at.get("attention_axes", None)
    if axes not in (None, 1, [1]):
        raise Unfit(f"attention_axes is {axes!r:.60}; supported: the axis of the steps")
    return _projected(
        at,
        heads=at.get("num_heads"),
        size=size,
        value_size=None if value_size == size else value_size,
        units=_units(at.get("output_shape", None)),
    )


@translates("GroupQueryAttention", "GroupedQueryAttention")
def grouped(at: At) -> Value:
    heads, key_heads = at.get("num_query_heads"), at.get("num_key_value_heads")
    at.get("flash_attention", None)
    return _projected(at, heads=heads, key_heads=key_heads, size=at.get("head_dim"))


def _projected(at: At, **sizes: Any) -> Value:
    query, value, key = _three(at, ("query", "value", "key"))
    if any(len(x.shape) != 2 for x in (query, value, key)):
        raise Unfit("attention over several axes is not supported")
    use_bias = at.get("use_bias", True)
    names = ("kernel", "bias")[: 1 + use_bias] * 4
    try:
        weights = from_keras(ATTENTION, at.arrays(*names))
    except ArgumentError as error:
        raise Unfit(str(error)) from None
    note_dropout(at, "dropout")
    fields = {**sizes, "use_bias": use_bias, "causal": _causal(at), **_seen(at, query, value, key)}
    sources = [query, key, value] if key != value else [query, key] if key != query else [query]
    made = at.put(ATTENTION, sources, weights=weights, **fields)
    return replace(made, mask=query.mask if at.version >= MASKS_SINCE else None)


def _units(shape: Any) -> int | None:
    """The channels of the output, of the shape that is asked for."""
    found = [shape] if shape is None or isinstance(shape, int) else [*shape]
    if len(found) != 1:
        raise Unfit(f"output_shape is {shape!r:.60}; supported: one axis of channels")
    return found[0]


def _seen(at: At, query: Value, value: Value, key: Value) -> dict[str, Any]:
    """The fields that say which keys each query sees."""
    whole = at.keyword("attention_mask")
    asked, keys = None, []
    if at.version >= MASKS_SINCE:
        asked, keys = at.mask_of(query, "query_mask"), [at.mask_of(value, "value_mask")]
        if key != value or at.keyword("key_mask") is not None:
            keys.append(at.mask_of(key, "key_mask"))
    seen = joined_truths(at, "logical_and", [mask for mask in dict.fromkeys(keys) if mask])
    if isinstance(whole, Value):
        if seen:
            raise Unfit("an attention_mask beside masks of its inputs is not supported")
        seen = at.plain(whole).source
    blind = at.get("dropout", 0) and at.version >= BLIND_SINCE
    unseen = "mean" if (seen or asked) and not blind else None
    told = {"mask": seen, "query_mask": asked, "unseen": unseen}
    constant = None if isinstance(whole, Value) else whole
    return told | ({"causal": True} if _is_causal(constant, query.shape[0], key.shape[0]) else {})


def _is_causal(whole: Any, *lengths: int | None) -> bool:
    """Whether a constant mask shows each query the keys up to its own; else it must show all."""
    if whole is None:
        return False
    seen = np.asarray(whole)
    fits = seen.ndim in (2, 3, 4) and all(a in (b, None) for a, b in zip(lengths, seen.shape[-2:]))
    if not fits or set(seen.shape[:-2]) - {1} or not np.isin(seen, (0, 1)).all():
        raise Unfit(f"its attention_mask is a constant of shape {[*seen.shape]}, which does not fit it")
    if seen.all():
        return False
    if not np.array_equal(seen.astype(bool), np.tril(np.ones_like(seen, bool))):
        raise Unfit("its attention_mask is a constant that is not the triangle of causal attention")
    return True


@translates("Attention", "AdditiveAttention")
def alone(at: At) -> Value:
    """Without projections."""
    query, value, key = _three(at, ("inputs",))
    additive = at.kind == "AdditiveAttention"
    at.expect("score_mode", "dot")
    use_scale = at.get("use_scale", additive)
    weights: dict[str, np.ndarray] = dict(zip(["scale"], at.arrays("scale"))) if use_scale else {}
    note_dropout(at, "dropout")
    asked, seen = _masks(at, query, value)
    fields = {"use_scale": use_scale, "mask": seen, "query_mask": asked, "causal": _causal(at)}
    sources = [query, key] if key == value else [query, key, value]
    kind = "additive_attention" if additive else "attention"
    made = at.put(kind, sources, weights=weights, **fields)
    return replace(made, mask=None if loses_masks(at) else query.mask)


def _masks(at: At, query: Value, value: Value) -> tuple[str | None, str | None]:
    """Which queries ask, and which keys they see."""
    given = at.keyword("mask")
    if given is None:
        return query.mask, value.mask
    found = [*given] if isinstance(given, (list, tuple)) else []
    if len(found) not in (2, 3) or not all(x is None or isinstance(x, Value) for x in found):
        raise Unfit("its mask is not [of the query, of the value], each None or a value of the model")
    asked, seen, *_ = (x and x.source for x in found)
    return asked, seen


def _causal(at: At) -> bool:
    """What the call says, or the configuration of old layers."""
    if at.keyword("return_attention_scores"):
        raise Unfit("return_attention_scores is not supported")
    asked = at.keyword("use_causal_mask")
    if asked not in (None, False, True):
        raise Unfit("its use_causal_mask is neither true nor false")
    return bool(at.get("causal", False) or asked)


def _three(at: At, names: Sequence[str]) -> tuple[Value, Value, Value]:
    """Query, value and key, in Keras's order."""
    given = [at.plain(x) for x in (*flat(at.inputs), *flat([at.keyword(name) for name in names]))]
    if not 2 <= len(given) <= 3:
        raise Unfit(f"it is called with {len(given)} values; expected query and value, and perhaps a key")
    query, value, *key = given
    return query, value, key[0] if key else value
