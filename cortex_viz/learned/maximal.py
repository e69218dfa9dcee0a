"""The examples that each channel of a layer answers most.  Zeiler and Fergus, 2014."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from cortex_compute.errors import SpecError
from cortex_core.network import Network
from cortex_core.probe import each, expect_layer, last_hidden, scored
from cortex_core.training.pieces import pieces
from cortex_core.training.source import Source
from cortex_viz.figure import figure, literal
from cortex_viz.learned.drawing import Array, as_pictures, bare, finite, sheet, size_of
from cortex_viz.learned.examples import picture_input
from cortex_viz.learned.gradcam import last_maps
from cortex_viz.sprite import shrunk

CHANNELS = 32
LONGEST = 64  # pixels of a picture


class Maximal(NamedTuple):
    """``rows`` (channels, count): the examples that each channel of a ``layer`` answers most, the strongest
    first; ``values``: how much, the largest over all places."""

    layer: str
    rows: Array
    values: Array


def maximal_of(
    network: Network,
    source: Source,
    layer: str | None = None,
    count: int = 9,
    channels: int = CHANNELS,
    backend: str = "auto",
) -> Maximal:
    """Looks through all examples of a source, for the first ``channels`` of a layer: by default of the one
    with the last maps, else of the last hidden one.

    Raises `SpecError` for a layer that does not exist.
    """
    if layer is None:
        maps = any(network.types[node.id].rank == 4 for node in network.description.layers)
        layer = last_maps(network) if maps else last_hidden(network) or scored(network)
    expect_layer(network, layer)
    if network.types[layer].rank < 2:
        raise SpecError(f"{layer!r} gives one number for each example, no channels")
    channels = min(channels, network.types[layer].shape[-1])
    rows: Array = np.empty((channels, 0), np.intp)
    values: Array = np.empty((channels, 0), np.float32)
    for found, outputs in each(network, source, [layer], backend=backend):
        strength = outputs[layer][..., :channels].reshape(len(found), -1, channels).max(axis=1)
        seen = np.concatenate([rows, np.tile(found, (channels, 1))], axis=1)
        values = np.concatenate([values, strength.T], axis=1)
        order = np.argsort(-values, axis=1, kind="stable")[:, :count]
        rows, values = np.take_along_axis(seen, order, 1), np.take_along_axis(values, order, 1)
    return Maximal(layer, rows, values)


def maximal(
    network: Network,
    source: Source,
    path: str | Path,
    layer: str | None = None,
    count: int = 9,
    backend: str = "auto",
) -> Path:
    """Draws the pictures of `maximal_of`, a row for each channel, the strongest first; returns ``path``.

    An example whose number is not finite leaves a gap.  Raises `SpecError` for a network without picture
    input, `DataError` where no number is finite.
    """
    name = picture_input(network)
    found = maximal_of(network, source, layer, count, backend=backend)
    _, told = finite(found.values, f"what {found.layer!r} gives")
    rows, which = np.unique(found.rows, return_inverse=True)
    shown: Array = as_pictures(_small(source, name, rows))[which.reshape(-1)]
    shown[~np.isfinite(found.values.reshape(-1))] = np.nan
    made = sheet(shown, found.rows.shape[1])
    shape = network.types[found.layer].shape
    what = "channels" if len(shape) > 2 else "units"
    title = literal(f"{found.layer}: {len(found.rows)} of {shape[-1]} {what}")
    with figure(path, *size_of(made, 5.0, 14.0)) as drawing:
        axes = drawing.subplots()
        axes.set_title("\n".join(filter(None, [title, told])))
        axes.imshow(np.nan_to_num(made, nan=1.0), cmap="gray", vmin=0, vmax=1)
        bare([axes])
        places = (np.arange(len(found.rows)) + 0.5) * (len(made) + 1) / len(found.rows) - 1
        axes.set_yticks(places, [str(i) for i in range(len(places))], fontsize=8)
        axes.tick_params(length=0)
    return Path(path)


def _small(source: Source, name: str, rows: Array) -> Array:
    """Some pictures of a stream, (n, h, w, c), shrunk as they are read."""
    parts = [(own, shrunk(arrays[name], LONGEST)) for own, arrays in pieces(source.select(rows), [name])]
    order = np.argsort(np.concatenate([own for own, _ in parts]))
    return np.asarray(np.concatenate([part for _, part in parts])[order])
