"""Test functions: what is known of a function that optimisers are tried on, and all of them by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_core.ops.array import Array
from cortex_core.registry import nearest
from cortex_core.tensor import Tensor

Formula = Callable[[Any], Any]
Minima = Callable[[int], Sequence[Sequence[float]]]


@dataclass(frozen=True)
class TestFunction:
    """A function with what is known of it.  ``f`` takes Tensors (..., n) to (...).

    ``dimensions`` is the one number n that it takes, or None for any from ``fewest`` to ``most``; ``doc`` is
    its formula, ``source`` says who wrote it.
    """

    name: str
    f: Formula
    doc: str
    box: tuple[tuple[float, float], ...]
    points: Minima
    least: Callable[[int], float | None]
    dimensions: int | None
    fewest: int
    most: int | None
    source: str

    __test__ = False  # it is none of pytest's

    def __call__(self, x: Any) -> Any:
        """f(x): a Tensor of a Tensor; of an array or nested numbers an array, or a float of one point."""
        if isinstance(x, Array):
            self.expect(x.shape[-1] if x.shape else 0)
            return self.f(x)
        value = self(Tensor(np.asarray(x, np.float64))).numpy()
        return value if value.ndim else float(value)

    def domain(self, n: int) -> np.ndarray:
        """Where it is usually looked at: (n, 2), the lowest and the highest of each number."""
        self.expect(n)
        return np.array(self.box if len(self.box) == n else self.box * n)

    def minima(self, n: int) -> list[np.ndarray]:
        """Every point of the domain where it is least; none where that is not known."""
        self.expect(n)
        found = [np.array(point, np.float64) for point in self.points(n)]
        for point in found:
            if point.shape != (n,):
                raise ShapeError(f"minima({n}) of {self.name} gave a point of shape {point.shape}")
        return found

    def minimum(self, n: int) -> float | None:
        """Its least value; None where it is not known."""
        self.expect(n)
        return self.least(n)

    def __repr__(self) -> str:
        return f"<test function {self.name}: {' '.join(self.doc.split())}>"

    def expect(self, n: int) -> None:
        """Raises ShapeError unless it takes n numbers."""
        right = f"{self.fewest} to {self.most}" if self.most else f"at least {self.fewest}"
        if self.dimensions not in (None, n) or n < self.fewest or n > (self.most or n):
            raise ShapeError(f"{self.name} takes {self.dimensions or right} numbers, got {n}")


class Named(dict[str, TestFunction]):
    """Test functions by name."""

    def __missing__(self, name: str) -> TestFunction:
        meant = nearest(str(name), self) or f"Known are {', '.join(self)}"
        raise ArgumentError(f"there is no test function '{name!s:.40}'. {meant}")


FUNCTIONS = Named()
"""The test functions by name."""


def get(name: str, n: int | None = None) -> TestFunction:
    """The function of a name, which must take n numbers.  Raises ArgumentError with the nearest name."""
    found = FUNCTIONS[name]
    if n is not None:
        found.expect(n)
    return found


def named_function(
    *box: tuple[float, float],
    minima: Minima | Sequence[Sequence[float]] | None = None,
    minimum: float | Callable[[int], float] | None = None,
    fewest: int = 1,
    most: int | None = None,
    source: str = "",
) -> Callable[[Formula], TestFunction]:
    """Makes a `TestFunction` of a formula over the last axis, and adds it to `FUNCTIONS` by its name.

    One ``box`` (lowest, highest) serves every number of x.  How many there are is fixed by several boxes, or
    by ``minima`` that are points, and not a function n -> points.  Without minima, where it is least is not
    known; with them its ``minimum`` is 0 if nothing else is said.  Raises ArgumentError for boxes and points
    that do not fit.
    """
    sides = _sides(box)
    fixed = len(box) if len(box) > 1 else None
    given: list[list[float]] = []
    if minima is not None:
        minimum = 0.0 if minimum is None else minimum
        if not callable(minima):
            given = _within(sides, minima).tolist()
            fixed = len(given[0])
    points: Minima = minima if callable(minima) else lambda n: given

    def add(f: Formula) -> TestFunction:
        name = getattr(f, "__name__", "")
        if name in FUNCTIONS and FUNCTIONS[name].f.__module__ != f.__module__:
            raise ArgumentError(f"there is a test function '{name}' already: choose another name")
        least: Callable[[int], float | None] = minimum if callable(minimum) else lambda n: minimum
        limits = (fixed, fixed or fewest, fixed or most)
        made = TestFunction(name, f, f.__doc__ or "", box, points, least, *limits, source)
        FUNCTIONS[name] = made
        return made

    return add


def _sides(box: Any) -> np.ndarray:
    """The lowest and the highest numbers of boxes, (boxes, 2)."""
    try:
        sides = np.array(box, np.float64)
    except (TypeError, ValueError):
        sides = np.empty(0)
    pairs = sides.ndim == 2 and sides.shape[1] == 2 and np.isfinite(sides).all()
    if not pairs or not (sides[:, 0] < sides[:, 1]).all():
        raise ArgumentError(f"named_function: {box!r:.60}, expected pairs (lowest, highest), as (-2, 2)")
    return sides


def _within(sides: np.ndarray, minima: Any) -> np.ndarray:
    """The minima as an array (points, numbers), if they lie in the boxes."""
    try:
        points = np.array(minima, np.float64)
    except (TypeError, ValueError):
        points = np.empty(0)
    if points.ndim != 2 or not points.size or len(sides) not in (1, points.shape[1]):
        boxes = f"{len(sides)} numbers each" if len(sides) > 1 else "as [[0, 0]]"
        raise ArgumentError(f"named_function: minima are {minima!r:.60}, expected points, {boxes}")
    low, high = sides.T
    if not ((low <= points) & (points <= high)).all():
        raise ArgumentError(f"named_function: minima {minima!r:.60} are not within the boxes")
    return points
