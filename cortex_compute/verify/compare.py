"""The distance of a result from its reference, in units of what is allowed."""

from __future__ import annotations

import numpy as np

from cortex_compute.types import DType, bfloat16
from cortex_compute.verify.bfloat16 import rounded as nearest
from cortex_compute.verify.tolerances import tiny

WRONG = 1e9  # the value of what no tolerance allows: a wrong integer, a NaN out of place, a refusal


def distance(
    actual: np.ndarray, wanted: np.ndarray, magnitude: np.ndarray, d: DType, bound: float, signed_zeros: bool
) -> tuple[float, str]:
    """The worst error in units of ``bound * magnitude + tiny``, and where it is.  bfloat16 comes as float64.

    Integers and booleans must be equal; NaN and infinities must stand where the reference, rounded to the
    data type, has them; with ``signed_zeros`` zeros must have its sign.
    """
    if actual.shape != wanted.shape:
        return WRONG, f"shape {actual.shape}, expected {wanted.shape}"
    if actual.size == 0:
        return 0.0, ""
    if d.kind != "float":
        errors = np.where(actual == wanted, 0.0, WRONG)
    else:
        errors = _floating(actual, wanted, magnitude, d, bound, signed_zeros)
    worst = np.unravel_index(int(np.argmax(errors)), errors.shape)
    where = tuple(int(i) for i in worst)
    return float(errors[worst]), f"at {where}: {actual[worst]}, expected {wanted[worst]}"


def _floating(
    actual: np.ndarray, wanted: np.ndarray, magnitude: np.ndarray, d: DType, bound: float, signed_zeros: bool
) -> np.ndarray:
    with np.errstate(all="ignore"):
        rounded = nearest(wanted) if d is bfloat16 else wanted.astype(d.storage)
        finite = np.isfinite(rounded)
        size = np.fmax(np.where(np.isfinite(magnitude), magnitude, 0.0), np.abs(wanted))
        allowed = bound * size + tiny(d)
        errors = np.where(finite, np.abs(actual.astype(np.float64) - wanted) / allowed, 0.0)
        same = (np.isnan(actual) & np.isnan(rounded)) | (actual == rounded)
        good = np.where(finite, np.isfinite(actual), same)
        if signed_zeros:
            good &= (actual != 0) | (rounded != 0) | (np.signbit(actual) == np.signbit(rounded))
    return np.where(good, np.minimum(errors, WRONG), WRONG)
