"""Networks as data: reading, checking, resolving and writing descriptions.

``read`` gives a frozen Description or raises SpecError with every mistake; ``inspect`` gives both.
"""

from __future__ import annotations

from cortex_core.spec.description import (
    UNKNOWN_SOURCE,
    Description,
    InputNode,
    LayerNode,
    LossNode,
    MetricNode,
    Penalty,
)
from cortex_core.spec.resolve import inspect, locate, read
from cortex_core.spec.train import EarlyStopping, TrainOptions

__all__ = [
    "UNKNOWN_SOURCE",
    "Description",
    "EarlyStopping",
    "InputNode",
    "LayerNode",
    "LossNode",
    "MetricNode",
    "Penalty",
    "TrainOptions",
    "inspect",
    "locate",
    "read",
]
