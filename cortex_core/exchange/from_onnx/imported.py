"""An ONNX file becomes a network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cortex_compute.errors import SpecError
from cortex_core.declared import declare
from cortex_core.exchange.from_onnx.convert import Converted, convert
from cortex_core.exchange.from_onnx.reader import read as read_file
from cortex_core.exchange.from_onnx.value import Value
from cortex_core.network import Network
from cortex_core.spec import read
from cortex_core.spec.sections import default_name
from cortex_core.spec.write import to_yaml

UNPROVED = "unproved"
MOST_TOLD = 5
"""So many weights that are not finite are named."""


@dataclass
class Imported:
    """A network, and where the inputs and outputs of the ONNX file are in it.

    ``file`` says what was imported, ``yaml`` is its description, for people.  ``inputs`` and ``outputs`` give
    for each name of the file the value here.
    """

    file: str
    network: Network
    yaml: str
    inputs: dict[str, Value]
    outputs: dict[str, Value]
    notes: list[str]

    def report(self) -> dict[str, Any]:
        """What the command writes beside the model."""
        return {
            "file": self.file,
            "verdict": UNPROVED,
            "inputs": _told(self.inputs),
            "outputs": _told(self.outputs),
            "notes": self.notes,
        }


def from_onnx(path: str | os.PathLike[str]) -> Network:
    """The network of an ONNX file, with opsets of 7 to the newest that the package onnx knows.

    Example::

        network = cortex.from_onnx("model.onnx")
        network.predict({"image": x})  # pictures (N, C, H, W), as they are in ONNX

    The first axis of the inputs is that of the examples; where a graph cannot be read so,
    ``network.origin["notes"]`` says how it was.  Inputs and outputs have the axes that they have in ONNX.
    Weights are parameters, so the network can be trained on.

    Raises `SpecError` with every operator that is not supported, and for files that are damaged, circular, or
    keep numbers outside the folder of the model.  Nothing in the file is executed.
    """
    return load(path).network


def load(path: str | os.PathLike[str]) -> Imported:
    """As `from_onnx`, with what the command tells."""
    place = Path(path)
    file = read_file(place)
    try:
        converted = convert(file)
    except SpecError as error:
        raise SpecError(f"{place}: {error}") from None
    data = converted.description(default_name(place.name))
    description = read(data)
    network = Network.blank(description, declare(description))
    weights = converted.builder.weights
    notes = [*_reading(converted), *dict.fromkeys(converted.notes), *_not_finite(weights)]
    for name in [*weights]:  # a large model's are not held twice for long
        network.store.write(name, weights.pop(name))
    told = f"{place.name} (ONNX opset {file.opset}{', ' if file.producer else ''}{file.producer})"
    network.origin = {"file": told, "proof": UNPROVED} | ({"notes": notes} if notes else {})
    return Imported(told, network, to_yaml(data), converted.inputs, converted.outputs, notes)


def _not_finite(weights: Mapping[str, np.ndarray]) -> list[str]:
    """The weights that hold NaN or infinite numbers, as masks do, or those of a training that failed."""
    found = [name for name, array in weights.items() if not np.isfinite(array).all()]
    more = f" and {len(found) - MOST_TOLD:,} more" if len(found) > MOST_TOLD else ""
    told = f"NaN or infinite numbers, as the file has them, are in {', '.join(found[:MOST_TOLD])}{more}"
    return [told] if found else []


def _told(values: Mapping[str, Value]) -> dict[str, Any]:
    """What values of ONNX are called here, and which of their axes there is that of the examples."""
    return {name: {"id": x.source, "axis_of_the_examples": x.batch} for name, x in values.items()}


def _reading(converted: Converted) -> list[str]:
    """Which axis the examples lie along, where it is not the first."""
    if converted.batch == 0:
        return []
    if converted.batch is None:
        told = "the whole of an input is one example: give it with an axis of the examples before all others"
    else:
        told = (
            f"the examples lie along axis {converted.batch} of the inputs in ONNX, and along the first here"
        )
    return [f"{told}, for the graph cannot be read with them along its first axis"]
