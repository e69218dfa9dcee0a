"""The outputs of a model: under the names of the description, and in the units of its data."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cortex_compute.errors import DataError, SpecError
from cortex_compute.types import DType, dtype
from cortex_core.exchange.to_onnx.types import code_of
from cortex_core.exchange.to_onnx.writer import Writer
from cortex_core.graph.value import Value
from cortex_core.network import Network
from cortex_core.predict import in_units

PROBES = (0.0, 1.0, -1.0, 2.0**20)
"""The last is large, so that what it is multiplied by is told from what is added, which may be large too."""


class Unit(NamedTuple):
    """What a scaled target is multiplied by, what is added, and the data type in which that is done."""

    spread: float
    centre: float
    dtype: DType


def put_outputs(
    network: Network, writer: Writer, found: dict[str, str], values: dict[str, Value], raw: bool
) -> dict[str, DType]:
    """Gives what was found for each output its name; in the unit of a scaled target unless ``raw``.

    Returns the data types of the outputs.
    """
    writer.where = "outputs"
    types = {name: value.dtype for name, value in values.items()}
    for name, made in found.items():
        scaled = None if raw else unit(network, name, values[name])
        if scaled is not None:
            types[name] = scaled.dtype
            spread, centre = (writer.constant(scaled.dtype.storage.type(x)) for x in scaled[:2])
            made = writer.emit("Cast", made, to=code_of(scaled.dtype))
            made = writer.emit("Add", writer.emit("Mul", made, spread), centre)
        shared = list(found.values()).count(made) > 1
        if shared or not writer.rename(made, name):
            made = writer.emit("Identity", made)
            writer.rename(made, name)
    return types


def unit(network: Network, name: str, value: Value) -> Unit | None:
    """The unit of a scaled target, in the data type that `predict` gives it in; None where there is none.

    Raises `SpecError` where the unit is more than that, as of dates.
    """
    probes = np.stack([np.full(value.shape[1:], x, np.float32) for x in PROBES])
    try:
        found = in_units(network, {name: probes})[name]
    except (DataError, IndexError, ValueError):
        found = None
    if found is probes:
        return None
    if found is not None and found.shape == probes.shape and found.dtype.kind == "f":
        numbers = found.reshape(len(PROBES), -1)
        centre, spread = numbers[0], (numbers[-1] - numbers[0]) / PROBES[-1]
        straight = np.allclose(numbers, centre + spread * np.array(PROBES)[:, None], rtol=1e-9)
        if straight and np.ptp(centre) == np.ptp(spread) == 0:
            return Unit(float(spread[0]), float(centre[0]), dtype(found.dtype))
    raise SpecError(
        f"{name}: ONNX cannot say the unit of its target; --raw (raw=True) leaves the layer's output"
    )
