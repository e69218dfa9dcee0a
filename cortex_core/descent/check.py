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
HALVINGS = 12


@dataclass(frozen=True)
class Rating:
    """What `check_gradient` found at the worst element of x, at ``place``.

    ``word`` is "excellent" (a relative ``error`` below 1e-9), "good" (1e-6), "fair" (1e-4), "poor" (1e-2) or
    "wrong".  The error is counted beyond the ``uncertainty`` of the ``difference``.  Where that itself is
    more than 1e-4 of the gradient, as beside a jump, the word is "unclear", and the error what it may be.
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
    at a minimum there is nothing else to compare with.
    """
    at = start_of(x)
    objective = Objective(f, gradient)
    found = objective.gradient(at)
    partials = [_partial(objective, at, place) for place in np.ndindex(at.shape)]
    steepest = max(abs(found[np.isfinite(found)]).max(initial=0), *(p.scale for p in partials))
    return max((_rate(p, float(found[p.place]), steepest) for p in partials), key=lambda r: r.error)


class Partial(NamedTuple):
    """A partial derivative by differences; ``scale`` is the steepest slope that was seen."""

    place: tuple[int, ...]
    value: float
    uncertainty: float
    scale: float


def _rate(partial: Partial, given: float, steepest: float) -> Rating:
    def rated(word: str, error: float) -> Rating:
        return Rating(word, error, partial.place, given, partial.value, partial.uncertainty)

    if not math.isfinite(given):
        return rated("wrong", math.inf)
    distance = abs(given - partial.value)
    if distance != 0 and partial.uncertainty > UNCLEAR * steepest and not distance > partial.uncertainty:
        return rated("unclear", partial.uncertainty / (steepest or 1.0))
    error = max(0.0, distance - partial.uncertainty) / (max(abs(given), partial.scale) or 1.0)
    return rated(next((word for bound, word in WORDS if error < bound), "wrong"), error)


def _partial(objective: Objective, x: np.ndarray, place: tuple[int, ...]) -> Partial:
    """Ridders' way: of ever smaller steps, each column takes one more even power of the step out."""

    def along(h: float) -> float:
        moved = x.copy()
        moved[place] += h
        return objective.value(moved)

    h = FIRST_STEP * max(1.0, abs(float(x[place])))
    middle = along(0.0)
    scale = max((s for side in (h, -h) if math.isfinite(s := abs(along(side) - middle) / h)), default=0.0)
    value, least = math.nan, math.inf
    before: list[float] = []
    for _ in range(HALVINGS):
        sides = along(h), along(-h)
        rounding = EPSILON * max(map(abs, sides)) / h
        row = [(sides[0] - sides[1]) / (2 * h)]
        for k, old in enumerate(before):
            row.append(row[-1] + (row[-1] - old) / (4.0 ** (k + 1) - 1))
            uncertainty = max(abs(row[-1] - row[-2]), abs(row[-1] - old), rounding)
            if uncertainty < least:
                value, least = row[-1], uncertainty
        before, h = row, h / 2
    return Partial(place, value, least, max(scale, abs(value)) if math.isfinite(value) else scale)
