"""Layers that make one value of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.keras.at import At, flat, translates
from cortex_core.exchange.keras.masks import ANY_SINCE, joined_mask, merged_mask
from cortex_core.exchange.keras.value import Value

ODD = ("Multiply", "Maximum", "Minimum")
"""What these give where a step of a masked value does not count differs between the versions since 3.4."""
MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")


def alike(at: At, given: Sequence[Value]) -> list[Value]:
    """The values with their axes in one order: as they lie, or as Keras has them where they differ; all of
    them floating, where one is.
    """
    if any(x.dtype == "float32" and not x.whole for x in given):
        given = [at.floats(x) for x in given]
    ranks = {len(x.shape) for x in given}
    same = len({x.moved for x in given}) == 1 and (len(ranks) == 1 or not given[0].moved)
    return [*given] if same else [at.plain(x) for x in given]


@translates(*MERGES)
def merge(at: At) -> Value:
    given = list(flat(at.inputs))
    if len(given) == 1 and at.kind != "Subtract":
        return given[0]
    rank = max((len(x.shape) for x in given), default=0)
    if at.kind in ODD and at.version >= ANY_SINCE and any(x.mask for x in given):
        raise Unfit(
            f"{at.kind} of masked values is not supported: it differs between the versions of Keras since 3.4"
        )
    raised = [_raised(at, x, rank, i) for i, x in enumerate(alike(at, given))]
    return replace(at.put(at.kind.lower(), raised), mask=merged_mask(at, given))


def _raised(at: At, x: Value, rank: int, number: int) -> Value:
    """The value with further axes of size 1 behind the batch."""
    if len(x.shape) == rank:
        return x
    if None in x.shape[1:]:
        raise Unfit(f"values of {rank} axes and of {len(x.shape)}, of any length, are not supported together")
    first = -1 if x.shape[0] is None else x.shape[0]
    shape = [*(1,) * (rank - len(x.shape)), first, *x.shape[1:]]
    return at.put("reshape", x, part=f"raised_{number}", shape=shape)


@translates("Concatenate")
def concatenate(at: At) -> Value:
    return concatenated(at, list(flat(at.inputs)), at.get("axis", -1))


def concatenated(at: At, given: Sequence[Value], axis: int) -> Value:
    """The values one behind the other along an axis of Keras."""
    if len(given) == 1:
        return given[0]
    lies = alike(at, given)
    rank = len(lies[0].shape) + 1
    if not isinstance(axis, int) or not -rank < axis < rank or axis == 0:
        raise Unfit(f"axis is {axis!r:.40}; supported: 1 to {rank - 1}, or from the end")
    here = axis % rank
    mask = joined_mask(at, given) if here == 1 < rank - 1 else merged_mask(at, given)
    if lies[0].moved:
        here = rank - 1 if here == 1 else here - 1
    y = at.put("concatenate", lies, axis=-1 if here == rank - 1 else here)
    return replace(y, mask=mask)


@translates("Dot")
def dot(at: At) -> Value:
    given, axes = at.several(), at.get("axes")
    if len(given) != 2:
        raise Unfit(f"it is called with {len(given)} values; expected two")
    both = [axes, axes] if isinstance(axes, int) else [*axes]
    return at.put("dot", given, axes=both, normalize=at.get("normalize", False))
