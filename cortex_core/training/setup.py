"""What a training starts from: its options, its data and its validation, checked before the first step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cortex_compute.errors import DataError, SpecError
from cortex_compute.types import TensorType, dtype
from cortex_core.compiled import check_labels, check_tokens
from cortex_core.network import Network, with_train
from cortex_core.streams import mismatches
from cortex_core.training.feed import check_sizes
from cortex_core.training.npz import is_file, open_file
from cortex_core.training.source import DataSet, Source, as_source, find, known

SCANNED = 65536  # labels that are looked at together
CROSS_ENTROPIES = ("softmax_cross_entropy", "binary_cross_entropy")


@dataclass(frozen=True)
class Data:
    """The examples of a training.  ``dataset`` where they have a name; ``validation`` where there is one."""

    train: Source
    validation: Source | None = None
    dataset: DataSet | None = None

    def test(self) -> Source | None:
        """The examples that nothing is chosen on, read once at the end."""
        if self.dataset is None or "test" not in self.dataset.lengths:
            return None
        return self.dataset.load("test")


def with_options(
    description: Any, data: Any, validation: Any, overrides: Sequence[str] = (), **changes: Any
) -> Any:
    """The description with the options that are given in its place, so that it says what is really used.

    Data that has no name is not named in it.  Raises `SpecError` for a wrong option or where there is no
    loss.
    """
    if not description.losses:
        raise SpecError(f"{description.name}: without a loss nothing can be trained; add the section 'loss'")
    given = {name: value for name, value in changes.items() if value is not None}
    if data is not None:
        given["data"] = data if isinstance(data, str) else None
    if validation is not None:
        given["validation"] = validation if isinstance(validation, (str, int, float)) else None
    made = with_train(description, overrides, **given)
    if made.train.augment is not None:
        raise DataError("train.augment: this data cannot be varied; leave it out")
    return made


def open_data(network: Network, data: Any, validation: Any) -> Data:
    """Finds the data and the validation part, and checks both against the network."""
    options = network.description.train
    if data is None:
        data = options.data
    if validation is None:
        validation = options.validation
    if data is None:
        raise DataError(
            f"no data: give data= (a name, a dict of arrays, or a source), or write train.data; known are "
            f"{', '.join(known())}"
        )
    data = opened(network, data)
    validation = opened(network, validation)
    dataset = find(data) if isinstance(data, str) else None
    if dataset is not None:
        check_streams(network, dataset.streams, dataset.name)
    train = dataset.load("train") if dataset is not None else as_source(data)
    found = Data(*_divide(train, dataset, validation), dataset)
    for source, what in ((found.train, "the data"), (found.validation, "the validation data")):
        if source is not None:
            check_streams(network, source.streams, what)
            check_source(network, source, options.batch_size if source is found.train else 1, what)
    return found


def opened(network: Network, data: Any) -> Any:
    """The examples of a data file, which is looked for beside the description; other data as it is."""
    if isinstance(data, str) and is_file(data):
        return open_file(data, network.description.inputs[0].place.file)
    return data


def _divide(train: Source, dataset: DataSet | None, validation: Any) -> tuple[Source, Source | None]:
    """The training part and the validation part: a fraction is the last rows of the data, in their own
    order."""
    if validation is None or validation == 0:
        return train, None
    if isinstance(validation, str):
        if dataset is not None and validation in dataset.lengths:
            return train, dataset.load(validation)
        try:
            return train, find(validation).load("train")
        except DataError as error:
            splits = f"; {dataset.name} has {', '.join(dataset.lengths)}" if dataset is not None else ""
            raise DataError(f"validation: {error}{splits}") from None
    if not isinstance(validation, (int, float)):
        return train, as_source(validation)
    count = round(len(train) * float(validation))
    if not 0 < count < len(train):
        raise DataError(
            f"validation {validation} of {len(train)} examples is {count}; both parts need at least one"
        )
    rows = np.arange(len(train))
    return train.select(rows[:-count]), train.select(rows[-count:])


def names_of(network: Network) -> list[str]:
    """The streams that a step reads: inputs, then targets."""
    description = network.description
    return list(dict.fromkeys([x.name for x in description.inputs] + [x.target for x in description.losses]))


def check_streams(network: Network, streams: Mapping[str, Any], what: str) -> None:
    """Raises `DataError` with every stream that is missing, or that has another shape or other classes."""
    problems = list(mismatches(network.description, network.types, streams, what))
    if problems:
        raise DataError("\n".join(map(str, problems)))


def check_source(network: Network, source: Source, batch_size: int, what: str) -> None:
    """Raises `DataError` for too few examples, or a label that is out of range.

    A source that names its classes has checked its labels; of others every label is looked at.
    """
    check_sizes(source, batch_size, what)
    embedded = {n.sources[0] for n in network.description.layers if n.kind == "embedding"}
    for name in embedded & {x.name for x in network.description.inputs}:
        for start, tokens in _pieces(source, name):
            check_tokens(network.description, {name: tokens}, start)
    for node in network.description.losses:
        stream = source.streams[node.target]
        named = stream.classes is not None
        if node.kind == "softmax_cross_entropy" and not named and dtype(stream.dtype).kind == "int":
            classes = network.types[node.of].shape[-1]
            for start, labels in _pieces(source, node.target):
                check_labels(labels, classes, node, node.target, start)


def _pieces(source: Source, name: str) -> Iterator[tuple[int, np.ndarray]]:
    """A stream piece by piece, each with the number of its first example."""
    stream = source.streams[name]
    for start in range(0, len(source), SCANNED):
        rows = np.arange(start, min(start + SCANNED, len(source)))
        piece = np.empty((len(rows), *stream.shape), stream.dtype)
        source.gather(rows, {name: piece})
        yield start, piece


def stream_types(network: Network, source: Source, batch: int) -> dict[str, TensorType]:
    """The types of a batch: shapes as in the data; inputs with the dtype of the description, targets with the
    data's."""
    streams, dtypes = source.streams, {x.name: x.dtype for x in network.description.inputs}
    return {
        name: TensorType((batch, *streams[name].shape), dtype(dtypes.get(name, streams[name].dtype)))
        for name in names_of(network)
    }


def name_metrics(network: Network, source: Source) -> None:
    """Where no metrics are named, the accuracy of each cross entropy on class labels is measured."""
    if network.description.train.metrics:
        return
    metrics = [
        {"accuracy": {"of": node.of, "target": node.target}}
        for node in network.description.losses
        if node.kind in CROSS_ENTROPIES and dtype(source.streams[node.target].dtype).kind != "float"
    ]
    if metrics:
        network.description = with_train(network.description, metrics=metrics)
