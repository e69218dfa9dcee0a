"""When a study ends, and what happens beside it.

A *rule* is any function (state, log) -> the reason to stop, in words, or None.  `any_of` and `all_of` make
one rule of several; `every` makes one that never stops and calls something now and then.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cortex_compute.errors import ArgumentError

if TYPE_CHECKING:
    from cortex_core.descent.log import Log, State

Rule = Callable[["State", "Log"], "str | None"]


def limit_steps(n: int) -> Rule:
    """After ``n`` steps; the start is step 0."""
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0:
        raise ArgumentError(f"limit_steps: {n!r:.40}, expected a whole number of 0 or more")
    reason = "1 step" if n == 1 else f"{n} steps"
    return lambda state, log: reason if state.step >= n else None


def limit_value(least: float) -> Rule:
    """Where f(x) <= ``least``."""
    return lambda state, log: (
        f"the value {state.value:.3g} is not above {least:g}" if state.value <= least else None
    )


def limit_gradient(norm: float) -> Rule:
    """Where the gradient's 2-norm <= ``norm``.  A method that uses no gradient never gets there."""
    return lambda state, log: (
        f"the gradient's norm {state.norm:.3g} is not above {norm:g}" if state.norm <= norm else None
    )


def limit_params(low: Any = None, high: Any = None, *, radius: float | None = None) -> Rule:
    """Where a number of x leaves [``low``, ``high``] (numbers, or arrays like x), or x is further from 0 than
    ``radius``.
    """
    if low is None and high is None and radius is None:
        raise ArgumentError("limit_params: expected low, high or radius")
    lowest = -np.inf if low is None else np.asarray(low, np.float64)
    highest = np.inf if high is None else np.asarray(high, np.float64)

    def rule(state: State, log: Log) -> str | None:
        outside = (state.x < lowest) | (state.x > highest)
        if outside.any():
            i = int(np.flatnonzero(outside)[0])
            return f"x[{i}] = {state.x.flat[i]:.6g} is out of bounds"
        distance = math.hypot(*state.x.reshape(-1).tolist())
        if radius is not None and distance > radius:
            return f"x is {distance:.6g} from 0, more than {radius:g}"
        return None

    return rule


def any_of(*rules: Rule) -> Rule:
    """Where one of the rules holds; those after the first that does are not asked."""

    def rule(state: State, log: Log) -> str | None:
        return next((reason for r in rules if (reason := r(state, log))), None)

    return rule


def all_of(*rules: Rule) -> Rule:
    """Where all the rules hold at the same state; each is asked every time."""

    def rule(state: State, log: Log) -> str | None:
        reasons = [r(state, log) for r in rules]
        return " and ".join(map(str, reasons)) if reasons and all(reasons) else None

    return rule


def every(n: int, f: Callable[[Any], Any]) -> Callable[..., None]:
    """Calls ``f(state)`` at step 0 and each n-th step after it: an observer, or a rule that never stops."""
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise ArgumentError(f"every: {n!r:.40}, expected a whole number above 0")

    def observe(state: Any, log: Any = None) -> None:
        if state.step % n == 0:
            f(state)

    return observe
