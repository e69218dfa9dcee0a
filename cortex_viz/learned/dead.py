"""Units of rectified layers that never answer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cortex_compute.errors import DataError, SpecError
from cortex_core.layers.activations import Relu, Relu6
from cortex_core.network import Network
from cortex_core.probe import each, expect_layer
from cortex_core.training.source import Source
from cortex_viz.figure import COLOURS, figure, literal
from cortex_viz.learned.drawing import Array

RECTIFIED = (Relu, Relu6)


def rectified(network: Network) -> list[str]:
    """The layers whose output is 0 where they do not answer: relu and relu6, as layers or as activations."""
    return [
        node.id
        for node in network.description.layers
        if isinstance(getattr(node.layer, "activation", node.layer), RECTIFIED)
    ]


def dead_of(
    network: Network, source: Source, layer: str | None = None, backend: str = "auto"
) -> dict[str, Array]:
    """Which units (the last axis) of each rectified layer, or of the one that is named, are above 0 for no
    example of a source, at no place: {id: bool (units,)}.

    Raises `SpecError` where there is no such layer, `DataError` where it gives numbers that are not finite.
    """
    layers = rectified(network)
    if layer is not None:
        expect_layer(network, layer)
    wanted = [id for id in layers if layer in (None, id)]
    if not wanted:
        told = "no layer has" if layer is None else f"{layer!r} does not have"
        raise SpecError(
            f"{network.name}: {told} relu or relu6. Layers with such: {', '.join(layers) or 'none'}"
        )
    dead = {id: np.ones(network.types[id].shape[-1], bool) for id in wanted}
    for _, outputs in each(network, source, wanted, backend=backend):
        for id, values in outputs.items():
            if not np.isfinite(values).all():
                raise DataError(
                    f"{id!r} gives numbers that are not finite: its units neither live nor are dead"
                )
            dead[id] &= ~(values > 0).any(axis=tuple(range(values.ndim - 1)))
    return dead


def dead(found: Mapping[str, Array], path: str | Path) -> Path:
    """Draws the share of the dead units of each layer of `dead_of`; returns ``path``."""
    shares = [100 * float(units.mean()) for units in found.values()]
    with figure(path, 6, 0.32 * len(found) + 1.2) as drawing:
        axes = drawing.subplots()
        places = np.arange(len(found))
        axes.barh(places, shares, color=COLOURS[1])
        axes.set_yticks(places, [literal(id, 40) for id in found])
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("% of its units")
        axes.set_title("units that are never above 0")
        for place, share, units in zip(places, shares, found.values()):
            inside = share > 70
            axes.text(
                share + (-1 if inside else 1),
                place,
                f"{int(units.sum())} of {len(units)}",
                va="center",
                ha="right" if inside else "left",
                fontsize=8,
                color="white" if inside else "black",
            )
    return Path(path)
