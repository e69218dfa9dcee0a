"""Operands in a layout of oneDNN's own choice, which `Copy` makes.

A layout's key stands, in a table of this process, for oneDNN's description, and for that of the row-major
operand that is copied.  The table has a line for each shape and layout of weights that was ever asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

from cortex_compute.onednn_backend.backend import offers
from cortex_compute.onednn_backend.descriptors import MemoryDesc
from cortex_compute.onednn_backend.recipe import In, Out, Recipe, seconds
from cortex_compute.primitives.elementwise import Copy
from cortex_compute.protocol import ANY, ROW_MAJOR, Layout, Offer, Operand, Refusal, row_major

PREFIX = "onednn layout "


class Packed(NamedTuple):
    """An operand as it lies row-major, and as oneDNN wants it."""

    plain: MemoryDesc
    wanted: MemoryDesc


_table: dict[str, Packed] = {}


def layout_of(plain: MemoryDesc, wanted: MemoryDesc) -> Layout:
    """The layout of an operand that ``plain`` describes row-major."""
    if plain == wanted:
        return ROW_MAJOR
    packed, nbytes = Packed(plain, wanted), wanted.nbytes
    keys = (f"{PREFIX}{plain.name} in {nbytes} bytes, {n}" for n in count())  # few are alike so far
    return Layout(key=next(k for k in keys if _table.setdefault(k, packed) == packed), nbytes=nbytes)


def packed(layout: Layout) -> Packed | None:
    """What a layout's key stands for; None where the key is not from here."""
    return _table.get(layout.key)


def is_packed(operand: Operand) -> bool:
    """Whether the operand lies as oneDNN chose, or will."""
    return operand.layout == ANY or packed(operand.layout) is not None


def with_packed(operands: Sequence[Operand], layout: Layout) -> tuple[Layout, ...]:
    """The layouts of a product's operands, the second one's being ``layout``, and of its result."""
    first, _, *rest = (o.layout for o in operands)
    return (first, layout, *rest, ROW_MAJOR)


@offers(Copy)
def copy(p: Copy, operands: Sequence[Operand]) -> Offer | Refusal:
    found = packed(p.layout)
    if found is None:
        return Refusal("oneDNN copies into its own layouts alone")
    if not row_major(operands[0]):
        return Refusal("oneDNN's reorder is described for a row-major operand")
    recipe = Recipe()
    recipe.reorder(In(0), found.plain, Out(0), found.wanted)
    return recipe.offer(seconds(0, p.nbytes(operands[0].type)))
