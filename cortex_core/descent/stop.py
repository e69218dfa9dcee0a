"""When a study ends, and what happens beside it.

A *rule* is any function (state, log) -> the reason to stop, in words, or None.  `any_of` and `all_of` make
one rule of several; `every` makes one that never stops and calls something now and then.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cortex_compute.errors import ArgumentError, ShapeError

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
    least = float(_numbers("limit_value", least, 0))
    return lambda state, log: (
        f"the value {state.value:.3g} is not above {least:g}" if state.value <= least else None
    )


def limit_gradient(norm: float) -> Rule:
    """Where the gradient's 2-norm <= ``norm``.  A method that uses no gradient never gets there."""
    norm = float(_numbers("limit_gradient", norm, 0))
    return lambda state, log: (
        f"the gradient's norm {state.norm:.3g} is not above {norm:g}" if state.norm <= norm else None
    )


def limit_params(low: Any = None, high: Any = None, *, radius: float | None = None) -> Rule:
    """Where a number of x leaves [``low``, ``high``] (numbers, or arrays like x), or x is further from 0 than
    ``radius``.
    """
    if low is None and high is None and radius is None:
        raise ArgumentError("limit_params: expected low, high or radius")
    lowest = _numbers("limit_params", -np.inf if low is None else low)
    highest = _numbers("limit_params", np.inf if high is None else high)
    furthest = float(_numbers("limit_params", np.inf if radius is None else radius, 0))
    try:
        shape = np.broadcast_shapes(lowest.shape, highest.shape)
    except ValueError:
        raise ShapeError(f"limit_params: low has shape {lowest.shape}, high {highest.shape}") from None
    if not (lowest <= highest).all():
        raise ArgumentError(f"limit_params: low {low!r:.40} is above high {high!r:.40}")

    def rule(state: State, log: Log) -> str | None:
        if shape not in ((), state.x.shape):
            raise ShapeError(f"limit_params: bounds of shape {shape}, expected that of x, {state.x.shape}")
        outside = (state.x < lowest) | (state.x > highest)
        if outside.any():
            i = int(np.flatnonzero(outside)[0])
            return f"x[{i}] = {state.x.flat[i]:.6g} is out of bounds"
        distance = math.hypot(*state.x.reshape(-1).tolist())
        if distance > furthest:
            return f"x is {distance:.6g} from 0, more than {furthest:g}"
        return None

    return rule


def any_of(*rules: Rule) -> Rule:
    """Where one of the rules holds; those after the first that does are not asked."""
    _expect_rules("any_of", rules)

    def rule(state: State, log: Log) -> str | None:
        return next((reason for r in rules if (reason := r(state, log))), None)

    return rule


def all_of(*rules: Rule) -> Rule:
    """Where all the rules hold at the same state; each is asked every time."""
    _expect_rules("all_of", rules)

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


def _numbers(what: str, given: Any, dimensions: int | None = None) -> np.ndarray:
    try:
        found = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        found = np.array(np.nan)
    if np.isnan(found).any() or (dimensions is not None and found.ndim != dimensions):
        raise ArgumentError(
            f"{what}: {given!r:.40}, expected {'numbers' if dimensions is None else 'a number'}"
        )
    return found


def _expect_rules(what: str, rules: tuple[Any, ...]) -> None:
    for rule in rules:
        if not callable(rule):
            raise ArgumentError(
                f"{what}: a {type(rule).__name__}, expected rules, as {what}(limit_steps(9), ...)"
            )
