"""The loss and the metrics of a network over a set of examples."""

from __future__ import annotations

import copy
import warnings
from contextlib import closing
from dataclasses import replace
from typing import Any

from cortex_compute.backends import get
from cortex_compute.errors import SpecError
from cortex_compute.types import dtype
from cortex_core.compiled import Compiled
from cortex_core.network import Network, with_train
from cortex_core.registry import METRICS
from cortex_core.spec import MetricNode
from cortex_core.step import ROWS
from cortex_core.streams import CHOICES
from cortex_core.training.data import part_of
from cortex_core.training.feed import Feed
from cortex_core.training.resident import keep_on_device
from cortex_core.training.setup import (
    check_source,
    check_streams,
    ignored,
    name_metrics,
    names_of,
    stream_types,
)
from cortex_core.training.source import Source
from cortex_core.training.units import in_units

CONFUSION = "confusion_matrix"
SHOWN_CLASSES = 1000  # a matrix of more would be larger than most networks


class Evaluation:
    """Programs that measure a network over one source, as often as asked."""

    def __init__(self, network: Network, source: Source, batch_size: int, backend: str = "auto") -> None:
        self.network, self.compiled = network, Compiled(network, get(backend), "evaluate")
        names = names_of(network)
        self.kept = keep_on_device(self.compiled, source, names)
        self.feed = Feed(source, [] if self.kept else names, min(batch_size, len(source)))
        self.entries = {n: self.compiled.entry(stream_types(network, source, *n)) for n in self.feed.sizes()}

    def run(self) -> dict[str, Any]:
        """The loss, and each metric by name: numbers, or arrays."""
        any_entry = next(iter(self.entries.values()))  # all have the same sums
        self.compiled.reset(any_entry)
        with closing(self.feed.epoch(0)) as batches:
            for batch in batches:
                given = {ROWS: batch.rows} if self.kept else batch.arrays
                self.compiled.launch(self.entries[batch.size], given, results=False)
        return in_units(self.network, self.compiled.totals(any_entry))

    def close(self) -> None:
        """Gives back the memory of the programs, and of data on a device; it cannot run again."""
        self.compiled.close()


def evaluate(
    network: Network, data: Any = None, split: str = "test", batch_size: int = 256, backend: str = "auto"
) -> dict[str, Any]:
    """The loss and the metrics of ``network`` over ``data``: the name of a data set (its part ``split``), a
    file or a table (all of it), a dict of arrays, or a source; by default the data that it was trained on.

    Where the description names no metrics, accuracy is measured for a cross entropy or a focal loss on class
    labels; there ``"confusion_matrix"`` (rows: the true class) is given as well.  Raises `DataError` where
    data and network do not fit.  What was counted while raw data were read (cells filled, categories never
    seen) is warned of.
    """
    source, notes = part_of(network, data, split)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return measure(network, source, batch_size, backend)


def measure(network: Network, source: Source, batch_size: int = 256, backend: str = "auto") -> dict[str, Any]:
    """The loss and the metrics over all examples of a source."""
    if not network.description.losses:
        raise SpecError(f"{network.name}: its description has no loss, so there is nothing to evaluate")
    check_streams(network, source.streams, "the data")
    check_source(network, source, 1, "the data")
    with closing(Evaluation(measuring(network, source), source, batch_size, backend)) as evaluation:
        return evaluation.run()


def measuring(network: Network, source: Source) -> Network:
    """The same network, parameters and all, with the metrics that an evaluation shows."""
    view = copy.copy(network)
    view.description = with_train(view.description)
    name_metrics(view, source.streams)
    train = view.description.train
    if any(m.name == CONFUSION for m in train.metrics):
        return view
    node = next((x for x in view.description.compared if x.kind in CHOICES), None)
    few = node is not None and network.types[node.of].shape[-1] <= SHOWN_CLASSES
    if node is not None and few and dtype(source.streams[node.target].dtype).kind == "int":
        metric = METRICS[CONFUSION](**ignored(node))
        added = MetricNode(CONFUSION, CONFUSION, metric, node.of, node.target, node.place)
        options = replace(train, metrics=(*train.metrics, added))
        view.description = replace(view.description, train=options)
    return view
