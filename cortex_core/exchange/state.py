"""The arrays that a state holds, ours or PyTorch's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def as_arrays(state: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of a state (name -> Tensor, array or tensor of PyTorch), and a line for each that is none.

    They share memory where they can.  bfloat16, which NumPy has no arrays of, becomes float32.
    """
    arrays, faults = {}, []
    for name, x in state.items():
        try:
            arrays[name] = _as_array(x)
        except (TypeError, ValueError, RuntimeError) as error:
            faults.append(f"{name} is a {type(x).__name__} that is no array: {error}")
    return arrays, faults


def _as_array(x: Any) -> np.ndarray:
    if hasattr(x, "detach"):
        x = x.detach()
    if str(getattr(x, "dtype", None)) == "torch.bfloat16":
        x = x.float()
    return np.asarray(x)
