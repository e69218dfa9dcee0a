"""The picture of descents as a file: paths on the contour, value and gradient norm by step."""

from __future__ import annotations

import textwrap
from pathlib import Path as File
from typing import Any

import numpy as np

from cortex_viz.descent.curves import Curves
from cortex_viz.descent.scene import Axes, Function, Logs, Path, Scene, scene
from cortex_viz.figure import COLOURS, figure, literal

LETTERS = 150  # in a line of notes
TICKS = 7  # of the bar that tells values
MARKED = 60  # paths of fewer states show each of them


def paths(
    logs: Logs | Scene, path: str | File, f: Function | None = None, axes: Axes = (0, 1), whole: bool = False
) -> File:
    """Draws logs over the contour of what they descended, value and gradient norm by step; returns ``path``.

    ``f``, ``axes``, ``whole`` and what is raised are those of `scene`, which may be given itself; ImportError
    where matplotlib is absent.
    """
    drawn = scene(logs, f, axes, whole)
    notes = textwrap.wrap(" ".join(literal(note, 400) for note in drawn.notes), LETTERS)
    with figure(path, 11.5, 5.8 + 0.17 * len(notes)) as made:
        made.suptitle(literal(drawn.title), x=0.01, ha="left", fontweight="bold")
        panels = made.subplot_mosaic([["plane", "value"], ["plane", "norm"]], width_ratios=[1.35, 1])
        _contour(made, panels["plane"], drawn)
        for i, one in enumerate(drawn.paths):
            _track(panels["plane"], one, i, drawn)
        panels["plane"].legend(loc="best", frameon=True, framealpha=0.85, fontsize=9)
        _curves(panels["value"], drawn.heights)
        _curves(panels["norm"], drawn.norms)
        panels["norm"].set_xlabel("step")
        if notes:
            made.supxlabel("\n".join(notes), x=0.01, ha="left", fontsize=9)
    return File(path)


def _style(i: int) -> dict[str, Any]:
    return {"color": COLOURS[i % len(COLOURS)], "linestyle": "-" if i < len(COLOURS) else "--"}


def _contour(made: Any, axes: Any, drawn: Scene) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    under = drawn.surface
    unit = float(np.abs(under.scale.lines).max())  # matplotlib's contours end at 1e250
    lines = under.scale.lines / unit
    height = np.ma.masked_invalid(under.scale.height(under.values) / unit)
    pale = LinearSegmentedColormap.from_list("pale", ["#ffffff", "#a9bccb"])
    filled = axes.contourf(under.x, under.y, height, lines, cmap=pale, extend="both")
    axes.contour(under.x, under.y, height, lines, colors="#8397a8", linewidths=0.6, linestyles="solid")
    at, labels = under.scale.labels(TICKS)
    bar = made.colorbar(filled, ax=axes, location="bottom", shrink=0.9, aspect=50, ticks=at / unit)
    bar.ax.set_xticklabels(labels)
    above = under.scale.log and under.scale.low
    bar.set_label(f"value above {above:.6g}" if above else "value")
    axes.set(xlim=(under.x[0], under.x[-1]), ylim=(under.y[0], under.y[-1]))
    axes.set(xlabel=drawn.labels[0], ylabel=drawn.labels[1])
    axes.grid(False)
    if len(drawn.minima):
        axes.plot(*drawn.minima.T, "x", color="#1a1a1a", markersize=11, label="minimum", linestyle="none")


def _track(axes: Any, path: Path, i: int, drawn: Scene) -> None:
    points = drawn.window.pulled(path.track)
    dot = "." if len(points) < MARKED else None
    axes.plot(*points.T, **_style(i), linewidth=1.6, marker=dot, markersize=5, label=literal(path.name))
    axes.plot(*points[:1].T, "o", markerfacecolor="white", markeredgecolor="#1a1a1a", markersize=6)
    finite = points[np.all(np.isfinite(points), axis=1)]
    axes.plot(*finite[-1:].T, "o", color=COLOURS[i % len(COLOURS)], markeredgecolor="white", markersize=8)


def _curves(axes: Any, shown: Curves) -> None:
    if shown.log:
        axes.set_yscale("log")
    for i, (steps, values) in enumerate(zip(shown.steps, shown.values)):
        axes.plot(steps, values, **_style(i), linewidth=1.6)
    if all(np.all(np.isnan(values)) for values in shown.values):
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "no number is finite", transform=axes.transAxes, ha="center")
    axes.set_title(shown.title)
