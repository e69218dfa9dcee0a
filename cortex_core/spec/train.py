"""The options under ``train``: how a network is trained, on any machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from cortex_compute.frozen import frozen
from cortex_core.registry import (
    READERS,
    Augmentation,
    Fault,
    Fraction,
    Invalid,
    Named,
    Optimizer,
    Schedule,
    Split,
    build,
    field,
    nearest,
    record,
)
from cortex_core.registry.kinds import Choice, FromClass, Kind, Schema, Text
from cortex_core.registry.named import load_plugins
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


@frozen
class DataKind(Kind):
    """The name of a data set, a file (which the reader of its suffix reads), or a reader with its fields."""

    words = "the name of a data set, a file, or a reader with its fields: {table: {file: people.csv}}"

    @property
    def _reader(self) -> Named:
        return Named(READERS, "reader")

    def read(self, value: Any) -> Any:
        if not isinstance(value, str):
            return self._reader.read(value)
        name: str = Text().read(value)
        if not is_file(name):
            return name
        load_plugins(READERS.group)
        suffixes = {suffix: cls for cls in READERS.values() for suffix in cls.suffixes}
        suffix = f".{name.rpartition('.')[2].lower()}"
        if suffix not in suffixes:
            known = ", ".join(suffixes)
            hint = nearest(suffix, suffixes) or "A folder of pictures is {images: {folder: ...}}"
            if suffix == ".npy":
                hint = "Arrays in files of their own are {arrays: {files: {NAME: FILE.npy, ...}}}"
            raise Invalid([Fault((), f"'{name}' is no file that is known", f"expected one of {known}", hint)])
        return build(suffixes[suffix], {suffixes[suffix].main: name})

    def data(self, value: Any) -> Any:
        return value if isinstance(value, str) else self._reader.data(value)

    def schema(self) -> Schema:
        return {"anyOf": [Text().schema(), self._reader.schema()]}


def is_file(name: str) -> bool:
    """Whether text under ``data`` means a file, not the name of a data set."""
    return "." in name or "/" in name


Data = Annotated[Any, FromClass(lambda limits, rank: DataKind())]
Precision = Annotated[str, FromClass(lambda limits, rank: _Precision(("float32", "bfloat16")))]
Metrics = Annotated[tuple[MetricNode, ...], FromClass(lambda limits, rank: _Metrics())]


@record
class EarlyStopping:
    """Stops when ``monitor`` has not improved for ``patience`` epochs."""

    monitor: str = field(default="validation_loss", doc="a column of the history")
    patience: int = field(default=3, doc="epochs without improvement", minimum=1)


@record
class Fold:
    """Of the folds that ``split`` makes of the training part the ``number``-th is held out, as test part."""

    number: int = field(doc="which fold is held out, from 1 on", minimum=1)
    of: int = field(doc="how many folds there are", minimum=2)

    def check(self) -> Iterator[Fault]:
        if self.number > self.of:
            yield Fault(("number",), f"there is no fold {self.number}", f"expected 1 to {self.of}")


@record
class TrainOptions:
    """Everything under ``train``."""

    data: Data | None = field(default=None, doc="the name of a data set, a file, or a reader with its fields")
    test: Fraction | None = field(default=None, doc="a fraction of the data, or a part, held out to the end")
    validation: Fraction | None = field(default=None, doc="a fraction of the rest, a part, or other data")
    fold: Fold | None = field(default=None, doc="one fold of the training part is the test part")
    split: Split = field(default="last", doc="how fractions are taken")
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
    augment: tuple[Augmentation, ...] | None = field(
        default=None, doc="how examples are varied, one after the other"
    )
