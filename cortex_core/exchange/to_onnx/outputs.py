"""The outputs of a model: under the names of the description, and in the units of its data."""

from __future__ import annotations

import numpy as np

from cortex_compute.errors import DataError, SpecError
from cortex_core.exchange.to_onnx.writer import Writer
from cortex_core.graph.value import Value
from cortex_core.network import Network
from cortex_core.predict import in_units

PROBES = (0.0, 1.0, -1.0, 1000.0)


def put_outputs(
    network: Network, writer: Writer, found: dict[str, str], values: dict[str, Value], raw: bool
) -> None:
    """Gives what was found for each output its name; in the unit of a scaled target unless ``raw``."""
    writer.where = "outputs"
    for name, made in found.items():
        scaled = None if raw else unit(network, name, values[name])
        if scaled is not None:
            spread, centre = (writer.constant(np.float32(x)) for x in scaled)
            made = writer.emit("Add", writer.emit("Mul", made, spread), centre)
        shared = list(found.values()).count(made) > 1
        if shared or not writer.rename(made, name):
            made = writer.emit("Identity", made)
            writer.rename(made, name)


def unit(network: Network, name: str, value: Value) -> tuple[float, float] | None:
    """What a scaled target is multiplied by, and what is added; None where an output has no unit.

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
        centre, spread = numbers[0], numbers[1] - numbers[0]
        straight = np.allclose(numbers, centre + spread * np.array(PROBES)[:, None], rtol=1e-9)
        if straight and np.ptp(centre) == np.ptp(spread) == 0:
            return float(spread[0]), float(centre[0])
    raise SpecError(
        f"{name}: ONNX cannot say the unit of its target; --raw (raw=True) leaves the layer's output"
    )
