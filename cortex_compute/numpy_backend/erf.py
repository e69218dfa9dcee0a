"""erf, which NumPy lacks, as a list of NumPy calls over one block."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

_ERF = np.frompyfunc(math.erf, 1, 1)


def erf_steps(x: Any, out: np.ndarray, scratch: list[np.ndarray]) -> list[Callable[[], Any]]:
    """Calls that write erf(x) into ``out``, which may not overlap ``x``."""
    return [partial(np.copyto, out, x), lambda: np.copyto(out, _ERF(out), "unsafe")]
