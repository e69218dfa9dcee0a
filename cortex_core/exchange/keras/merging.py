"""Layers that make one value of several."""

from __future__ import annotations

from collections.abc import Sequence

from cortex_core.exchange.keras.at import At, flat, translates
from cortex_core.exchange.keras.build import Unfit, Value

MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")


def alike(at: At, given: Sequence[Value]) -> list[Value]:
    """The values with their axes in one order: as they lie, or as Keras has them where they differ."""
    ranks = {len(x.shape) for x in given}
    same = len({x.moved for x in given}) == 1 and (len(ranks) == 1 or not given[0].moved)
    return [*given] if same else [at.plain(x) for x in given]


def expect_one_mask(given: Sequence[Value]) -> None:
    """Raises `Unfit` where steps count in one value and not in another: here a value has one mask or none."""
    if len({x.mask for x in given}) > 1:
        raise Unfit("its inputs have different masks, or only some of them have one; that is not supported")


@translates(*MERGES, masks=True)
def merge(at: At) -> Value:
    given = list(flat(at.inputs))
    expect_one_mask(given)
    if len(given) == 1 and at.kind != "Subtract":
        return given[0]
    rank = max((len(x.shape) for x in given), default=0)
    return at.put(at.kind.lower(), [_raised(at, x, rank, i) for i, x in enumerate(alike(at, given))])


def _raised(at: At, x: Value, rank: int, number: int) -> Value:
    """The value with further axes of size 1 behind the batch."""
    if len(x.shape) == rank:
        return x
    if None in x.shape[1:]:
        raise Unfit(f"values of {rank} axes and of {len(x.shape)}, of any length, are not supported together")
    first = -1 if x.shape[0] is None else x.shape[0]
    shape = [*(1,) * (rank - len(x.shape)), first, *x.shape[1:]]
    return at.put("reshape", x, part=f"raised_{number}", shape=shape)


@translates("Concatenate", masks=True)
def concatenate(at: At) -> Value:
    return concatenated(at, list(flat(at.inputs)), at.get("axis", -1))


def concatenated(at: At, given: Sequence[Value], axis: int) -> Value:
    """The values one behind the other along an axis of Keras."""
    if len(given) == 1:
        return given[0]
    expect_one_mask(given)
    lies = alike(at, given)
    rank = len(lies[0].shape) + 1
    if not isinstance(axis, int) or not -rank < axis < rank or axis == 0:
        raise Unfit(f"axis is {axis!r:.40}; supported: 1 to {rank - 1}, or from the end")
    if lies[0].mask and axis % rank != rank - 1:
        raise Unfit("joining masked values along other axes than the last is not supported")
    here = axis % rank
    if lies[0].moved:
        here = rank - 1 if here == 1 else here - 1
    return at.put("concatenate", lies, axis=-1 if here == rank - 1 else here)


@translates("Dot")
def dot(at: At) -> Value:
    given, axes = at.several(), at.get("axes")
    if len(given) != 2:
        raise Unfit(f"it is called with {len(given)} values; expected two")
    both = [axes, axes] if isinstance(axes, int) else [*axes]
    return at.put("dot", given, axes=both, normalize=at.get("normalize", False))
