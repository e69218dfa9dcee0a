"""The kernels of a layer, as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cortex_compute.errors import SpecError
from cortex_core.network import Network
from cortex_core.probe import expect_layer
from cortex_viz.figure import figure, literal
from cortex_viz.learned.drawing import SIGNED, Array, bare, columns_of, finite, largest, sheet, size_of

NO_CHANGE = ("flatten", "dropout", "gaussian_dropout", "gaussian_noise")
MOST = 256  # filters
MOST_OF_MANY = 32  # filters, and channels, where each channel of a filter is a picture of its own


class Filters(NamedTuple):
    """Kernels (filters, height, width, channels) of a ``layer``; ``coloured``: the channels are colours."""

    layer: str
    kernels: Array
    coloured: bool


def filters_of(network: Network, layer: str | None = None) -> Filters:
    """The kernels of a layer, by default of the first that has some which are pictures.

    Of a dense layer over a picture the weights of each unit are one.  Raises `SpecError` where none are.
    """
    nodes = network.description.layers
    if layer is not None:
        expect_layer(network, layer)
    for node in nodes:
        kernels = _kernels(network, node)
        if kernels is not None and layer in (None, node.id):
            reads_input = _behind_flatten(network, node.id) in [x.name for x in network.description.inputs]
            return Filters(node.id, kernels, reads_input and kernels.shape[-1] == 3)
    having = ", ".join(node.id for node in nodes if _kernels(network, node) is not None)
    wanted = "no layer has kernels" if layer is None else f"{layer!r} has no kernels"
    raise SpecError(f"{network.name}: {wanted} that are pictures. Layers with such: {having or 'none'}")


def _kernels(network: Network, node: Any) -> Array | None:
    kernel = network.parameters.get(f"{node.id}/kernel")
    if kernel is None:
        return None
    if getattr(node.layer, "layer", node.layer).kind.startswith("conv_transpose"):  # (..., out, in)
        kernel = kernel.swapaxes(-1, -2)
    if kernel.ndim == 4:  # (height, width, in, out)
        return np.moveaxis(kernel, 3, 0)
    if kernel.ndim == 3:  # (length, in, out)
        return np.asarray(kernel.transpose(2, 1, 0)[..., None])
    shape = network.types[_behind_flatten(network, node.id)].shape[1:]
    if kernel.ndim == 2 and len(shape) == 3 and np.prod(shape) == len(kernel):
        return np.asarray(kernel.T.reshape(-1, *shape))
    return None


def _behind_flatten(network: Network, layer: str) -> str:
    """What a layer reads, where flatten and noise do not count."""
    nodes = {node.id: node for node in network.description.layers}
    source: str = nodes[layer].sources[0]
    while source in nodes and nodes[source].kind in NO_CHANGE:
        source = nodes[source].sources[0]
    return source


def filters(network: Network, path: str | Path, layer: str | None = None) -> Path:
    """Draws the kernels of a layer: blue is below 0, red above; returns ``path``.

    Those over one channel, or over the colours of a picture, are one small picture each; of others each row
    is a filter, and each column a channel that it reads.  Raises `SpecError` as `filters_of` does.
    """
    name, kernels, coloured = filters_of(network, layer)
    count, height, width, channels = kernels.shape
    if channels == 1 or coloured:
        shown, drawn = f"{min(count, MOST)} of {count} filters", kernels[:MOST]
        made = sheet(drawn if coloured else drawn[..., 0], columns_of(len(drawn), height, width))
    else:
        drawn = kernels[:MOST_OF_MANY, :, :, :MOST_OF_MANY]
        shown = f"{len(drawn)} of {count} filters (rows), {drawn.shape[3]} of {channels} channels"
        made = sheet(np.moveaxis(drawn, 3, 1).reshape(-1, height, width), drawn.shape[3])
    drawn, told = finite(drawn, f"the kernels of {name!r}")
    most = largest(drawn)
    with figure(path, *size_of(made)) as drawing:
        axes = drawing.subplots()
        axes.set_title("\n".join(filter(None, [literal(f"{name}: {shown}, {height} x {width}"), told])))
        if coloured:
            axes.imshow(np.where(np.isfinite(made), 0.5 + made / (2 * most), 1.0))
        else:
            image = axes.imshow(made, cmap=SIGNED, vmin=-most, vmax=most)
            drawing.colorbar(image, ax=axes, shrink=0.6, fraction=0.05, pad=0.02, label="weight")
        bare([axes])
    return Path(path)
