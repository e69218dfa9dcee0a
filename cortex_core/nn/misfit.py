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
    data type than the parameters.  None where it says something else, or names the module already.
    """
    if isinstance(error, AttributeError):
        asked = error.name in ("shape", "dtype", "ndim") and any(error.obj is x for x in inputs)
        return _no_array(module, error.obj) if asked else None
    own = {p.dtype.name for p in module.parameters(recurse=False)}
    given = {dtype(x.dtype).name for x in inputs if isinstance(x, (Array, np.ndarray))}
    if len(own) != 1 or not given - own or repr(module) in str(error):
        return None
    (wanted,), found = own, min(given - own)
    cast = f"; cast the input by {WAYS[wanted]}"
    if found in WAYS:
        cast += f", or the model by {WAYS[found]}"
    return DTypeError(f"{module!r}: the input is {found}, the parameters are {wanted}{cast}")


def _no_array(module: Any, x: Any) -> DTypeError:
    found, hint = f"a {type(x).__name__}", "cortex.tensor makes one of numbers"
    if x is None:
        found, hint = "None", "what made it returns nothing"
    return DTypeError(f"{module!r}: the input is {found}, expected a Tensor; {hint}")
