"""Schedules: how the learning rate changes over epochs; what a description names under ``train.schedule``.

``rate(base, step, steps_per_epoch, total_steps, state)`` is the learning rate of a step, counted from 0,
where ``base`` is the optimiser's.  The ``state`` is plain data; only `ReduceOnPlateau` has one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cortex_core.registry import base, field, schedule

State = Mapping[str, Any]


@base
class WarmUp:
    """What every schedule of time has: the rate rises by equal steps to where the schedule is then."""

    warm_up: float = field(default=0.0, doc="epochs over which the rate rises from 0", minimum=0)

    def rate(
        self, base: float, step: int, steps_per_epoch: int, total_steps: int, state: State | None = None
    ) -> float:
        """The learning rate of step ``step``."""
        rising = self.warm_up * steps_per_epoch
        rise = min(1.0, (step + 1) / rising) if rising else 1.0
        left = total_steps - rising
        progress = min(1.0, max(0.0, (step - rising) / left)) if left > 0 else 0.0
        return base * rise * self.at(step / steps_per_epoch, progress)

    def at(self, epoch: float, progress: float) -> float:
        """The factor at an epoch, a fraction included; ``progress`` runs from 0, after the warm-up, to 1."""
        raise NotImplementedError


@schedule("constant")
class ConstantRate(WarmUp):
    """The factor is 1."""

    def at(self, epoch: float, progress: float) -> float:
        return 1.0


@schedule("step", main="every")
class StepRate(WarmUp):
    """The factor is multiplied by ``factor`` after each ``every`` epochs."""

    every: int = field(doc="epochs between two steps", minimum=1)
    factor: float = field(default=0.1, doc="what each step multiplies by", above=0, maximum=1)

    def at(self, epoch: float, progress: float) -> float:
        return float(self.factor ** (epoch // self.every))


@schedule("exponential", main="factor")
class ExponentialRate(WarmUp):
    """factor ** epoch, continuously."""

    factor: float = field(default=0.95, doc="what each epoch multiplies by", above=0, maximum=1)

    def at(self, epoch: float, progress: float) -> float:
        return float(self.factor**epoch)


@schedule("cosine")
class CosineRate(WarmUp):
    """From 1 to ``floor`` along half a cosine over the epochs after the warm-up.

    Loshchilov and Hutter, 2017.
    """

    floor: float = field(default=0.0, doc="factor at the end", minimum=0, maximum=1)

    def at(self, epoch: float, progress: float) -> float:
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * progress)) / 2


@schedule("reduce_on_plateau")
class ReduceOnPlateau:
    """Multiplies by ``factor`` when ``monitor`` has not improved for ``patience`` epochs."""

    monitor: str = field(default="validation_loss", doc="a column of the history")
    factor: float = field(default=0.1, doc="what each reduction multiplies by", above=0, below=1)
    patience: int = field(default=3, doc="epochs without improvement before a reduction", minimum=1)
    floor: float = field(default=0.0, doc="smallest factor", minimum=0, maximum=1)

    def observe(self, state: State, value: float) -> dict[str, Any]:
        """The state after an epoch at whose end the monitored value was ``value``; ``{}`` at the start.

        Smaller is better: the caller negates what should grow.  The state goes into checkpoints.
        """
        factor, waited = state.get("factor", 1.0), state.get("waited", 0) + 1
        best = state.get("best", math.inf)
        if value < best:
            return {"best": value, "waited": 0, "factor": factor}
        if waited >= self.patience:
            return {"best": best, "waited": 0, "factor": max(self.floor, factor * self.factor)}
        return {"best": best, "waited": waited, "factor": factor}

    def rate(
        self, base: float, step: int, steps_per_epoch: int, total_steps: int, state: State | None = None
    ) -> float:
        """The learning rate, where ``state`` is what `observe` last gave."""
        return base * float((state or {}).get("factor", 1.0))
