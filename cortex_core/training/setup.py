"""What a training starts from: its options, its data and its validation, checked before the first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cortex_compute.errors import DataError, SpecError
from cortex_compute.types import TensorType, dtype, int64
from cortex_core.given import WholeNumbers, check_numbers
from cortex_core.network import Network, with_train
from cortex_core.registry import Invalid, data_of, named_data
from cortex_core.spec.train import DataKind
from cortex_core.streams import CHOICES, mismatches
from cortex_core.training.data import Data, streams_of
from cortex_core.training.examples import FILES, reader_of
from cortex_core.training.feed import check_sizes
from cortex_core.training.pieces import pieces, shapes_of
from cortex_core.training.source import Source

CROSS_ENTROPIES = (*CHOICES, "binary_cross_entropy", "binary_focal")
"""The losses of which an accuracy tells something."""


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
    if data is not None and not hasattr(data, "learn"):
        own = description.train.data if description.train is not None else None
        given["data"] = _data(own, data)
    if validation is not None:
        given["validation"] = validation if isinstance(validation, (str, int, float)) else None
    return with_train(description, overrides, **given)


def _data(own: Any, given: Any) -> Any:
    """What a description says of data that are given in place of its ``own``: a reader of the same type keeps
    its options, but for the files; data that have no name are not named."""
    if isinstance(given, str):
        try:
            reader = DataKind().read(given)
        except Invalid:
            return given  # what is wrong with it is told with its place
    else:
        reader = reader_of(given, own)
    if reader is None or isinstance(reader, str):
        return reader
    if type(own) is not type(reader):
        return named_data(reader)
    kept = {name: value for name, value in data_of(own).items() if name not in FILES}
    return {reader.kind: {**kept, reader.main: getattr(reader, reader.main)}}


def check_data(network: Network, data: Data) -> None:
    """Raises `DataError` where the streams, their sizes or labels do not fit the network."""
    check_streams(network, data.streams, data.what)
    batch = network.training.batch_size
    parts = (
        (data.plain, batch, data.what),
        (data.validation, 1, "the validation data"),
        (data.test(), 1, "the test part"),
    )
    for source, size, what in parts:
        if source is not None:
            check_streams(network, source.streams, what)
            check_source(network, source, size, what)


def running_notes(network: Network, source: Source) -> list[str]:
    """What a network with stateful layers takes its training examples for; raises `DataError` where they are
    not what it needs: one sequence in order, of which a batch reads several places side by side."""
    if not network.carried:
        return []
    layer = network.declared[network.carried[0]].layer.id
    needs = f"the state of '{layer}' goes from each batch to the next: it needs examples"
    if getattr(source, "lengths", None) is not None:
        raise DataError(f"{needs} of one length; these have several")
    split = network.training.split
    mixed = split is not None and split.kind != "last"
    if mixed or getattr(source, "running", None) is False:
        raise DataError(
            f"{needs} that follow each other, and these do not: expected one text, windows that "
            "neither overlap nor leave gaps (stride = window), and split: last"
        )
    size = network.training.batch_size
    steps, left = divmod(len(source), size)
    told = f"{size} places of the training examples are read side by side, in order, {steps:,} steps each"
    known = "" if hasattr(source, "running") else "; each is taken to go on where the one before ended"
    return [f"'{layer}' is stateful: {told}{known}" + (f"; the last {left:,} are not read" if left else "")]


def names_of(network: Network) -> list[str]:
    """The streams that a step reads: inputs, then targets."""
    inputs, targets = streams_of(network.description)
    return [*inputs, *targets]


def check_streams(network: Network, streams: Mapping[str, Any], what: str) -> None:
    """Raises `DataError` with every stream that is missing, or that has another shape or other classes."""
    problems = list(mismatches(network.description, network.types, streams, what))
    if problems:
        raise DataError("\n".join(map(str, problems)))


def check_source(network: Network, source: Source, batch_size: int, what: str) -> None:
    """Raises `DataError` for too few examples, or numbers that a loss cannot take, such as a wrong class.

    A source that names its classes has checked its labels; of others every label is looked at.
    """
    check_sizes(source, batch_size, what)
    numbers = WholeNumbers(network)
    for name in sorted(numbers.streams):
        for rows, arrays in pieces(source, [name]):
            numbers.check(arrays, rows)
    for node in network.description.losses:
        if _looks_at_numbers(network, node, source):
            for rows, arrays in pieces(source, node.streams):
                check_numbers(network, node, arrays, rows)
        if hasattr(node.loss, "absent") and node.derive is None:
            found = (node.loss.absent(arrays[node.target]) for _, arrays in pieces(source, [node.target]))
            if all(absent.all() for absent in found):
                raise DataError(f"{node.place}: no example of {what} has a {node.target!r}: all are missing")


def _looks_at_numbers(network: Network, node: Any, source: Source) -> bool:
    """Whether a loss may find wrong numbers: in weights, in what is made of a stream, in its target unless
    that is a class of each place and the source has named its classes."""
    if node.sample_weight is not None or node.derive is not None:
        return True
    if not node.target or not hasattr(node.loss, "wrong"):
        return False
    x = network.types[node.of]
    is_class = node.loss.target_type(x) == TensorType(x.shape[:-1], int64)
    return not (is_class and source.streams[node.target].classes is not None)


def stream_types(
    network: Network, source: Source, batch: int, length: int | None = None
) -> dict[str, TensorType]:
    """The types of a batch of examples of one padded length: shapes as in the data; inputs with the dtype of
    the description, targets with the data's."""
    streams, dtypes = source.streams, {x.name: x.dtype for x in network.description.inputs}
    return {
        name: TensorType((batch, *shape), dtype(dtypes.get(name, streams[name].dtype)))
        for name, shape in shapes_of(source, names_of(network), length).items()
    }


def check_learning(network: Network) -> None:
    """Raises `SpecError` where a training would change nothing: no parameters, and no running statistics."""
    trained = any(slot.segment.trainable for slot in network.slots.values())
    moving = {name.rpartition("/")[0] for name in network.variables}
    if not trained and not any(x.trainable and x.id in moving for x in network.description.layers):
        told = f"{network.name}: no layer is trained: all that have parameters are frozen, or none has any"
        raise SpecError(f"{told}; `surgery.unfreeze`, or trainable: true in the description, trains them")


def name_metrics(network: Network, streams: Mapping[str, Any]) -> None:
    """Where no metrics are named, the accuracy of cross entropies and focal losses on labels is measured."""
    if network.description.train.metrics:
        return
    metrics = [
        {"accuracy": {"of": node.of, "target": node.target, **ignored(node)}}
        for node in network.description.compared
        if node.kind in CROSS_ENTROPIES and dtype(streams[node.target].dtype).kind != "float"
    ]
    if metrics:
        network.description = with_train(network.description, metrics=metrics)


def ignored(node: Any) -> dict[str, int]:
    """The class index that a loss does not count, for a metric beside it."""
    index = getattr(node.loss, "ignore_index", None)
    return {} if index is None else {"ignore_index": index}
