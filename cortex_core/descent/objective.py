"""A function that is to be made small: its value and derivatives at points, counted and timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from cortex_compute.errors import ArgumentError, GradientError, ShapeError
from cortex_core import autograd
from cortex_core.modes import enable_grad, no_grad
from cortex_core.tensor import Tensor
from cortex_core.transforms import hessian

REMEMBERED = 64
"""Points whose numbers are kept: more than one step of any method looks at twice."""

REMEDY = (
    "Write f with the ops of Tensors, which are differentiated; or say gradient=g, a function that gives an "
    "array, or gradient='differences'"
)


@dataclass
class Profile:
    """What a study asked of its function: how often, and for how long, in seconds.

    Seconds in f are counted once, also where a gradient by differences or a Hessian called it.  ``seconds``
    are those of the whole study: what is left over is the work of the method, the log and the observers.
    """

    f_calls: int = 0
    gradient_calls: int = 0
    hessian_calls: int = 0
    f_seconds: float = 0.0
    gradient_seconds: float = 0.0
    hessian_seconds: float = 0.0
    seconds: float = 0.0

    def __str__(self) -> str:
        parts = [
            f"{name} {calls} times in {seconds:.3g} s"
            for name, calls, seconds in (
                ("f", self.f_calls, self.f_seconds),
                ("gradient", self.gradient_calls, self.gradient_seconds),
                ("Hessian", self.hessian_calls, self.hessian_seconds),
            )
            if calls
        ]
        return f"{', '.join(parts)}; {self.seconds:.3g} s in all"


@dataclass
class Point:
    """What is known at one x."""

    value: float
    gradient: np.ndarray | None = None


class Recording(NamedTuple):
    """A Tensor, at the point of these bytes, and f of it, which depends on it."""

    at: bytes
    x: Tensor
    y: Tensor


class Objective:
    """``f`` at points, which are float64 arrays of one shape.  What was computed at a point is not again.

    Without a ``gradient``, f gets Tensors, and its gradient is by automatic differentiation; a function of
    NumPy arrays then has a value alone.  With one, f gets arrays.  ``recorded`` says that gradients are asked
    for where values were: what f computes is kept until the next point.
    """

    def __init__(
        self,
        f: Callable[[Any], Any],
        gradient: Callable[[Any], Any] | str | None = None,
        recorded: bool = True,
    ) -> None:
        if not callable(f):
            raise TypeError(f"f is a {type(f).__name__}, expected a function of a Tensor or an array")
        if not (gradient is None or gradient == "differences" or callable(gradient)):
            raise ArgumentError(f"gradient is {gradient!r:.60}, expected a function or 'differences'")
        self._f, self._gradient, self._recorded = f, gradient, recorded
        self._takes_tensors: bool | None = None if gradient is None else False
        self._why: Exception | None = None
        self._points: dict[bytes, Point] = {}
        self._last: Recording | None = None
        self.profile = Profile()

    def value(self, x: np.ndarray) -> float:
        """f(x)."""
        return self._at(x).value

    def gradient(self, x: np.ndarray) -> np.ndarray:
        """The gradient of f at x, like x.  Raises GradientError where there is no way to it."""
        point = self._at(x)
        if point.gradient is None:
            with self._counted("gradient"):
                point.gradient = self._differentiate(x)
        return point.gradient

    def hessian(self, x: np.ndarray) -> np.ndarray:
        """The second derivatives of f at x, (size of x, size of x), by automatic differentiation."""
        if not self._takes_tensors:
            raise GradientError("second derivatives need an f of Tensors, and no gradient=")
        with self._counted("hessian"):
            found: np.ndarray = hessian(self._call)(Tensor(x.copy())).numpy()
        return found.reshape(x.size, x.size)

    def _at(self, x: np.ndarray) -> Point:
        key = x.tobytes()
        if key not in self._points:
            while len(self._points) >= REMEMBERED:
                del self._points[next(iter(self._points))]
            self._points[key] = Point(self._look(x, self._recorded))
        return self._points[key]

    def _look(self, x: np.ndarray, recorded: bool) -> float:
        self._last = None
        if self._takes_tensors is not False:
            try:
                return self._look_with_tensors(x, recorded)
            except (TypeError, AttributeError) as error:
                if self._takes_tensors:
                    raise
                self._takes_tensors, self._why = False, error
        return _number(self._call(x.copy()))

    def _look_with_tensors(self, x: np.ndarray, recorded: bool) -> float:
        leaf = Tensor(x.copy(), requires_grad=recorded)
        with enable_grad() if recorded else no_grad():
            y = self._call(leaf)
        self._takes_tensors = isinstance(y, Tensor)
        if isinstance(y, Tensor) and y.requires_grad:
            self._last = Recording(x.tobytes(), leaf, y)
        else:
            found = "a Tensor that does not depend on x" if self._takes_tensors else f"a {type(y).__name__}"
            self._why = GradientError(f"of a Tensor f gave {found}")
        return _number(y)

    def _differentiate(self, x: np.ndarray) -> np.ndarray:
        if callable(self._gradient):
            return _like("gradient", self._gradient(x.copy()), x)
        if self._gradient == "differences":
            return self._differences(x)
        if self._takes_tensors and (self._last is None or self._last.at != x.tobytes()):
            self._look(x, recorded=True)
        if self._last is None:
            raise GradientError(f"f has no gradient: {self._why}. {REMEDY}") from self._why
        (found,) = autograd.grad(self._last.y, self._last.x)
        self._last = None
        assert found is not None
        return found.numpy()

    def _differences(self, x: np.ndarray) -> np.ndarray:
        """Central differences over steps where the errors of rounding and of truncation are alike."""
        found = np.empty_like(x)
        for i in np.ndindex(x.shape):
            h = np.cbrt(np.finfo(float).eps) * max(1.0, abs(float(x[i])))
            before, behind = x.copy(), x.copy()
            before[i] -= h
            behind[i] += h
            sides = _number(self._call(behind)) - _number(self._call(before))
            found[i] = sides / (2 * h)
        return found

    def _call(self, x: Any) -> Any:
        self.profile.f_calls += 1
        start = perf_counter()
        try:
            return self._f(x)
        finally:
            self.profile.f_seconds += perf_counter() - start

    @contextmanager
    def _counted(self, what: str) -> Iterator[None]:
        """Counts and times the block, without the calls of f in it."""
        profile = self.profile
        start = perf_counter() - profile.f_seconds
        try:
            yield
        finally:
            seconds = perf_counter() - profile.f_seconds - start
            setattr(profile, f"{what}_calls", getattr(profile, f"{what}_calls") + 1)
            setattr(profile, f"{what}_seconds", getattr(profile, f"{what}_seconds") + seconds)


def start_of(x0: Any) -> np.ndarray:
    """A point from what people write: a new float64 array.  Raises ArgumentError where it is not finite."""
    try:
        x = np.array(x0.numpy() if isinstance(x0, Tensor) else x0)
    except ValueError as error:
        raise ArgumentError(f"x0 is no array: {error}") from None
    if x.dtype.kind not in "iuf" or not x.size:
        raise ArgumentError(f"x0 is an array of {x.dtype} with shape {x.shape}, expected some numbers")
    if not np.isfinite(x).all():
        raise ArgumentError(f"x0 is {x.tolist()!r:.60}, expected finite numbers")
    return x.astype(np.float64)


def _number(y: Any) -> float:
    """The one number that f gave."""
    found = y.numpy() if isinstance(y, Tensor) else np.asarray(y)
    if found.dtype.kind not in "iuf":
        raise ArgumentError(f"f gave {y!r:.60}, expected one number")
    if found.size != 1:
        raise ShapeError(f"f gave shape {found.shape}, expected one number: take its sum() or mean()")
    return float(found.reshape(()))


def _like(what: str, g: Any, x: np.ndarray) -> np.ndarray:
    found = np.array(g.numpy() if isinstance(g, Tensor) else g, np.float64)
    if found.shape != x.shape:
        raise ShapeError(f"{what} gave shape {found.shape}, expected that of x, {x.shape}")
    return found
