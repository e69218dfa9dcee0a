"""Dropout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cortex_compute.primitives.random import LEVELS, bernoulli_threshold
from cortex_core.layers.scope import Scope
from cortex_core.ops.pointwise import select
from cortex_core.registry import field, layer


def drop(x: Any, rate: float, draw: Callable[[float], Any]) -> Any:
    """x, where ``draw(1 - rate)``, true with that probability, does not hold, falls to 0; the rest grows."""
    keep = bernoulli_threshold(1 - rate) / LEVELS  # what the 16-bit draws really give
    if keep == 1:
        return x
    return select(draw(1 - rate), x * (1 / max(keep, 1 / LEVELS)), 0.0)


@layer("dropout", main="rate", transparent=True, positionwise=True)
class Dropout:
    """In training each element falls to 0 with probability ``rate``; the others grow by 1 / (1 - rate).

    x (B, ...) -> (B, ...).  Srivastava et al., 2014.
    """

    rate: float = field(doc="the fraction that falls", minimum=0, below=1)

    def forward(self, p: Scope, x: Any) -> Any:
        return drop(x, self.rate, lambda keep: p.bernoulli(keep, x.shape)) if p.training else x
