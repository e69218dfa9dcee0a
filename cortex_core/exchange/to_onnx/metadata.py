"""What stands beside the graph of a model: the description, and what was learned of raw data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cortex_compute.errors import DataError
from cortex_core.network import Network
from cortex_core.spec.write import to_yaml
from cortex_core.streams import CHOICES
from cortex_core.training.source import find


def metadata(network: Network) -> dict[str, str]:
    """Texts by name.  ``cortex.description`` is YAML, the others JSON.

    ``cortex.classes`` has for an output the names of its classes, ``cortex.preprocessing`` how raw data
    become inputs, as a .cortex file has it, ``cortex.origin`` where the parameters were imported.
    """
    told = {"cortex.description": to_yaml(network.description.canonical)}
    classes = _classes(network)
    if classes:
        told["cortex.classes"] = json.dumps(classes)
    if network.encoding is not None:
        told["cortex.preprocessing"] = json.dumps(network.encoding.state())
    if network.origin is not None:
        told["cortex.origin"] = json.dumps(network.origin)
    return told


def _classes(network: Network) -> dict[str, list[Any]]:
    """By output, where a loss chooses among classes whose names were learned, or are those of a data set."""
    streams = _streams(network)
    found: dict[str, list[Any]] = {}
    for loss in network.description.compared:
        names = getattr(streams.get(loss.target), "classes", None)
        if loss.kind in CHOICES and names and loss.of in network.description.outputs:
            found.setdefault(loss.of, [str(name) for name in names])
    return found


def _streams(network: Network) -> Mapping[str, Any]:
    """What is known of the data: as it was learned, or of a data set that has a name."""
    if network.encoding is not None:
        return network.encoding.streams
    data = network.training.data
    try:
        return find(data).streams if isinstance(data, str) else {}
    except DataError:
        return {}
