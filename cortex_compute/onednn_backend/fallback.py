"""NumPy's kernel in the place of oneDNN's, for operands that oneDNN mistreats."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from cortex_compute.numpy_backend.backend import NumpyBackend
from cortex_compute.numpy_backend.streams import InlineStream
from cortex_compute.onednn_backend.recipe import HostCall, In, Out, Recipe, Where
from cortex_compute.primitives.base import OPAQUE, Primitive
from cortex_compute.protocol import Launch, Offer, Operand
from cortex_compute.types import TensorType, bfloat16

Arrays = Callable[[Where], Any]
Check = Callable[[Arrays], Callable[[], bool]]
EXPONENT = np.uint16(0x7F80)  # of infinity and NaN in bfloat16
NUMPY = NumpyBackend()
INLINE = InlineStream()


def redone_unless(recipe: Recipe, fine: Check, primitive: Primitive, operands: Sequence[Operand]) -> None:
    """Adds a step that looks whether all is ``fine``, and if not runs NumPy's kernel, over the same memory.

    ``fine`` gets the arrays when the kernel is bound; NumPy's is bound when it is first needed.
    """
    offer = NUMPY.offer(primitive, operands)
    assert isinstance(offer, Offer)
    results = primitive.infer(*(o.type for o in operands))
    workspace = recipe.space(offer.workspace) if offer.workspace else None

    def bind(array: Arrays) -> Callable[[], None]:
        is_fine = fine(array)

        @cache
        def again() -> Launch:
            inputs = [array(In(k)) for k in range(len(operands))]
            outputs = [_typed(array(Out(j)), t) for j, t in enumerate(results)]
            return offer.build().bind(inputs, outputs, workspace and array(workspace))

        def step() -> None:
            if not is_fine():
                again()(INLINE)

        return step

    recipe.calls.append(HostCall(bind))


def finite(recipe: Recipe, where: Where, t: TensorType) -> Check:
    """Whether all numbers are finite in an array of float32 (and their squares) or of bfloat16."""
    if t.dtype is not bfloat16:
        return lambda array: _finite_squares(array(where).reshape(-1))
    spare = recipe.space(t.nbytes)
    return lambda array: _finite_bits(array(where).reshape(-1), array(spare).view(np.uint16))


def _finite_squares(x: np.ndarray) -> Callable[[], bool]:
    return lambda: math.isfinite(np.dot(x, x))


def _finite_bits(x: np.ndarray, exponents: np.ndarray) -> Callable[[], bool]:
    def finite() -> bool:
        np.bitwise_and(x, EXPONENT, exponents)
        return bool(exponents.max() != EXPONENT)

    return finite


def _typed(a: Any, t: TensorType) -> Any:
    """A result as an array; one that nobody wants is memory without a type."""
    return a if t == OPAQUE else a.view(t.dtype.storage).reshape(t.shape)
