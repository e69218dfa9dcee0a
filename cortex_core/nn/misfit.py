"""Errors that name the layer that was given the wrong thing."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortex_compute.errors import DTypeError
from cortex_compute.types import dtype
from cortex_core.ops.array import Array

WAYS = {"float16": ".half()", "float32": ".float()", "float64": ".double()"}


def misfit(module: Any, error: Exception, inputs: tuple[Any, ...]) -> DTypeError | None:
    """What ``error``, from the forward of a module, says of its inputs: that one is no array, or of another
    data type than the parameters or the other inputs.  None where it says something else, or names the
    module already.
    """
    if isinstance(error, AttributeError):
        asked = error.name in ("shape", "dtype", "ndim")
        place = next((i for i, x in enumerate(inputs) if asked and x is error.obj), None)
        return None if place is None else _no_array(module, place, error.obj)
    own = sorted({p.dtype.name for p in module.parameters(recurse=False)})
    given = {dtype(x.dtype).name for x in inputs if isinstance(x, (Array, np.ndarray))} - {"bool"}
    if repr(module) in str(error):
        return None
    if not own and not module._modules and len(given) > 1 and given <= set(WAYS):
        return DTypeError(f"{module!r}: the inputs are {' and '.join(sorted(given))}; cast one of them")
    if len(own) != 1 or not given - set(own):
        return None
    found = min(given - set(own))
    cast = f"; cast the input by {WAYS[own[0]]}"
    if found in WAYS:
        cast += f", or the model by {WAYS[found]}"
    return DTypeError(f"{module!r}: the input is {found}, the parameters are {own[0]}{cast}")


def _no_array(module: Any, place: int, x: Any) -> DTypeError:
    name = "the input" if place == 0 else f"argument {place + 1}"
    found, hint = f"a {type(x).__name__}", "cortex.tensor makes one of numbers"
    if x is None:
        found, hint = "None", "what made it returns nothing"
    return DTypeError(f"{module!r}: {name} is {found}, expected a Tensor; {hint}")
