"""The pixels that a class hangs on.  Simonyan, Vedaldi and Zisserman, 2014."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cortex_core.network import Network
from cortex_viz.figure import figure
from cortex_viz.learned.drawing import Array, as_pictures, bare, entitle, finite, largest, scale_of_maps
from cortex_viz.learned.examples import Examples, class_gradients, picture_input


def saliency_of(network: Network, x: Examples, classes: Sequence[int] | None = None) -> Array:
    """|d score / d pixel|, the largest over the channels, of each example: (n, height, width).

    ``x``: {input: array (n, ...)}.  The score is that before the softmax, of the class that ``classes`` names
    for each example, by default the predicted one.  Raises `SpecError` for a network without picture input.
    """
    name = picture_input(network)
    found = class_gradients(network, x, [name], classes)
    return np.asarray(np.abs(found.gradients[name]).max(axis=3))


def saliency(
    network: Network,
    x: Examples,
    path: str | Path,
    classes: Sequence[int] | None = None,
    titles: Sequence[str] = (),
) -> Path:
    """Draws each example above its `saliency_of`, each scaled by its own largest; returns ``path``."""
    maps, told = finite(saliency_of(network, x, classes), "the saliency")
    pictures = as_pictures(x[picture_input(network)])
    with figure(path, 1.5 * len(maps) + 1.2, 3.8) as drawing:
        if told:
            drawing.suptitle(told, fontsize=9)
        rows = drawing.subplots(2, len(maps), squeeze=False)
        for i, column in enumerate(rows.T):
            column[0].imshow(pictures[i], cmap="gray", vmin=0, vmax=1)
            entitle(column[0], titles[i] if titles else "")
            column[1].imshow(maps[i], cmap="inferno", vmin=0, vmax=largest(maps[i]))
        bare(rows.flat)
        scale_of_maps(drawing, rows)
    return Path(path)
