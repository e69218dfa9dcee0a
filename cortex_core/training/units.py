"""What the numbers of a training mean: measures of a scaled target are told in its own unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cortex_core.network import Network
from cortex_core.streams import CHOICES, SCALED

POWERS = {"mae": 1, "mse": 2}  # of the unit, by the kind of metric


def unit_of(network: Network, target: str) -> float:
    """How much of a target's own unit one unit of its stream is; 1 where it was not scaled."""
    encoding = network.encoding
    if encoding is None or target not in encoding.streams or encoding.streams[target].dtype != "float32":
        return 1.0
    ends = encoding.decode(target, np.array([[0.0], [1.0]], np.float32))
    return float(np.ravel(ends)[1] - np.ravel(ends)[0]) if ends.dtype.kind == "f" else 1.0


def in_units(network: Network, totals: Mapping[str, Any]) -> dict[str, Any]:
    """The totals of an epoch or an evaluation, with distances in the unit of their target.

    The loss stays what it is that training lowers.
    """
    told = dict(totals)
    for metric in network.training.metrics:
        power = POWERS.get(metric.kind)
        if power is not None and metric.derive is None and metric.name in told:
            told[metric.name] = told[metric.name] * unit_of(network, metric.target) ** power
    return told


def loss_notes(network: Network, streams: Mapping[str, Any]) -> Iterator[str]:
    """A line for each loss that is not in the unit of its target, or has outputs that no class uses."""
    for node in network.description.compared:
        classes, outputs = streams[node.target].classes, network.types[node.of].shape[-1:]
        if node.kind in CHOICES and classes and outputs and outputs[0] > len(classes):
            yield f"{node.of!r} has {outputs[0]} outputs for the {len(classes)} classes of {node.target!r}"
        unit = unit_of(network, node.target)
        if node.kind in SCALED and unit != 1.0:
            yield f"the loss is in units of {unit:.4g} of {node.target!r}; mae and mse are in its own"
