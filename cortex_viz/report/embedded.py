"""The last hidden layer, seen by t-SNE: examples that the network takes for alike lie side by side."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from cortex_core.network import Network
from cortex_core.probe import activations, last_hidden
from cortex_viz.embed import tsne
from cortex_viz.report.outcome import Outcome
from cortex_viz.report.shown import Array

MOST = 1500  # examples
BYTES = 1 << 28  # of what the layer gives for them


@dataclass(frozen=True)
class Hidden:
    """``points`` (m, 2) of the examples ``rows`` (m,) of an outcome, by the output of ``layer``."""

    layer: str
    rows: Array
    points: Array


def hidden_of(network: Network, outcome: Outcome, backend: str = "auto") -> Hidden | str:
    """The map of at most 1,500 examples of an outcome; where there is none, the reason.

    Raises `DataError` for too few examples, and for outputs that are not finite or all the same, ImportError
    where nothing is installed that embeds.
    """
    layer = last_hidden(network)
    if layer is None:
        return "the network has no hidden layer: its output layer reads an input"
    most = max(1, min(MOST, BYTES // (4 * prod(network.types[layer].shape[1:]))))
    rows = np.unique(np.linspace(0, len(outcome) - 1, most).astype(np.intp))
    found = activations(network, outcome.shown.select(rows).source, [layer], backend=backend)[layer]
    return Hidden(layer, rows, tsne(found))
