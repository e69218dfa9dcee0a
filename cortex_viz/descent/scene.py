"""What a picture of descents shows, before anything is drawn: paths, the surface under them, and notes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError, CortexError, ShapeError
from cortex_core.descent import FUNCTIONS, TestFunction
from cortex_core.descent.log import Log, named
from cortex_core.descent.objective import Objective
from cortex_core.tensor import Tensor
from cortex_viz.descent.curves import Curves, curves
from cortex_viz.descent.surface import GRID, Array, Surface, Window, surface, window

CLIMB = 1000.0  # times the values in the picture: what is larger is left out of the curves
NAMED = 4  # numbers of a point that are told
COARSE = (45, 60)  # of a function that is called point by point, or is of many coordinates
MANY = 2000  # coordinates: each point of a grid has them all
Axes = tuple[int, int]
Logs = Log | Mapping[str, Log] | Sequence[Log]
Function = TestFunction | Callable[[Any], Any]


@dataclass(frozen=True)
class Path:
    """What one optimiser did.

    Its place in the plane (k, 2), all coordinates (k, n), f and the norm of the gradient (k,) at each of its
    states; what that took; how far its end is from the nearest known minimum; and why it ended.
    """

    name: str
    track: Array
    xs: Array
    values: Array
    norms: Array
    steps: Array
    calls: int
    seconds: float
    distance: float | None
    stopped: str


@dataclass(frozen=True)
class Scene:
    """Paths over a surface.

    ``minima`` (m, 2) are the known ones in this window; ``lowest`` is their value, None if it is not known.
    ``heights`` are the values by step, above the lowest if it is known; ``notes`` say what the picture leaves
    out, ``about`` is the formula.
    """

    title: str
    axes: Axes
    paths: Sequence[Path]
    window: Window
    surface: Surface
    minima: Array
    lowest: float | None
    heights: Curves
    norms: Curves
    notes: Sequence[str]
    about: str

    @property
    def labels(self) -> tuple[str, str]:
        """``("x1", "x2")``: names of coordinates count from 1, as in the literature."""
        return f"x{self.axes[0] + 1}", f"x{self.axes[1] + 1}"


def scene(logs: Logs | Scene, f: Function | None = None, axes: Axes = (0, 1), whole: bool = False) -> Scene:
    """The picture of these logs over two coordinates, ``axes``, counted from 0; a scene is its own.

    ``f`` is what they descended; a test function is known by its name and its values.  In more dimensions
    the surface is that of the plane through the minimum next to the best state.  ``whole`` shows the whole
    domain.

    Raises `ArgumentError` where there is no log, a log is empty, the logs are of different functions or
    dimensions, or have no such coordinates.
    """
    if isinstance(logs, Scene):
        if f is not None or axes != (0, 1) or whole:
            raise ArgumentError("a scene is made already: give f, axes and whole to scene(logs, ...)")
        return logs
    found = named(logs)
    function, n = _described(found, f)
    _expect_axes(axes, n)
    known = function if isinstance(function, TestFunction) else None
    minima = known.minima(n) if known else []
    paths = [_path(name, log, axes, minima) for name, log in found.items()]
    best = min(paths, key=_least)
    end = best.xs[_lowest(best)]
    at = min(minima, key=lambda m: float(np.linalg.norm(m - end)), default=end)
    others = [i for i in range(n) if i not in axes]
    here = [m[list(axes)] for m in minima if np.allclose(m[others], at[others])]
    goals = np.concatenate([_goals(path.track[_lowest(path)], here) for path in paths])
    domain = known.domain(n)[list(axes)] if known else None
    shown = window([path.track for path in paths], goals, domain, whole)
    first = next(iter(found.values()))
    lowest = known.minimum(n) if known else None
    values, grid = _values(function, first[0].x.shape)
    under = surface(values, shown, axes, at, lowest, grid)
    most = _largest(paths, under)
    heights, norms = _curves(paths, lowest, most)
    notes = [*_plane(axes, at, bool(minima)), *_part(shown, domain)]
    notes += [*_absent(paths, shown, most), *_gaps(under)]
    about = " ".join(known.doc.split()) if known else ""
    points = np.array(here).reshape(-1, 2)
    inside = points[shown.holds(points)]
    return Scene(first.function, axes, paths, shown, under, inside, lowest, heights, norms, notes, about)


def distance(x: Array, minima: Sequence[Array]) -> float | None:
    """From x (n,) to the nearest of the points; None where there is none."""
    with np.errstate(over="ignore", invalid="ignore"):
        return min((float(np.linalg.norm(x - m)) for m in minima), default=None)


def point(x: Array) -> str:
    """``(1, 2, 3, 4, …)``: the first numbers of x (n,)."""
    told = ", ".join(f"{v:.5g}" for v in x[:NAMED])
    return f"({told}{', …' if len(x) > NAMED else ''})"


def _described(logs: Mapping[str, Log], f: Function | None) -> tuple[Function, int]:
    """What was descended, and in how many dimensions."""
    if not logs:
        raise ArgumentError("no logs: give at least one, from cortex.descent.study(...).log")
    for name, log in logs.items():
        if not len(log):
            raise ArgumentError(f"the log of {name} holds no state: study at least one step")
    functions, sizes = {log.function for log in logs.values()}, {log.xs.shape[1] for log in logs.values()}
    if len(functions) > 1 or len(sizes) > 1:
        told = ", ".join(f"{k}: {log.function} of {log.xs.shape[1]}" for k, log in logs.items())
        raise ArgumentError(f"paths of different functions or dimensions share no picture ({told})")
    name, n = functions.pop(), sizes.pop()
    if f is None and not all(_of_test_function(log) for log in logs.values()):
        raise ArgumentError(f"{name} is no test function: give what was descended, f=")
    return (FUNCTIONS[name] if f is None else f), n


def _of_test_function(log: Log) -> bool:
    """Whether the values of a log are those of the test function of its name: others may have that name."""
    f = FUNCTIONS.get(log.function)
    if f is None:
        return False
    try:
        with np.errstate(all="ignore"):
            values = f(log.xs)
    except ShapeError:
        return False
    finite = np.isfinite(log.values)
    rounding = 1e-9 * max(1.0, float(np.abs(log.values[0])))
    return np.allclose(values[finite], log.values[finite], rtol=1e-6, atol=rounding)


def _expect_axes(axes: Axes, n: int) -> None:
    if n < 2:
        raise ArgumentError("paths are drawn over two coordinates, and x has one: study two or more")
    if axes[0] == axes[1] or not all(0 <= i < n for i in axes):
        raise ArgumentError(f"axes {axes}: expected two different coordinates of {n}, from 0 to {n - 1}")


def _path(name: str, log: Log, axes: Axes, minima: Sequence[Array]) -> Path:
    xs, last = log.xs, log[-1]
    steps = np.array([state.step for state in log])
    took = last.calls, last.seconds, distance(xs[-1], minima), log.stopped
    return Path(name, xs[:, list(axes)], xs, log.values, log.norms, steps, *took)


def _lowest(path: Path) -> int:
    """The state of least value at a finite place, else the first."""
    ranked = np.where(np.isfinite(path.values) & np.all(np.isfinite(path.xs), axis=1), path.values, np.inf)
    return int(np.argmin(ranked))


def _least(path: Path) -> float:
    value = float(path.values[_lowest(path)])
    return value if np.isfinite(value) else np.inf


def _goals(end: Array, minima: Sequence[Array]) -> Array:
    """The end of a path, and the minimum next to it if one is known: (1 or 2, 2)."""
    near = sorted(minima, key=lambda m: float(np.linalg.norm(m - end)))
    return np.stack([end, *near[:1]])


def _values(f: Function, shape: tuple[int, ...]) -> tuple[Callable[[Array], Array], tuple[int, int]]:
    """f of many points (m, n) -> (m,), and how fine a grid it is fast enough for."""
    if isinstance(f, TestFunction):
        return (lambda points: f.f(Tensor(points)).numpy()), GRID if shape[-1] <= MANY else COARSE
    one = Objective(f).value

    def value(x: Array) -> float:
        try:
            return one(x.reshape(shape))
        except CortexError:
            raise
        except (ArithmeticError, ValueError):  # Python's math, outside of the domain of f
            return np.nan

    return (lambda points: np.array([value(x) for x in points])), COARSE


def _largest(paths: Sequence[Path], under: Surface) -> float:
    """The largest value that a curve shows: one of a path that diverges would flatten all the others."""
    near = np.abs(np.concatenate([under.values.reshape(-1), [path.values[0] for path in paths]]))
    return CLIMB * float(near[np.isfinite(near)].max(initial=0.0))


def _curves(paths: Sequence[Path], lowest: float | None, most: float) -> tuple[Curves, Curves]:
    """Values, and norms of gradients, by step: of states whose value is no larger than ``most``."""
    steps, seen = [p.steps for p in paths], [np.abs(p.values) <= most for p in paths]
    values = [p.values if lowest is None else np.maximum(p.values - lowest, 0) for p in paths]
    title = f"value above the least, {lowest:.6g}" if lowest else "value"
    return curves(title, steps, values, seen), curves("gradient norm", steps, [p.norms for p in paths], seen)


def _plane(axes: Axes, at: Array, known: bool) -> list[str]:
    n = len(at)
    if n == 2:
        return []
    where = "a known minimum" if known else "the best state"
    names = f"x{axes[0] + 1} and x{axes[1] + 1}"
    others = "the other coordinate" if n == 3 else f"the other {n - 2} coordinates"
    return [
        f"{names} of {n} coordinates. The surface is where {others} of {where} stay; a path moves in all of"
        " them, so that its values are not those of the surface below it."
    ]


def _part(shown: Window, domain: Array | None) -> list[str]:
    if domain is None or not shown.part:
        return []
    told = [f"{low:.5g} to {high:.5g}" for low, high in domain]
    return [f"The part of the domain ({' and '.join(dict.fromkeys(told))}) where the paths run."]


def _absent(paths: Sequence[Path], shown: Window, most: float) -> list[str]:
    """Which paths leave the picture or the curves, stop being numbers, or have no gradient to show."""
    told = []
    for path in paths:
        finite = np.all(np.isfinite(path.track), axis=1)
        if not np.all(shown.holds(path.track[finite])):
            first = int(np.flatnonzero(finite & ~shown.holds(path.track))[0])
            told.append(f"{path.name} leaves the picture at step {path.steps[first]}.")
        broken = ~(np.all(np.isfinite(path.xs), axis=1) & np.isfinite(path.values))
        if np.any(broken):
            first = int(np.flatnonzero(broken)[0])
            told.append(f"{path.name} is not finite at step {path.steps[first]}: drawn as far as it is.")
        if np.any(high := np.isfinite(path.values) & (np.abs(path.values) > most)):
            first = int(np.flatnonzero(high)[0])
            times = f"more than {CLIMB:,.0f} times as large as those of the picture"
            told.append(
                f"{path.name} has values {times} from step {path.steps[first]} on: they have no curve."
            )
        if np.all(np.isnan(path.norms)):
            told.append(f"{path.name} uses no gradient.")
    return told


def _gaps(under: Surface) -> list[str]:
    if np.all(np.isfinite(under.values)):
        return []
    return ["The function is not finite where no colour is."]
