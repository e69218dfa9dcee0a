"""The regions that a class hangs on.  Selvaraju et al., Grad-CAM, 2017."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cortex_compute.errors import SpecError
from cortex_core.network import Network
from cortex_core.probe import expect_layer
from cortex_viz.figure import figure
from cortex_viz.learned.drawing import Array, as_pictures, bare, entitle, finite, largest, scale_of_maps
from cortex_viz.learned.examples import Examples, class_gradients, picture_input


def last_maps(network: Network) -> str:
    """The last layer whose maps come from an activation, as Grad-CAM looks at the rectified maps of the last
    convolution; without activations the last that gives maps.  Raises `SpecError` where none does."""
    maps = [node for node in network.description.layers if network.types[node.id].rank == 4]
    if not maps:
        raise SpecError(f"{network.name}: no layer gives maps (height, width, channels)")
    active = [node for node in maps if _activation(node.layer) not in (None, "linear")]
    return str((active or maps)[-1].id)


def _activation(layer: Any) -> str | None:
    own = getattr(layer, "activation", layer)
    return own.kind if getattr(own, "is_activation", False) else None


def gradcam_of(
    network: Network, x: Examples, layer: str | None = None, classes: Sequence[int] | None = None
) -> Array:
    """max(0, sum of a_k A_k) over the maps A_k of a layer, by default `last_maps`: (n, h, w), per example.

    a_k is the mean over the map of d score / d A_k; ``x`` and ``classes`` as for `saliency_of`.  Raises
    `SpecError` for a layer that does not exist, or gives no maps.
    """
    layer = last_maps(network) if layer is None else layer
    expect_layer(network, layer)
    if network.types[layer].rank != 4:
        shape = list(network.types[layer].shape[1:])
        raise SpecError(f"{layer!r} gives {shape}, no maps (height, width, channels)")
    found = class_gradients(network, x, [layer], classes)
    weights = found.gradients[layer].mean(axis=(1, 2), keepdims=True)
    return np.asarray(np.maximum((weights * found.values[layer]).sum(axis=3), 0))


def gradcam(
    network: Network,
    x: Examples,
    path: str | Path,
    layer: str | None = None,
    classes: Sequence[int] | None = None,
    titles: Sequence[str] = (),
) -> Path:
    """Draws each example above its `gradcam_of` over it, each scaled by its own largest; returns ``path``."""
    pictures = as_pictures(x[picture_input(network)])
    maps, told = finite(gradcam_of(network, x, layer, classes), "Grad-CAM")
    height, width = pictures.shape[1:3]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    with figure(path, 1.5 * len(maps) + 1.2, 3.8) as drawing:
        if told:
            drawing.suptitle(told, fontsize=9)
        rows = drawing.subplots(2, len(maps), squeeze=False)
        for i, column in enumerate(rows.T):
            for axes in column:
                axes.imshow(pictures[i], cmap="gray", vmin=0, vmax=1, extent=extent)
            column[1].imshow(
                maps[i],
                cmap="inferno",
                vmin=0,
                vmax=largest(maps[i]),
                alpha=0.6,
                extent=extent,
                interpolation="bilinear",
            )
            entitle(column[0], titles[i] if titles else "")
        bare(rows.flat)
        scale_of_maps(drawing, rows, 0.6)
    return Path(path)
