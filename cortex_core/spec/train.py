"""The options under ``train``: how a network is trained, on any machine."""

from __future__ import annotations

from typing import Annotated, Any

from cortex_compute.frozen import frozen
from cortex_core.registry import Fraction, Optimizer, Plain, Schedule, field, record
from cortex_core.registry.kinds import Choice, FromClass, Kind, Schema
from cortex_core.spec.description import MetricNode

SHORT = {"bf16": "bfloat16", "fp32": "float32"}


@frozen
class _Metrics(Kind):
    """Metrics that have been resolved (what they are of is known only when all layers are)."""

    words = "a list of metrics"

    def read(self, value: Any) -> tuple[MetricNode, ...]:
        if not isinstance(value, tuple) or not all(isinstance(metric, MetricNode) for metric in value):
            raise self.refuse(value)
        return value

    def schema(self) -> Schema:
        return {"$ref": "#/$defs/metrics"}


@frozen
class _Precision(Choice):
    """A data type that layers can compute in, also by its short name."""

    def read(self, value: Any) -> Any:
        return super().read(SHORT.get(value, value) if isinstance(value, str) else value)


Precision = Annotated[str, FromClass(lambda limits, rank: _Precision(("float32", "bfloat16")))]
Metrics = Annotated[tuple[MetricNode, ...], FromClass(lambda limits, rank: _Metrics())]


@record
class EarlyStopping:
    """Stops when ``monitor`` has not improved for ``patience`` epochs."""

    monitor: str = field(default="validation_loss", doc="a column of the history")
    patience: int = field(default=3, doc="epochs without improvement", minimum=1)


@record
class TrainOptions:
    """Everything under ``train``."""

    data: str | None = field(default=None, doc="the name of a data set, or an .npz file")
    validation: Fraction | None = field(default=None, doc="a fraction of the data, or a name")
    optimizer: Optimizer = field(default="adam", doc="what updates the parameters")
    schedule: Schedule | None = field(default=None, doc="how the learning rate changes")
    batch_size: int = field(default=64, doc="samples in a step", minimum=1)
    epochs: int = field(default=1, doc="times that the data is seen", minimum=1)
    clip_norm: float | None = field(default=None, doc="largest norm of all gradients together", above=0)
    clip_value: float | None = field(default=None, doc="largest absolute value in a gradient", above=0)
    early_stopping: EarlyStopping | None = field(default=None, doc="when to stop before the last epoch")
    metrics: Metrics = field(default=(), doc="what is measured beside the loss")
    seed: int = field(default=0, doc="of weights, order and dropout", minimum=0)
    precision: Precision = field(default="float32", doc="of what layers compute in training")
    augment: Plain = field(default=None, doc="how samples are varied; read by the data set")
