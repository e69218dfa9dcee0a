"""What a layer makes of an example."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cortex_compute.errors import SpecError
from cortex_core.network import Network
from cortex_core.probe import activations as outputs_of
from cortex_viz.figure import COLOURS, figure, literal
from cortex_viz.learned.drawing import as_pictures, bare, columns_of, finite, sheet, size_of
from cortex_viz.learned.examples import Examples

MOST = 256  # maps


def first_maps(network: Network) -> str:
    """The first layer that gives maps (height, width, channels), else the first layer."""
    layers: list[str] = [node.id for node in network.description.layers]
    return next((id for id in layers if network.types[id].rank == 4), layers[0])


def activations(
    network: Network, x: Examples, path: str | Path, layer: str | None = None, title: str = ""
) -> Path:
    """Draws what a layer, by default the first with maps, makes of one example; returns ``path``.

    ``x``: {input: array (1, ...)}.  Maps (height, width, channels) become small pictures beside the one that
    the network sees, a sequence (length, channels) one picture, a vector bars.  Raises `SpecError` for a
    layer that does not exist, or that gives something else, `DataError` where no number is finite.
    """
    layer = first_maps(network) if layer is None else layer
    found, told = finite(outputs_of(network, x, [layer])[layer][0], f"what {layer!r} gives")
    what = f"{layer}: {' x '.join(map(str, found.shape))}{f', {title}' if title else ''}"
    what += f"; {told}" if told else ""
    if found.ndim == 3:
        return _maps(found, x, path, what)
    if found.ndim not in (1, 2):
        raise SpecError(
            f"{layer!r} gives {list(found.shape)} for each example; expected maps, rows, or a vector"
        )
    with figure(path, 8, 3.2) as drawing:
        axes = drawing.subplots()
        axes.set_title(literal(what))
        if found.ndim == 1:
            axes.bar(np.arange(len(found)), found, width=1.0 if len(found) > 40 else 0.8, color=COLOURS[0])
            axes.set_xlabel("unit")
        else:
            image = axes.imshow(found.T, aspect="auto", interpolation="nearest", cmap="viridis")
            axes.set_xlabel("place")
            axes.set_ylabel("channel")
            axes.grid(visible=False)
            drawing.colorbar(image, ax=axes)
    return Path(path)


def _maps(maps: np.ndarray, x: Examples, path: str | Path, what: str) -> Path:
    height, width, channels = maps.shape
    made = sheet(np.moveaxis(maps[..., :MOST], 2, 0), columns_of(min(channels, MOST), height, width))
    picture = next((array[0] for array in x.values() if array.ndim == 4), None)
    wide, high = size_of(made)
    with figure(path, wide + (2.0 if picture is not None else 0), max(high, 2.0)) as drawing:
        ratios = [2.0, wide] if picture is not None else [wide]
        row = drawing.subplots(1, len(ratios), width_ratios=ratios, squeeze=False)[0]
        if picture is not None:
            row[0].imshow(as_pictures(picture[None])[0], cmap="gray", vmin=0, vmax=1)
        image = row[-1].imshow(made, cmap="viridis")
        row[-1].set_title(literal(what + (f" (the first {MOST})" if channels > MOST else "")))
        drawing.colorbar(image, ax=row[-1], shrink=0.6, fraction=0.05, pad=0.02)
        bare(row)
    return Path(path)
