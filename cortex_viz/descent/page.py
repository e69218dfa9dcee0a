"""The page of descents: paths over the contour with a slider that replays them, and curves by step."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path as File
from typing import Any

import numpy as np

from cortex_viz import charts
from cortex_viz.charts import Series
from cortex_viz.descent.curves import Curves
from cortex_viz.descent.scene import NAMED, Axes, Function, Logs, Path, Scene, point, scene
from cortex_viz.descent.surface import Array, Surface
from cortex_viz.figure import COLOURS
from cortex_viz.page import facts, grid, number, plain, text
from cortex_viz.page import page as page_of

SCRIPT = (File(__file__).parent.parent / "web/descent.js").read_text("utf-8")
STATES = 1500  # of a path that a page holds, beside the first and the last
TOP = 65534  # the highest number of a height; the next one stands where the function is not finite


def page(
    logs: Logs | Scene, f: Function | None = None, axes: Axes = (0, 1), whole: bool = False, title: str = ""
) -> str:
    """One self-contained HTML file: what `paths` draws, to be replayed step by step, with its numbers.

    ``f``, ``axes``, ``whole`` and what is raised are those of `scene`, which may be given itself.
    """
    drawn = scene(logs, f, axes, whole)
    return page_of(title or drawn.title, _body(drawn), scripts=[charts.SCRIPT, SCRIPT])


def _body(drawn: Scene) -> Iterator[str]:
    start = drawn.paths[0].xs[0]
    known = {} if drawn.lowest is None else {"least value": text(f"{drawn.lowest:.6g}")}
    yield f"<p class='soft'>{text(drawn.about, 400)}</p>" if drawn.about else ""
    yield facts({"dimensions": str(len(start)), "from": text(point(start)), **known})
    yield contour(drawn)
    lines = f"{drawn.surface.scale.told()}; a ring is the start"
    yield f"<p class='soft'>{text(lines, 400)}{', × a known minimum' if len(drawn.minima) else ''}.</p>"
    notes = [*drawn.notes, *_thinned(drawn)]
    yield "".join(f"<p class='soft'>{text(note, 400)}</p>" for note in notes)
    yield "<h2>Where they ended</h2>"
    yield _table(drawn.paths)
    for curves in (drawn.heights, drawn.norms):
        yield f"<h2>{curves.title.capitalize()}</h2>"
        yield _curves(drawn, curves)


def _thinned(drawn: Scene) -> list[str]:
    stride = _stride(drawn)
    return [f"Of each path this page holds one state of {stride}, and the last one."] if stride > 1 else []


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


def _curves(drawn: Scene, curves: Curves) -> str:
    series = []
    for i, (path, steps, values) in enumerate(zip(drawn.paths, curves.steps, curves.values)):
        if not np.all(np.isnan(values)):
            kept, colour = _kept(steps, drawn), i % len(COLOURS)
            dashed = i >= len(COLOURS)
            series.append(
                Series(path.name, steps[kept].tolist(), values[kept].tolist(), dashed, colour=colour)
            )
    return charts.lines(series, x="step", log=curves.log)


def contour(drawn: Scene) -> str:
    """The chart that `SCRIPT` draws, after `charts.SCRIPT`."""
    data = {
        "title": plain(drawn.title),
        "names": drawn.labels,
        "low": drawn.window.low.tolist(),
        "high": drawn.window.high.tolist(),
        "minima": drawn.minima.tolist(),
        "grid": _grid(drawn.surface),
        "steps": _steps(drawn),
        "paths": [_path(path, i, drawn) for i, path in enumerate(drawn.paths)],
    }
    return charts.chart("contour", data)


def _path(path: Path, i: int, drawn: Scene) -> dict[str, Any]:
    """A path as far as it is finite."""
    finite = np.all(np.isfinite(path.xs), axis=1)
    count = len(finite) if finite.all() else int(np.argmin(finite))
    kept = _kept(path.steps[:count], drawn)
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


def _stride(drawn: Scene) -> int:
    """One state of so many is in the page."""
    return max(1, *(-(-int(path.steps[-1]) // STATES) for path in drawn.paths))


def _steps(drawn: Scene) -> list[int]:
    """The steps that the slider knows: those of which the page has the states."""
    longest = max((path.steps for path in drawn.paths), key=len)
    return [int(step) for step in longest[_kept(longest, drawn)]]


def _kept(steps: Array, drawn: Scene) -> Array:
    """Which of the states of a path, at these steps (k,), a page holds: the last one, too."""
    return np.unique([*range(0, len(steps), _stride(drawn)), len(steps) - 1])


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
