"""How the masks of several values become one."""

from __future__ import annotations

from collections.abc import Sequence

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.keras.at import At
from cortex_core.exchange.keras.value import Value

ANY_SINCE = (3, 4)
"""The version since which a step of a merged value counts that counts in any part, before in all; a part
without a mask then makes all steps count, before it says nothing."""


def loses_masks(at: At) -> bool:
    """Whether what is made of a list of values has no mask, whatever these have: from 3.0 to 3.3."""
    return (3,) <= at.version < ANY_SINCE


def merged_mask(at: At, given: Sequence[Value]) -> str | None:
    """Which steps count in a value that is made of several, element by element or with their channels."""
    told = list(dict.fromkeys(x.mask for x in given if x.mask))
    if loses_masks(at) or (at.version >= ANY_SINCE and any(x.mask is None for x in given)):
        return None
    return joined_truths(at, "logical_or" if at.version >= ANY_SINCE else "logical_and", told)


def joined_mask(at: At, given: Sequence[Value]) -> str | None:
    """Which steps count in sequences that stand one behind the other."""
    masks = [x.mask for x in given if x.mask]
    if not masks or loses_masks(at):
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
