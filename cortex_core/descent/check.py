"""`check_gradient`: how good is a gradient?  A rating in words, by differences that know their own error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from cortex_core.descent.objective import Objective, start_of

WORDS = ((1e-9, "excellent"), (1e-6, "good"), (1e-4, "fair"), (1e-2, "poor"))
"""Bounds of the relative error, and what one below is called."""

UNCLEAR = 1e-4
EPSILON = float(np.finfo(np.float64).eps)

FIRST_STEP = 0.01
STEPS = 12
HALVINGS = 60
"""How often the first step is halved until f is finite on both sides: to 1e-20."""

RESOLVED = 4
"""A jump between the slopes of the two sides is one where it is this many times its uncertainty."""


@dataclass(frozen=True)
class Rating:
    """What `check_gradient` found at the worst element of x, at ``place``.

    ``word`` is "excellent" (a relative ``error`` below 1e-9), "good" (1e-6), "fair" (1e-4), "poor" (1e-2) or
    "wrong".  The error is counted beyond the ``uncertainty`` of the ``difference``.  Where that itself is
    more than 1e-4 of the gradient, the word is "unclear", and the error what it may be: beside a jump, or at
    a kink, where any slope between those of its sides may be given.
    """

    word: str
    error: float
    place: tuple[int, ...]
    gradient: float
    difference: float
    uncertainty: float

    def __str__(self) -> str:
        where = f"x[{', '.join(map(str, self.place))}]" if self.place else "x"
        told = f"{self.difference:.9g} within {self.uncertainty:.1e}"
        return (
            f"{self.word}: relative error {self.error:.1e}, worst at {where}: "
            f"the gradient is {self.gradient:.9g}, differences say {told}"
        )


def check_gradient(
    f: Callable[[Any], Any], x: Any, gradient: Callable[[Any], Any] | str | None = None
) -> Rating:
    """Compares a gradient at ``x`` with central differences, and rates it.

    ``f`` and ``gradient`` are as for `study`: without a gradient, that by automatic differentiation is rated.
    The differences are of twelve steps, each half the one before, and extrapolated to a step of 0 (Ridders,
    Accurate computation of F'(x) and F'(x) F''(x), Advances in Engineering Software 4(2), 1982).  An error is
    relative to the partial derivative, or to the steepest slope within the first step where that is larger:
    at a minimum there is nothing else to compare with.  The worst element is one that is poor or wrong, else
    an unclear one, else that of the largest error.
    """
    at = start_of(x)
    objective = Objective(f, gradient)
    found = objective.gradient(at)
    partials = [_partial(objective, at, place) for place in np.ndindex(at.shape)]
    steepest = max(abs(found[np.isfinite(found)]).max(initial=0), *(p.scale for p in partials))
    return max((_rate(p, float(found[p.place]), steepest) for p in partials), key=_badness)


def _badness(rating: Rating) -> tuple[bool, bool, float]:
    return rating.word in ("poor", "wrong"), rating.word == "unclear", rating.error


class Limit:
    """What numbers, each at half the step of the one before, tend to at a step of 0, and within what.

    Each column of Ridders' table takes one more power of the step out: ``power``, that + 2, that + 4, ...
    """

    def __init__(self, power: int) -> None:
        self.power = power
        self.value, self.uncertainty = math.nan, math.inf
        self._before: list[float] = []

    def add(self, number: float, rounding: float) -> None:
        row = [number]
        for k, old in enumerate(self._before):
            row.append(row[-1] + (row[-1] - old) / (2.0 ** (self.power + 2 * k) - 1))
            uncertainty = max(abs(row[-1] - row[-2]), abs(row[-1] - old), rounding)
            if uncertainty < self.uncertainty:
                self.value, self.uncertainty = row[-1], uncertainty
        self._before = row


class Partial(NamedTuple):
    """A partial derivative by differences.

    ``jump`` is by how much the slopes of the two sides differ, ``scale`` the steepest slope that was seen.
    """

    place: tuple[int, ...]
    value: float
    uncertainty: float
    jump: float
    scale: float


def _rate(partial: Partial, given: float, steepest: float) -> Rating:
    kink = partial.jump > UNCLEAR * steepest
    uncertainty = max(partial.uncertainty, partial.jump / 2) if kink else partial.uncertainty

    def rated(word: str, error: float) -> Rating:
        return Rating(word, error, partial.place, given, partial.value, uncertainty)

    if not math.isfinite(given):
        return rated("wrong", math.inf)
    distance = abs(given - partial.value)
    beyond = distance - uncertainty if distance > uncertainty else 0.0
    error = beyond / (max(abs(given), partial.scale) or 1.0)
    if error < UNCLEAR < uncertainty / (steepest or 1.0) and (kink or distance != 0):
        return rated("unclear", uncertainty / (steepest or 1.0))
    return rated(next((word for bound, word in WORDS if error < bound), "wrong"), error)


def _partial(objective: Objective, x: np.ndarray, place: tuple[int, ...]) -> Partial:
    def along(h: float) -> float:
        moved = x.copy()
        moved[place] += h
        return objective.value(moved)

    middle = along(0.0)
    h = FIRST_STEP * max(1.0, abs(float(x[place])))
    for _ in range(HALVINGS):
        ahead, behind = along(h), along(-h)
        if math.isfinite(ahead) and math.isfinite(behind):
            break
        h /= 2
    else:
        return Partial(place, math.nan, math.inf, 0.0, 0.0)
    scale = max(abs(ahead - middle), abs(middle - behind)) / h
    slope, jump = Limit(2), Limit(1)
    for step in (h / 2.0**k for k in range(STEPS)):
        ahead, behind = along(step), along(-step)
        rounding = EPSILON * max(abs(ahead), abs(behind)) / step
        slope.add((ahead - behind) / (2 * step), rounding)
        apart = (ahead - middle) / step - (middle - behind) / step
        jump.add(apart, 4 * rounding)
    seen = RESOLVED * jump.uncertainty < abs(jump.value) < 2 * abs(apart)  # by the smallest step, too
    kink = abs(jump.value) if seen else 0.0
    return Partial(place, slope.value, slope.uncertainty, kink, max(scale, abs(slope.value)))
