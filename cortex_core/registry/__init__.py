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
    CONSTRAINTS,
    INITIALIZERS,
    LAYERS,
    LOSSES,
    METRICS,
    OPTIMIZERS,
    READERS,
    SCHEDULES,
    SPLITS,
    STREAMS,
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
    constraint,
    initializer,
    layer,
    loss,
    metric,
    optimizer,
    reader,
    record,
    schedule,
    split,
    stream,
)
from cortex_core.registry.faults import UNKNOWN, Fault, Invalid, Unknown
from cortex_core.registry.kinds import Array, Fraction, Padding, Plain, Shape, Size
from cortex_core.registry.named import Named, Written, unfold
from cortex_core.registry.nearest import nearest
from cortex_core.registry.sources import (
    Layer,
    Source,
    Sources,
    Stream,
    name_of_stream,
    sources_of,
    streams_of,
    with_sources,
)

__all__ = [
    "AUGMENTATIONS",
    "CONSTRAINTS",
    "INITIALIZERS",
    "LAYERS",
    "LOSSES",
    "METRICS",
    "OPTIMIZERS",
    "READERS",
    "SCHEDULES",
    "SPLITS",
    "STREAMS",
    "UNKNOWN",
    "Activation",
    "Array",
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
    "Stream",
    "Unknown",
    "Written",
    "augmentation",
    "base",
    "build",
    "constraint",
    "data_of",
    "field",
    "fields_of",
    "fields_schema",
    "initializer",
    "layer",
    "loss",
    "metric",
    "name_of_stream",
    "named_data",
    "nearest",
    "optimizer",
    "reader",
    "record",
    "schedule",
    "sources_of",
    "split",
    "stream",
    "streams_of",
    "unfold",
    "with_sources",
]
