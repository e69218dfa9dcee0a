"""Schedules: how the learning rate changes over epochs; what a description may name under ``train.schedule``.

Each is a factor of the optimiser's learning rate.
"""

from __future__ import annotations

from cortex_core.registry import base, field, schedule


@base
class WarmUp:
    """What every schedule of time has."""

    warm_up: float = field(default=0.0, doc="epochs over which the rate rises from 0", minimum=0)


@schedule("constant")
class ConstantRate(WarmUp):
    """The factor is 1."""


@schedule("step", main="every")
class StepRate(WarmUp):
    """The factor is multiplied by ``factor`` after each ``every`` epochs."""

    every: int = field(doc="epochs between two steps", minimum=1)
    factor: float = field(default=0.1, doc="what each step multiplies by", above=0, maximum=1)


@schedule("exponential", main="factor")
class ExponentialRate(WarmUp):
    """factor ** epoch, continuously."""

    factor: float = field(default=0.95, doc="what each epoch multiplies by", above=0, maximum=1)


@schedule("cosine")
class CosineRate(WarmUp):
    """From 1 to ``floor`` along half a cosine over all epochs.  Loshchilov and Hutter, 2017."""

    floor: float = field(default=0.0, doc="factor at the end", minimum=0, maximum=1)


@schedule("reduce_on_plateau")
class ReduceOnPlateau:
    """Multiplies by ``factor`` when ``monitor`` has not improved for ``patience`` epochs."""

    monitor: str = field(default="validation_loss", doc="a column of the history")
    factor: float = field(default=0.1, doc="what each reduction multiplies by", above=0, below=1)
    patience: int = field(default=3, doc="epochs without improvement before a reduction", minimum=1)
    floor: float = field(default=0.0, doc="smallest factor", minimum=0, maximum=1)
