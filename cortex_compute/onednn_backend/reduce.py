"""Sums and means over the last axes; for others, and for extremes, oneDNN has only its slow reference."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cortex_compute.onednn_backend import constants as c
from cortex_compute.onednn_backend.backend import offers
from cortex_compute.onednn_backend.descriptors import PrimitiveDesc, strided
from cortex_compute.onednn_backend.recipe import In, Out, Recipe, seconds
from cortex_compute.primitives.reduce import Reduce
from cortex_compute.protocol import Offer, Operand, Refusal, row_major

KINDS = {"sum": c.REDUCE_SUM, "mean": c.REDUCE_MEAN}
LONGEST = 2048  # elements: oneDNN adds them up in 16 sums, and in a longer one roundings add up


@offers(Reduce)
def reduce(p: Reduce, operands: Sequence[Operand]) -> Offer | Refusal:
    if p.kind not in KINDS or p.body is not None:
        return Refusal("oneDNN reduces to the sum or the mean of an operand as it is")
    shape, dtype = operands[0].type
    last = tuple(range(len(shape) - len(p.axes), len(shape)))
    if not p.axes or p.axes != last or not row_major(operands[0]):
        return Refusal("oneDNN has fast sums over the last axes of a row-major operand alone")
    length = math.prod(shape[a] for a in p.axes)
    if length > LONGEST:
        return Refusal(f"oneDNN's sum of more than {LONGEST} elements is not exact enough")
    rows = math.prod(shape) // length
    source, target = strided((rows, length), (length, 1), dtype), strided((rows, 1), (1, 1), dtype)
    recipe = Recipe()
    recipe.call(
        PrimitiveDesc("reduction", KINDS[p.kind], source, target, 0.0, 0.0),
        {c.SRC: (In(0), source), c.DST: (Out(0), target)},
    )
    return recipe.offer(seconds(p.flops(operands[0].type), p.nbytes(operands[0].type)))
