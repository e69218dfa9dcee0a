"""Softmax over the last axis.

Of a row with a NaN or +inf oneDNN makes NaN at that place alone; so a look at the result follows, and where
it is not finite, the whole row becomes NaN.  Log-softmax is left to NumPy: oneDNN's logarithm is off by up to
3e-6, which is much where the result is close to 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from cortex_compute.numpy_backend.bfloat16 import QUIET_NAN, widen
from cortex_compute.onednn_backend import constants as c
from cortex_compute.onednn_backend.backend import offers
from cortex_compute.onednn_backend.descriptors import PrimitiveDesc, strided
from cortex_compute.onednn_backend.fallback import finite
from cortex_compute.onednn_backend.recipe import HostCall, In, Out, Recipe, seconds
from cortex_compute.primitives.softmax import Softmax
from cortex_compute.protocol import Offer, Operand, Refusal, row_major
from cortex_compute.types import bfloat16

CALLS = 0  # NumPy makes several calls for each block of rows, and its cost counts none of them


@offers(Softmax)
def softmax(p: Softmax, operands: Sequence[Operand]) -> Offer | Refusal:
    x = operands[0].type
    if not row_major(operands[0]):
        return Refusal("oneDNN's softmax wants row-major operands")
    shape = math.prod(x.shape[:-1]), x.shape[-1]
    rows = strided(shape, (shape[1], 1), x.dtype)
    recipe = Recipe()
    recipe.call(
        PrimitiveDesc("softmax_forward", c.FORWARD_TRAINING, c.SOFTMAX, rows, rows, 1),
        {c.SRC: (In(0), rows), c.DST: (Out(0), rows)},
    )
    fine = finite(recipe, Out(0), x)
    recipe.calls.append(HostCall(lambda array: _whole_rows(array(Out(0)).reshape(shape), fine(array))))
    return recipe.offer(seconds(p.flops(x), 3 * x.nbytes, CALLS), reuse=((0, 0),))


def _whole_rows(y: np.ndarray, finite: Callable[[], bool]) -> Callable[[], None]:
    narrow = y.dtype == bfloat16.storage

    def spread() -> None:
        if not finite():
            numbers = widen(y) if narrow else y
            y[~np.isfinite(numbers).all(1)] = QUIET_NAN if narrow else np.nan

    return spread
