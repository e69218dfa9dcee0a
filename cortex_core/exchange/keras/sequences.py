"""Tokens, masks, and layers at each step of a sequence."""

from __future__ import annotations

from dataclasses import replace

from cortex_core.exchange.keras.at import TRANSLATORS, At, translates
from cortex_core.exchange.keras.build import Unfit, Value
from cortex_core.exchange.keras.model import Layer
from cortex_core.exchange.keras.recurrent import KINDS, mask_of

TAKE_MASKS = (*KINDS, "RNN", "Bidirectional", "Softmax", "MultiHeadAttention")


@translates("Embedding")
def embedding(at: At) -> Value:
    x, masks = at.one(), bool(at.get("mask_zero", False))
    if x.dtype == "float32":
        raise Unfit("its tokens are computed as floating numbers; an input, or whole numbers, are supported")
    (table,) = at.arrays("embeddings")
    sizes = {"tokens": at.get("input_dim"), "units": at.get("output_dim")}
    y = at.put("embedding", x, weights={"table": table}, **sizes, mask_zero=masks)
    return replace(y, mask=f"{y.source}.mask" if masks else None)


@translates("Masking")
def masking(at: At) -> Value:
    y = at.put("masking", at.one(), value=float(at.get("mask_value", 0.0)))
    return replace(y, mask=f"{y.source}.mask")


def masked_mean(at: At, x: Value, mask: str) -> Value:
    """The mean of the steps that count."""
    y = at.put("masked_mean", at.plain(x), mask=mask, keepdims=at.get("keepdims", False))
    return replace(y, mask=None)


@translates("TimeDistributed")
def time_distributed(at: At) -> Value:
    x = at.one()
    inner = at.get("layer")
    kind, config = inner["class_name"], inner["config"]
    translator = TRANSLATORS.get(kind)
    if translator is None:
        raise Unfit(f"it holds a {kind}, which is not supported at each step")
    mask = mask_of(at, x)
    if mask and kind in TAKE_MASKS:
        raise Unfit(f"a {kind} at each step of a masked sequence is not supported")
    length, *shape = x.shape
    layer = Layer(at.layer.name, kind, config, (), at.next(at.left()))
    within = at.at_each_step(layer, replace(x, shape=tuple(shape), mask=None))
    y = translator(within)
    within.finish()
    if not isinstance(y, Value):
        if len(y) > 1:
            raise Unfit(f"a {kind} that gives several values is not supported at each step")
        (y,) = y
    y = within.plain(y)
    return replace(y, shape=(length, *y.shape), mask=mask)
