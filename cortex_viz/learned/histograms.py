"""Weights and gradients by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cortex_compute.errors import SpecError
from cortex_core.registry import nearest
from cortex_core.training.histograms import KINDS
from cortex_viz.figure import COLOURS, figure, literal

MOST = 12  # parameters


def histograms(rows: Sequence[Mapping[str, Any]], path: str | Path, layer: str | None = None) -> Path:
    """Draws the rows of `read_histograms`: for each parameter how its weights and its gradients are spread in
    each epoch, the darker the more in a bin, with the mean and one standard deviation around it; returns
    ``path``.

    ``layer``: of that layer alone; by default of the twelve largest parameters.  Raises `SpecError` for a
    layer without parameters.
    """
    names = chosen(rows, layer)
    with figure(path, 9, 1.9 * len(names) + 1.2) as drawing:
        panels = drawing.subplots(len(names), 2, squeeze=False, sharex=True)
        for line, name in zip(panels, names):
            for axes, kind in zip(line, KINDS):
                _panel(axes, [(row["epoch"], row[kind][name]) for row in rows if name in row[kind]])
                axes.set_title(literal(f"{name}: {kind}"))
                axes.tick_params(labelbottom=True)
        for axes in panels[-1]:
            axes.set_xlabel("epoch")
        _legend(drawing, panels[-1])
    return Path(path)


def chosen(rows: Sequence[Mapping[str, Any]], layer: str | None) -> list[str]:
    """The parameters of a layer, or the largest of all, in their order."""
    if not rows:
        raise SpecError("there is no epoch to draw: the training ended before the first")
    sizes = {name: sum(x["counts"]) + x["not_finite"] for name, x in rows[-1]["weights"].items()}
    if layer is None:
        return [n for n in sizes if n in sorted(sizes, key=lambda n: -sizes[n])[:MOST]]
    layers = list(dict.fromkeys(name.rpartition("/")[0] for name in sizes))
    if layer not in layers:
        hint = nearest(layer, layers) or f"Those with parameters are {', '.join(layers)}"
        raise SpecError(f"{layer!r:.80} is no layer with parameters. {hint}")
    return [name for name in sizes if name.rpartition("/")[0] == layer]


def _panel(axes: Any, found: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
    known = [(epoch, x) for epoch, x in found if x["low"] is not None]
    if not known:
        axes.text(0.5, 0.5, "no finite numbers", ha="center", va="center", transform=axes.transAxes)
        return
    for epoch, x in known:
        if x["low"] == x["high"]:
            continue  # the line of the means shows it
        edges = np.linspace(x["low"], x["high"], len(x["counts"]) + 1)
        shares = np.array(x["counts"])[:, None] / max(1, max(x["counts"]))
        axes.pcolormesh([epoch - 0.5, epoch + 0.5], edges, shares, cmap="Blues", norm=_shades())
    epochs = [epoch for epoch, _ in known]
    means, spread = (np.array([x[key] for _, x in known]) for key in ("mean", "std"))
    axes.plot(epochs, means, color=COLOURS[1], linewidth=1.4)
    for side in (means - spread, means + spread):
        axes.plot(epochs, side, color=COLOURS[1], linewidth=0.8, linestyle=":")
    axes.grid(visible=False)
    axes.xaxis.get_major_locator().set_params(integer=True)


def _shades() -> Any:
    """By the root of a share, which shows rare numbers, too."""
    from matplotlib.colors import PowerNorm

    return PowerNorm(0.5, vmin=0, vmax=1)


def _legend(drawing: Any, lowest: Any) -> None:
    """What the lines are, above; what the shades are, below the lowest panels."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.lines import Line2D

    mean = Line2D([], [], color=COLOURS[1], linewidth=1.4)
    around = Line2D([], [], color=COLOURS[1], linewidth=0.8, linestyle=":")
    words = ["mean", "one standard deviation around it"]
    drawing.legend([mean, around], words, loc="outside upper left", ncols=2)
    drawing.colorbar(
        ScalarMappable(_shades(), "Blues"),
        ax=lowest,
        location="bottom",
        shrink=0.4,
        aspect=30,
        label="numbers in a bin, as a share of the fullest bin of the epoch",
    )
