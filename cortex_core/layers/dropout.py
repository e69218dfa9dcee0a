"""Dropout."""

from __future__ import annotations

from cortex_core.registry import field, layer


@layer("dropout", main="rate", transparent=True)
class Dropout:
    """In training each element falls to 0 with probability ``rate``; the others grow by 1 / (1 - rate).

    x (B, ...) -> (B, ...).  Srivastava et al., 2014.
    """

    rate: float = field(doc="the fraction that falls", minimum=0, below=1)
