"""`study`: an optimiser at work on a function, with every state kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError, CortexError
from cortex_core.descent.log import Log, State
from cortex_core.descent.methods import Method, method, within
from cortex_core.descent.objective import Objective, Profile, start_of
from cortex_core.descent.stop import Rule, limit_steps

THOUSAND_STEPS = limit_steps(1000)


@dataclass(frozen=True, eq=False)
class Study:
    """A descent that has ended: its ``log``, and its ``profile``."""

    log: Log
    profile: Profile

    @property
    def stopped(self) -> str:
        """Why it ended, in words."""
        return self.log.stopped

    @property
    def x(self) -> np.ndarray:
        """Where it ended."""
        return self.log[-1].x

    @property
    def value(self) -> float:
        """f at the end."""
        return self.log[-1].value

    @property
    def gradient(self) -> np.ndarray:
        """The gradient at the end."""
        return self.log[-1].gradient

    @property
    def best(self) -> State:
        """The state of the least value, the first of equal ones."""
        return min(self.log, key=lambda state: (np.isnan(state.value), state.value))

    def __repr__(self) -> str:
        name = f"{self.log.function} by {self.log.optimizer}"
        return f"{name}: {self.stopped}\n{self.log[-1]}\n{self.profile}"


def study(
    f: Callable[[Any], Any],
    optimizer: Any,
    x0: Any,
    stop: Rule = THOUSAND_STEPS,
    *,
    gradient: Callable[[Any], Any] | str | None = None,
    observers: Sequence[Callable[[State], Any]] = (),
    **options: Any,
) -> Study:
    """Makes f small from ``x0`` on, in float64, and keeps every state.

    Args:
        f: gives one number, the same at the same point.  It is called with a Tensor, and differentiated; with
            ``gradient`` it is called with an array.
        optimizer: a name of a description's optimiser (``"adam"``, with its fields as options), ``"lbfgs"``,
            ``"scipy:BFGS"`` or another of SciPy's methods (with SciPy's options), or an optimiser object of
            `cortex_core.optimizers`.  A ``learning_rate`` may be a function of the step, counted from 1.
        x0: an array of any shape; not changed.
        stop: a rule (state, log) -> the reason to stop, or None; see `limit_steps`, `any_of`, ...  It stands
            in place of the 1,000 steps: one that may never hold goes with ``any_of(..., limit_steps(n))``.
        gradient: a function that gives it as an array like x, or ``"differences"`` for central ones.
        observers: each is called with every state, the start included; see `every`.

    It also ends where x, f or the gradient are not finite, where f or the gradient raise an ArithmeticError
    or a ValueError (math domain error, a singular matrix) after the start, where the method itself sees no
    way on, and at Ctrl-C: nothing of the log is lost.  Other errors of f are raised.

    Raises ArgumentError for an optimizer or a start that is none, UnknownOption (a TypeError, too) for an
    option that the optimiser has not and SpecError for a value that it refuses, GradientError where f has no
    gradient and the optimiser needs one, ShapeError where f gives several numbers.
    """
    x = start_of(x0)
    if not callable(stop):
        raise ArgumentError(f"stop is {stop!r:.40}, expected a rule such as limit_steps(100)")
    if not isinstance(observers, Sequence) or not all(map(callable, observers)):
        raise ArgumentError(f"observers are {observers!r:.40}, expected functions in a list, as [print]")
    way = method(optimizer, options)
    objective = Objective(f, gradient, recorded=way.gradients)
    log = Log(way.label, _name_of(f))
    start = perf_counter()
    visit = _visitor(objective, way, log, stop, observers, start)
    try:
        visit(x)
        log.stopped = way.walk(objective, x, visit)
    except _Stop as reason:
        log.stopped = str(reason)
    except KeyboardInterrupt:
        if not log:
            raise
        log.interrupted = True
        log.stopped = f"interrupted after step {log[-1].step}"
    except (ArithmeticError, ValueError) as error:
        own = isinstance(error, CortexError) or not within(error, Objective.__module__)
        if own or not log:
            raise
        log.stopped = f"{type(error).__name__} after step {log[-1].step}: {error}"
    objective.profile.seconds = perf_counter() - start
    return Study(log, objective.profile)


class _Stop(Exception):
    """Ends the walk of a method."""


def _visitor(
    objective: Objective,
    way: Method,
    log: Log,
    stop: Rule,
    observers: Sequence[Callable[[State], Any]],
    start: float,
) -> Callable[[np.ndarray], None]:
    """What a method calls after each step: logs the state, tells the observers, and asks whether to stop."""

    def visit(x: np.ndarray) -> None:
        x = x.copy()
        value = objective.value(x)
        gradient = objective.gradient(x) if way.gradients else np.full_like(x, np.nan)
        for array in (x, gradient):
            array.flags.writeable = False
        seconds, calls = perf_counter() - start, objective.profile.f_calls
        state = State(len(log), x, value, gradient, seconds, calls)
        log.append(state)
        for observer in observers:
            observer(state)
        if reason := _not_finite(state, way.gradients) or stop(state, log):
            raise _Stop(reason if isinstance(reason, str) else f"{_name_of(stop)} gave {reason}")

    return visit


def _not_finite(state: State, gradients: bool) -> str | None:
    if not np.isfinite(state.x).all():
        return f"x is not finite at step {state.step}"
    if not np.isfinite(state.value):
        return f"the value is {state.value} at step {state.step}"
    if gradients and not np.isfinite(state.gradient).all():
        return f"the gradient is not finite at step {state.step}"
    return None


def _name_of(f: Any) -> str:
    return str(getattr(f, "name", None) or getattr(f, "__name__", None) or type(f).__name__)
