"""Truths: Keras 3 writes down how it makes masks, as operations."""

from __future__ import annotations

from collections.abc import Sequence

from cortex_core.exchange.keras.at import At, flat, translates
from cortex_core.exchange.keras.build import Unfit, Value

ANY_SINCE = (3,)
"""The version since which a step of a merged value counts that counts in any part, before in all; a part
without a mask then makes all steps count, before it says nothing."""


def merged_mask(at: At, given: Sequence[Value]) -> str | None:
    """Which steps count in a value that is made of several, element by element or with their channels."""
    told = list(dict.fromkeys(x.mask for x in given if x.mask))
    if at.version >= ANY_SINCE and any(x.mask is None for x in given):
        return None
    return joined_truths(at, "logical_or" if at.version >= ANY_SINCE else "logical_and", told)


def joined_mask(at: At, given: Sequence[Value]) -> str | None:
    """Which steps count in sequences that stand one behind the other."""
    masks = [x.mask for x in given if x.mask]
    if not masks:
        return None
    if len(masks) < len(given):
        raise Unfit("sequences with and without a mask, one behind the other, are not supported")
    return at.put("concatenate", _truths(at, masks), part="mask", axis=1).source


def joined_truths(at: At, kind: str, masks: Sequence[str]) -> str | None:
    """One mask of several."""
    if len(masks) < 2:
        return masks[0] if masks else None
    return at.put(kind, _truths(at, masks), part="mask").source


def _truths(at: At, masks: Sequence[str]) -> list[Value]:
    return [Value(mask, at.shape_of(mask), "bool") for mask in masks]


@translates("ops.NotEqual")
def not_equal(at: At) -> Value:
    x, value = _operands(at, 2)
    if not isinstance(x, Value) or not isinstance(value, (bool, int, float)):
        raise Unfit("only the comparison of a value with a number is supported")
    return at.put("not_equal", at.plain(x), value=float(value))


@translates("ops.Any")
def any_(at: At) -> Value:
    axis = at.get("axis", None)
    axes = [axis] if isinstance(axis, int) else [*(axis or ())]
    if len(axes) != 1:
        raise Unfit(f"axis is {axis!r:.60}; one axis is supported")
    return at.put("any", at.one(), axis=axes[0], keepdims=at.get("keepdims", False))


@translates("ops.LogicalOr", "ops.LogicalAnd")
def logical(at: At) -> Value:
    """A mask (B, T, 1) beside zeros (B, T, C), as joined values have it, holds for all channels."""
    given = [at.plain(x) for x in flat(at.inputs)]
    if len(given) != 2 or {x.dtype for x in given} != {"bool"}:
        raise Unfit("only truths of two values are supported")
    return at.put("logical_or" if at.kind == "ops.LogicalOr" else "logical_and", given)


@translates("ops.ZerosLike", "ops.OnesLike")
def constant(at: At) -> Value:
    """Truths, of floating values alone: a factor of 0, and whether that is not 0."""
    x, dtype = at.one(), at.get("dtype", None) or at.keyword("dtype")
    if dtype != "bool" or x.dtype != "float32":
        raise Unfit(f"of {x.dtype} as {dtype!r:.40}; supported: truths for floating values")
    number = 1.0 if at.kind == "ops.OnesLike" else 0.0
    return at.put("not_equal", at.put("scale", x, part="number", factor=0.0, offset=number), value=0.0)


def _operands(at: At, count: int) -> Sequence[object]:
    found = [x for x in at.inputs if x is not None]
    if len(found) != count:
        raise Unfit(f"it is called with {len(found)} operands; expected {count}")
    return found
