"""Things that a description names: layers, losses, metrics, optimisers, schedules, initialisers.

Each is a frozen dataclass whose annotated fields are the fields of the description:

    @layer("dense", main="units")
    class Dense:
        units: int = field(doc="size of the last axis of the output", minimum=1)
        activation: Activation | None = None

From the fields come validation (every mistake at once), canonical data, the JSON schema and documentation.
This package stands at the bottom of core: it knows neither YAML nor what a layer computes.
"""

from __future__ import annotations

from cortex_core.registry.classes import (
    AUGMENTATIONS,
    INITIALIZERS,
    LAYERS,
    LOSSES,
    METRICS,
    OPTIMIZERS,
    READERS,
    SCHEDULES,
    SPLITS,
    Field,
    Registry,
    build,
    data_of,
    field,
    fields_of,
    fields_schema,
    named_data,
)
from cortex_core.registry.declare import (
    Activation,
    Augmentation,
    Initializer,
    Optimizer,
    Schedule,
    Split,
    augmentation,
    base,
    initializer,
    layer,
    loss,
    metric,
    optimizer,
    reader,
    record,
    schedule,
    split,
)
from cortex_core.registry.faults import UNKNOWN, Fault, Invalid, Unknown
from cortex_core.registry.kinds import Fraction, Padding, Plain, Shape, Size
from cortex_core.registry.named import Named, Written, unfold
from cortex_core.registry.nearest import nearest
from cortex_core.registry.sources import Layer, Source, Sources, sources_of, with_sources

__all__ = [
    "AUGMENTATIONS",
    "INITIALIZERS",
    "LAYERS",
    "LOSSES",
    "METRICS",
    "OPTIMIZERS",
    "READERS",
    "SCHEDULES",
    "SPLITS",
    "UNKNOWN",
    "Activation",
    "Augmentation",
    "Fault",
    "Field",
    "Fraction",
    "Initializer",
    "Invalid",
    "Layer",
    "Named",
    "Optimizer",
    "Padding",
    "Plain",
    "Registry",
    "Schedule",
    "Shape",
    "Size",
    "Source",
    "Sources",
    "Split",
    "Unknown",
    "Written",
    "augmentation",
    "base",
    "build",
    "data_of",
    "field",
    "fields_of",
    "fields_schema",
    "initializer",
    "layer",
    "loss",
    "metric",
    "named_data",
    "nearest",
    "optimizer",
    "reader",
    "record",
    "schedule",
    "sources_of",
    "split",
    "unfold",
    "with_sources",
]
