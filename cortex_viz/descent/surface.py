"""What lies under the paths: a window of the plane of two coordinates, and the function's values there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Values = Callable[[Array], Array]

GRID = (150, 200)  # rows and columns
SPREAD = 30.0  # values of which the highest lies so much further up than the low ones are drawn by logarithm
NEARLY = 0.01  # of the range of values: where a window comes so near to the least value, it counts from there
PLAIN = 0.98  # of the range: a line so near to the highest value would draw the noise of a plain
LINES = 12  # at most this many lines of equal value, about
FAR = 3.0  # sizes of the paths: a minimum that is further away is not worth a picture in which they are small
NUMBERS = 2**20  # of the points that the function is called with at once
PULLED = 50.0  # diagonals of the window: nothing is drawn further out


@dataclass(frozen=True)
class Window:
    """The part of the plane that is shown, from ``low`` to ``high`` (2,); ``part``: less than the domain."""

    low: Array
    high: Array
    part: bool = False

    def holds(self, points: Array) -> Array:
        """For points (k, 2): which are inside; a point that is not finite is not."""
        inside: Array = np.all((points >= self.low) & (points <= self.high), axis=-1)
        return inside

    def pulled(self, points: Array) -> Array:
        """Points (k, 2) far outside brought nearer, in their direction from the middle.

        So a line towards them can be drawn: a diverging path has coordinates that no picture has room for.
        """
        middle = (self.low + self.high) / 2
        apart = points - middle
        reach = PULLED * np.hypot(*(self.high - self.low))
        with np.errstate(over="ignore", invalid="ignore"):
            far = np.max(np.abs(apart), axis=-1, keepdims=True)
            near: Array = middle + apart * np.minimum(1, reach / np.maximum(far, reach))
        return near


def window(tracks: Sequence[Array], goals: Array, domain: Array | None, whole: bool) -> Window:
    """The part of the plane to show, for paths (k, 2) and the points (m, 2) that they lead to.

    The paths and a margin, with the goals that are not far from them, where that is less than half of the
    domain (2, 2) and the ``whole`` is not asked for; else the domain, enlarged to hold the paths, by its own
    size at most: a path that diverges leaves the picture.
    """
    finite = [track[np.all(np.isfinite(track), axis=1)] for track in tracks]
    starts = np.concatenate([track[:1] for track in finite])
    if domain is None:
        base = _roomy(_box(np.concatenate([starts, goals])), 1.0)
    else:
        base = domain.T
    around = _box(np.concatenate([base, starts]))
    size = around[1] - around[0]
    held = np.concatenate([p[np.all(np.abs(p - around.mean(axis=0)) <= 1.5 * size, axis=1)] for p in finite])
    far = _roomy(_box(held), FAR)
    near = _roomy(
        _box(np.concatenate([held, goals[np.all((goals >= far[0]) & (goals <= far[1]), axis=1)]])), 0.2
    )
    if domain is not None and not whole and np.all(near[1] - near[0] < size / 2):
        return Window(near[0], near[1], part=True)
    reached = _box(np.concatenate([base, held]))
    edge = 0.05 * (reached[1] - reached[0])
    low, high = np.where(reached == base, base, reached + np.stack([-edge, edge]))
    return Window(low, high)


def _box(points: Array) -> Array:
    return np.stack([points.min(axis=0), points.max(axis=0)])


def _roomy(box: Array, margin: float) -> Array:
    """The box with a margin, and neither side shorter than half of the other."""
    middle, size = box.mean(axis=0), box[1] - box[0]
    size = np.maximum(size, size.max() / 2)
    size = np.where(size > 0, size, np.maximum(1e-3 * np.abs(middle), 1e-3)) * (1 + 2 * margin)
    size = np.maximum(size, 1e-6 * np.abs(middle))  # else rounding makes one number of both sides
    return np.stack([middle - size / 2, middle + size / 2])


@dataclass(frozen=True)
class Scale:
    """How high values are drawn: as they are, or by log10 of what they lie above ``low``.

    ``lines`` are heights, evenly spaced: there are the lines of equal value.
    """

    low: float
    log: bool
    lines: Array

    def height(self, values: Array) -> Array:
        """Of values of any shape; not finite where they are not."""
        if not self.log:
            return values
        with np.errstate(invalid="ignore"):
            least = 10 ** (self.lines[0] - self._step)
            made: Array = np.log10(np.maximum(values - self.low, least))
        return made

    @property
    def _step(self) -> float:
        return float(self.lines[1] - self.lines[0])

    def labels(self, most: int) -> tuple[Array, list[str]]:
        """Some of the lines, and what they stand for (by logarithm: above ``low``): whole powers of ten where
        there is one."""
        lines = self.lines
        if self.log and len(whole := lines[np.isclose(lines, np.round(lines))]) > 1:
            lines = whole
        lines = lines[:: -(-len(lines) // most)]
        return lines, [f"{10**h if self.log else h:.4g}" for h in lines]

    def told(self) -> str:
        """What the lines stand for, in words."""
        if not self.log:
            first, last = self.lines[0], self.lines[-1]
            return f"Lines at every {self._step:g} from {first:.6g} to {last:.6g}"
        ends = f"{10 ** self.lines[0]:.2g} to {10 ** self.lines[-1]:.2g}"
        above = f" above {self.low:.6g}" if self.low else ""
        return f"Lines from {ends}{above}, each {10**self._step:.3g} times the one before"


def scale(values: Array, lowest: float | None) -> Scale:
    """The scale for the values of a grid; ``lowest`` is the least value anywhere, if it is known.

    Logarithms count from the least value, so a grid that does not come near to it has none.
    """
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    near = lowest is None or low - lowest <= NEARLY * (high - lowest)
    if lowest is not None and near:
        low = min(low, lowest)
    top = high - low
    if top <= 0 or not np.isfinite(top):
        return Scale(low, False, low + max(1.0, abs(low)) * np.arange(2.0))
    if not near or top <= SPREAD * np.quantile(finite - low, 0.1):
        step = _nice(top / LINES)
        first = step * np.ceil(low / step)
        count = int((low + PLAIN * top - first) / step) + 1
        return Scale(low, False, first + step * np.arange(max(2, count)))
    bottom = np.log10(max(float(np.quantile(finite - low, 0.002)), top * 1e-12))
    step = next(s for s in (0.5, 1.0, 2.0) if (np.log10(top) - bottom) / s <= LINES)
    return Scale(low, True, np.arange(np.ceil(bottom / step) * step, np.log10(top), step))


def _nice(step: float) -> float:
    """The next of 1, 2, 5, 10, 20, ... above."""
    power = 10.0 ** np.floor(np.log10(step))
    return float(power * next(m for m in (1, 2, 5, 10) if m * power >= step * (1 - 1e-9)))


@dataclass(frozen=True)
class Surface:
    """Values (h, w) of a function at ``y`` (h,) and ``x`` (w,)."""

    x: Array
    y: Array
    values: Array
    scale: Scale


def surface(
    f: Values, shown: Window, axes: tuple[int, int], at: Array, lowest: float | None, grid: tuple[int, int]
) -> Surface:
    """The function of points (m, n) -> (m,) over a window; coordinates other than ``axes`` are those of
    ``at`` (n,)."""
    y, x = (np.linspace(shown.low[i], shown.high[i], grid[1 - i]) for i in (1, 0))
    places = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    size = max(1, NUMBERS // len(at))
    blocks = [places[i : i + size] for i in range(0, len(places), size)]
    with np.errstate(all="ignore"):
        values = np.concatenate([f(_lifted(block, axes, at)) for block in blocks]).reshape(len(y), len(x))
    return Surface(x, y, values, scale(values, lowest))


def _lifted(places: Array, axes: tuple[int, int], at: Array) -> Array:
    """Places (m, 2) of a plane as points (m, n)."""
    points = np.tile(at, (len(places), 1))
    points[:, axes] = places
    return points
