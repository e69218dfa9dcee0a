"""The page of descents: paths over the contour with a slider that replays them, and curves by step."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path as File
from typing import Any

import numpy as np

from cortex_viz import charts
from cortex_viz.charts import Series
from cortex_viz.descent.scene import Axes, Function, Logs, Path, Scene, low_enough, scene, spread
from cortex_viz.descent.surface import Array, Surface
from cortex_viz.figure import COLOURS
from cortex_viz.page import facts, grid, number, plain, text
from cortex_viz.page import page as page_of

SCRIPT = (File(__file__).parent.parent / "web/descent.js").read_text("utf-8")
STATES = 1500  # of a path that a page holds
NAMED = 4  # x of more dimensions is told by the two coordinates of the picture alone
TOP = 65534  # the highest number of a height; the next one stands where the function is not finite


def page(
    logs: Logs, f: Function | None = None, axes: Axes = (0, 1), whole: bool = False, title: str = ""
) -> str:
    """One self-contained HTML file: what `paths` draws, to be replayed step by step, with its numbers.

    ``f``, ``axes``, ``whole`` and what is raised are those of `paths`; no matplotlib is needed.
    """
    drawn = scene(logs, f, axes, whole)
    return page_of(title or drawn.title, _body(drawn), scripts=[charts.SCRIPT, SCRIPT])


def _body(drawn: Scene) -> Iterator[str]:
    start = drawn.paths[0].xs[0]
    known = {} if drawn.lowest is None else {"least value": text(f"{drawn.lowest:.6g}")}
    yield f"<p class='soft'>{text(drawn.about, 400)}</p>" if drawn.about else ""
    yield facts({"dimensions": str(len(start)), "from": text(_point(start)), **known})
    yield contour(drawn)
    lines = f"{drawn.surface.scale.told()}; a ring is the start"
    yield f"<p class='soft'>{text(lines, 400)}{', × a known minimum' if len(drawn.minima) else ''}.</p>"
    yield "".join(f"<p class='soft'>{text(note, 400)}</p>" for note in drawn.notes)
    yield "<h2>Where they ended</h2>"
    yield _table(drawn.paths)
    title, values = drawn.heights
    for head, curves in ((title.capitalize(), values), ("Gradient norm", [p.norms for p in drawn.paths])):
        yield f"<h2>{head}</h2>"
        yield _curves(drawn.paths, curves)


def _point(x: Array) -> str:
    told = ", ".join(f"{v:.5g}" for v in x[:NAMED])
    return f"({told}{', …' if len(x) > NAMED else ''})"


def _table(paths: Sequence[Path]) -> str:
    head = ("optimizer", "steps", "value", "gradient norm", "distance", "calls of f", "seconds", "stopped")
    rows = (
        (
            *(text(p.name), f"{p.steps[-1]:,}", _number(p.values[-1]), _number(p.norms[-1])),
            *("–" if p.distance is None else _number(p.distance), f"{p.calls:,}", f"{p.seconds:.3f}"),
            text(p.stopped, 200),
        )
        for p in paths
    )
    return grid("Distance is that to the nearest known minimum.", head, rows, right=range(1, len(head) - 1))


def _number(value: float) -> str:
    """NaN is the norm of a gradient that was not asked for."""
    return "–" if np.isnan(value) else number(float(value)) if np.isfinite(value) else "not finite"


def _curves(paths: Sequence[Path], values: Sequence[Array]) -> str:
    """Lines by step, as far as they can share axes."""
    series = []
    for i, (path, y) in enumerate(zip(paths, values)):
        if np.any(np.isfinite(y)):
            kept, colour = _kept(len(y)), i % len(COLOURS)
            shown = [v if low else None for v, low in zip(y[kept].tolist(), low_enough(y)[kept])]
            series.append(
                Series(path.name, path.steps[kept].tolist(), shown, i >= len(COLOURS), colour=colour)
            )
    return charts.lines(series, x="step", log=spread(values))


def contour(drawn: Scene) -> str:
    """The chart that `SCRIPT` draws, after `charts.SCRIPT`."""
    data = {
        "title": plain(drawn.title),
        "names": drawn.labels,
        "low": drawn.window.low.tolist(),
        "high": drawn.window.high.tolist(),
        "minima": drawn.minima.tolist(),
        "grid": _grid(drawn.surface),
        "last": int(max(path.steps[-1] for path in drawn.paths)),
        "paths": [_path(path, i, drawn) for i, path in enumerate(drawn.paths)],
    }
    return charts.chart("contour", data)


def _path(path: Path, i: int, drawn: Scene) -> dict[str, Any]:
    """A path as far as it is finite."""
    finite = np.all(np.isfinite(path.xs), axis=1)
    count = len(finite) if finite.all() else int(np.argmin(finite))
    kept = _kept(count)
    n = path.xs.shape[1]
    shown = list(range(n)) if n <= NAMED else list(drawn.axes)
    return {
        "name": plain(path.name),
        "colour": i % len(COLOURS),
        "dashed": i >= len(COLOURS),
        "cut": n > NAMED,
        "steps": path.steps[kept].tolist(),
        "at": _rounded(drawn.window.pulled(path.track[kept])),
        "x": _rounded(path.xs[kept][:, shown]),
        "value": _rounded(path.values[kept]),
        "norm": _rounded(path.norms[kept]),
    }


def _kept(count: int) -> Array:
    """Which of so many states a page holds: evenly chosen, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, STATES)).round().astype(int))


def _rounded(values: Array) -> Any:
    """Seven digits; None where a number is not finite."""
    if values.ndim > 1:
        return [_rounded(row) for row in values]
    return [float(f"{v:.7g}") if np.isfinite(v) else None for v in values.tolist()]


def _grid(under: Surface) -> dict[str, Any]:
    """Heights as numbers of 16 bits, 0 to `TOP`, row by row from the lowest y; the lines in the same unit."""
    height, lines = under.scale.height(under.values), under.scale.lines
    step = lines[1] - lines[0]
    low = lines[0] - step
    finite = np.isfinite(height)
    unit = TOP / (max(float(height[finite].max(initial=lines[-1])), float(lines[-1])) - low)
    with np.errstate(invalid="ignore"):
        heights = np.where(finite, np.clip(unit * (height - low), 0, TOP).round(), TOP + 1).astype("<u2")
    return {
        "width": height.shape[1],
        "height": height.shape[0],
        "first": float(unit * (lines[0] - low)),
        "spacing": float(unit * step),
        "lines": len(lines),
        "heights": base64.b64encode(heights.tobytes()).decode(),
    }
