"""Tokens, masks, and layers at each step of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.keras import translators
from cortex_core.exchange.keras.at import At, flat, translates
from cortex_core.exchange.keras.model import Layer
from cortex_core.exchange.keras.recurrent import KINDS
from cortex_core.exchange.keras.value import Value

MASKS_SINCE = (2, 2, 3)
"""The version since which a TimeDistributed hands a mask to its layer; Keras 3 asks the layer for none."""

TAKE_MASKS = (*KINDS, "RNN", "Bidirectional", "Softmax", "MultiHeadAttention", "GlobalAveragePooling1D")


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
def time_distributed(at: At) -> Value | tuple[()]:
    """Its layer, or its model, of values without the axis of time, which then stands in its place again."""
    x, mask = at.one(), at.mask_of(at.any())
    length, *shape = x.shape
    of_each = mask if mask and len(at.shape_of(mask)) > 1 and at.version >= MASKS_SINCE else None
    given = replace(x, shape=tuple(shape), mask=of_each)
    found = _of_layer(at, given, mask) if at.model is None else at.model(given)
    if found is None:
        return ()  # (what is wrong with its model is told)
    if len(found) > 1:
        raise Unfit(f"it gives {len(found)} values at each step, which is not supported")
    y = at.at_each_step(at.layer, given).plain(found[0])
    return replace(y, shape=(length, *y.shape), mask=_mask_behind(at, y.mask, mask))


def _of_layer(at: At, x: Value, mask: str | None) -> Sequence[Value]:
    inner = at.get("layer")
    kind, config = inner["class_name"], inner["config"]
    translator = translators.find(kind)
    if translator is None:
        raise Unfit(f"it holds a {kind}, which is not supported at each step")
    if mask and not x.mask and kind in TAKE_MASKS and at.version >= MASKS_SINCE:
        raise Unfit(f"a {kind} at each step of a masked sequence is not supported")
    layer = Layer(at.layer.name, kind, config, (), at.next(at.left()))
    within = at.at_each_step(layer, x)
    found = translator(within)
    within.finish()
    return [*flat(found)]


def _mask_behind(at: At, inner: str | None, mask: str | None) -> str | None:
    """That of the layer inside, if it has one and the version of Keras knows it; else that of the steps."""
    if not MASKS_SINCE <= at.version < (3,):
        return mask
    if inner or not mask:
        return inner
    while len(at.shape_of(mask)) > 1:
        truths = Value(mask, at.shape_of(mask), "bool")
        mask = at.put("any", truths, part="mask", axis=-1).source
    return mask
