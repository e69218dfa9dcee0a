"""Softmax over the last axis.

Of a row with a NaN or +inf oneDNN makes NaN at that place alone; so a look at the result follows, and where
the sum of squares is not finite, the whole row becomes NaN.  Log-softmax is left to NumPy: oneDNN's logarithm
is off by up to 3e-6, which is much where the result is close to 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from cortex_compute.numpy_backend.memory import row_major
from cortex_compute.onednn_backend import constants as c
from cortex_compute.onednn_backend.backend import offers
from cortex_compute.onednn_backend.descriptors import PrimitiveDesc, strided
from cortex_compute.onednn_backend.fallback import Arrays
from cortex_compute.onednn_backend.recipe import HostCall, In, Out, Recipe, seconds
from cortex_compute.primitives.softmax import Softmax
from cortex_compute.protocol import Offer, Operand, Refusal
from cortex_compute.types import float32

CALLS = 0  # NumPy makes several calls for each block of rows, and its cost counts none of them


@offers(Softmax)
def softmax(p: Softmax, operands: Sequence[Operand]) -> Offer | Refusal:
    x = operands[0].type
    if not row_major(operands[0]):
        return Refusal("oneDNN's softmax wants row-major operands")
    if x.dtype is not float32:
        return Refusal("softmax is only run in float32")
    shape = math.prod(x.shape[:-1]), x.shape[-1]
    rows = strided(shape, (shape[1], 1))
    recipe = Recipe()
    recipe.call(
        PrimitiveDesc("softmax_forward", c.FORWARD_TRAINING, c.SOFTMAX, rows, rows, 1),
        {c.SRC: (In(0), rows), c.DST: (Out(0), rows)},
    )
    recipe.calls.append(HostCall(lambda array: _whole_rows(array, shape)))
    return recipe.offer(seconds(p.flops(x), 3 * x.nbytes, CALLS), reuse=((0, 0),))


def _whole_rows(array: Arrays, shape: tuple[int, int]) -> Callable[[], None]:
    y = array(Out(0)).reshape(shape)
    flat = y.reshape(-1)

    def spread() -> None:
        if not math.isfinite(np.dot(flat, flat)):
            y[~np.isfinite(y).all(1)] = np.nan

    return spread
