"""How far a result may lie from its reference: |error| <= factor * eps * magnitude + tiny.

One table: a primitive that needs another factor than the default states it here, with the reason.
"""

from __future__ import annotations

import numpy as np

from cortex_compute.primitives.base import Primitive
from cortex_compute.types import DType

DEFAULT = 16.0

FACTORS: dict[str, tuple[float, str]] = {  # name of the primitive: factor, reason
    **dict.fromkeys(("Lstm", "LstmGrad", "Gru", "GruGrad"), (1.0, "the magnitude counts all roundings")),
    **dict.fromkeys(("Rnn", "RnnGrad"), (2.0, "the same, but sums round by their order, and it has no more")),
}


def factor(primitive: Primitive) -> float:
    """The factor for one primitive."""
    return FACTORS.get(primitive.name, (DEFAULT, ""))[0]


def tiny(d: DType) -> float:
    """The smallest normal number: below it a kernel may flush to zero."""
    return 2.0**-126 if d.name == "bfloat16" else float(np.finfo(d.storage).tiny)
