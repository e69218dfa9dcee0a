"""Normalisation."""

from __future__ import annotations

from cortex_core.registry import field, layer


@layer("batch_norm", transparent=True)
class BatchNorm:
    """(x - mean) / sqrt(var + epsilon) * gamma + beta per channel, over batch and space.   x (B, ..., C)

    Training uses the batch's mean and variance, prediction the running ones.  Ioffe and Szegedy, 2015.
    """

    momentum: float = field(default=0.9, doc="weight of the old running value", minimum=0, maximum=1)
    epsilon: float = field(default=1e-5, doc="added to the variance", above=0)
    scale: bool = field(default=True, doc="multiplies by gamma, which is learnt")
    center: bool = field(default=True, doc="adds beta, which is learnt")


@layer("layer_norm", transparent=True)
class LayerNorm:
    """(x - mean) / sqrt(var + epsilon) * gamma + beta over the last axis.   x (B, ..., C)

    Ba et al., 2016.
    """

    epsilon: float = field(default=1e-5, doc="added to the variance", above=0)
    scale: bool = field(default=True, doc="multiplies by gamma, which is learnt")
    center: bool = field(default=True, doc="adds beta, which is learnt")
