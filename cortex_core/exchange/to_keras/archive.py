"""The files of Keras 3: an archive of the configuration and the weights, and the weights alone."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cortex_core.exchange.keras.archive import CONFIG, METADATA, WEIGHTS
from cortex_core.exchange.keras.numbered import group_of
from cortex_core.exchange.to_keras.graph import Graph, Layer, Tensor, encoded
from cortex_core.exchange.to_keras.order import listed

VERSION = "3.15.1"
"""The version of Keras that these files are compared with."""

NO_DATE = (1980, 1, 1, 0, 0, 0)
"""What an archive says of its members: the same network gives the same bytes."""

Named = Mapping[str, np.ndarray]


def archive(graph: Graph, outputs: Sequence[Tensor], name: str) -> bytes:
    """A ``.keras`` file."""
    members = {
        METADATA: json.dumps({"keras_version": VERSION}).encode(),
        CONFIG: json.dumps(model(graph, outputs, name), allow_nan=False).encode(),
        WEIGHTS: weights(graph, outputs, name),
    }
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as file:
        for member, content in members.items():
            file.writestr(zipfile.ZipInfo(member, NO_DATE), content)
    return written.getvalue()


def model(graph: Graph, outputs: Sequence[Tensor], name: str) -> dict[str, Any]:
    """The configuration of a Functional model."""
    config = {
        "name": name,
        "trainable": True,
        "layers": [_entry(layer) for layer in listed(graph.layers, outputs)],
        "input_layers": _ends(graph.inputs),
        "output_layers": _ends(outputs),
    }
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": config,
        "registered_name": "Functional",
    }


def _entry(layer: Layer) -> dict[str, Any]:
    nodes = [
        {"args": [*map(encoded, call.args)], "kwargs": encoded(call.keywords)}
        for call in layer.calls
        if call.args
    ]
    return {**layer.data(), "name": layer.name, "inbound_nodes": nodes}


def _ends(tensors: Sequence[Tensor]) -> list[Any]:
    """One stands alone, so that the model takes, or gives, an array."""
    found = [[x.layer, x.call, x.index] for x in tensors]
    return found[0] if len(found) == 1 else found


def weights(graph: Graph, outputs: Sequence[Tensor], name: str) -> bytes:
    """A ``.weights.h5`` file."""
    import h5py

    written = io.BytesIO()
    with h5py.File(written, "w") as file:
        file.create_group("vars").attrs["name"] = name
        for layer, group in grouped(listed(graph.layers, outputs)):
            file.create_group(f"layers/{group}/vars").attrs["name"] = layer.name
            for path, array in arrays(layer).items():
                file.create_dataset(f"layers/{group}/{path}", data=array)
    return written.getvalue()


def grouped(layers: Sequence[Layer]) -> Iterator[tuple[Layer, str]]:
    """Each layer and the group of its weights: the second Dense has "dense_1", whatever it is called."""
    seen = Counter[str]()
    for layer in layers:
        if not layer.is_operation:
            kind = group_of(layer.kind)
            yield layer, f"{kind}_{seen[kind]}" if seen[kind] else kind
            seen[kind] += 1


def arrays(layer: Layer) -> Named:
    """The arrays of a layer by their places below its group."""
    return {
        f"{part}/vars/{number}" if part else f"vars/{number}": array
        for part, own in layer.weights.items()
        for number, array in enumerate(own)
    }
