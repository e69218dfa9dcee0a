"""Schedules: how the learning rate changes over epochs; what a description names under ``train.schedule``.

``rate(base, step, steps_per_epoch, total_steps, state)`` is the learning rate of a step, counted from 0,
where ``base`` is the optimiser's.  An epoch need not end with a step: it may have one and a half of them.
The ``state`` is plain data; only `ReduceOnPlateau` has one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from cortex_core.registry import Fault, base, field, schedule

State = Mapping[str, Any]


@base
class WarmUp:
    """What every schedule of time has: the rate rises by equal steps to where the schedule is then."""

    warm_up: float = field(default=0.0, doc="epochs over which the rate rises from 0", minimum=0)

    def rate(
        self, base: float, step: int, steps_per_epoch: float, total_steps: int, state: State | None = None
    ) -> float:
        """The learning rate of step ``step``."""
        rising = self.warm_up * steps_per_epoch
        rise = min(1.0, (step + 1) / rising) if rising else 1.0
        left = total_steps - rising
        progress = min(1.0, max(0.0, (step - rising) / left)) if left > 0 else 0.0
        return base * rise * self.at(step / steps_per_epoch, progress)

    def at(self, epoch: float, progress: float) -> float:
        """The factor at an epoch, a fraction included; ``progress`` runs from 0, after the warm-up, to 1."""
        raise NotImplementedError


@schedule("constant")
class ConstantRate(WarmUp):
    """The factor is 1."""

    def at(self, epoch: float, progress: float) -> float:
        return 1.0


@schedule("step", main="every")
class StepRate(WarmUp):
    """The factor is multiplied by ``factor`` after each ``every`` epochs."""

    every: int = field(doc="epochs between two steps", minimum=1)
    factor: float = field(default=0.1, doc="what each step multiplies by", above=0, maximum=1)

    def at(self, epoch: float, progress: float) -> float:
        return float(self.factor ** (epoch // self.every))


@schedule("steps", main="at")
class StepsRate(WarmUp):
    """The factor is multiplied by ``factor`` at each of the epochs ``at``, as in He et al., 2016."""

    at_epochs: tuple[float, ...] = field(name="at", doc="epochs, rising; a fraction is inside one", above=0)
    factor: float = field(default=0.1, doc="what each step multiplies by", above=0, maximum=1)

    def check(self) -> Iterator[Fault]:
        """One after the other."""
        if not self.at_epochs or list(self.at_epochs) != sorted(set(self.at_epochs)):
            found = f"{[float(f'{epoch:g}') for epoch in self.at_epochs]} do not rise"
            yield Fault(("at",), found, "expected epochs, each above the one before")

    def at(self, epoch: float, progress: float) -> float:
        return float(self.factor ** sum(epoch >= turn for turn in self.at_epochs))


@schedule("exponential", main="factor")
class ExponentialRate(WarmUp):
    """factor ** epoch, continuously."""

    factor: float = field(default=0.95, doc="what each epoch multiplies by", above=0, maximum=1)

    def at(self, epoch: float, progress: float) -> float:
        return float(self.factor**epoch)


@schedule("cosine")
class CosineRate(WarmUp):
    """From 1 to ``floor`` along half a cosine over the epochs after the warm-up.

    Loshchilov and Hutter, 2017.
    """

    floor: float = field(default=0.0, doc="factor at the end", minimum=0, maximum=1)

    def at(self, epoch: float, progress: float) -> float:
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * progress)) / 2


def cycle_ends(steps: int, rise: float, three_phase: bool) -> list[float]:
    """The last step of each phase of one cycle, from 0: up, down, and where there are three further down."""
    turns = [rise * steps - 1, *([2 * rise * steps - 2] if three_phase else [])]
    return [*turns, float(steps - 1)]


def cycle_place(step: int, ends: Sequence[float]) -> tuple[int, float]:
    """In which phase a step is, from 0, and which part of that lies behind it."""
    i = next((i for i, end in enumerate(ends) if step <= end), len(ends) - 1)
    begin = ends[i - 1] if i else 0.0
    return i, (step - begin) / (ends[i] - begin) if ends[i] > begin else 1.0


def between(first: float, last: float, part: float, straight: bool) -> float:
    """From ``first`` to ``last`` on a straight line, or else along half a cosine."""
    if straight:
        return (last - first) * part + first
    return last + (first - last) / 2.0 * (math.cos(math.pi * part) + 1)


@schedule("one_cycle", main="rise")
class OneCycle:
    """Up from base / start to the optimiser's rate, base, in the first part of all steps, then down to
    base / start / end.

    Along half cosines or straight lines, step by step.  With ``three_phase`` down to base / start in as many
    steps as up, and then on.  Momentum stays as the optimiser has it.  Smith and Topin, 2019.
    """

    rise: float = field(
        default=0.3, doc="the part of all steps in which the rate rises", minimum=0, maximum=1
    )
    start: float = field(default=25.0, doc="what base is divided by at the first step", above=0)
    end: float = field(default=1e4, doc="what the first rate is divided by at the last step", above=0)
    anneal: Literal["cosine", "linear"] = field(default="cosine", doc="the form of each phase")
    three_phase: bool = field(default=False, doc="down as long as up, then on to the end")

    def check(self) -> Iterator[Fault]:
        """Three phases have to fit in."""
        if self.three_phase and self.rise >= 0.5:
            found = f"up and down of {self.rise:g} each leave nothing for the third phase"
            yield Fault(("rise",), found, "expected below 0.5")

    def rate(
        self, base: float, step: int, steps_per_epoch: float, total_steps: int, state: State | None = None
    ) -> float:
        """The learning rate of step ``step``; a step behind the last one has its rate."""
        first = base / self.start
        low = first / self.end
        turns = [first, base, first, low] if self.three_phase else [first, base, low]
        i, part = cycle_place(step, cycle_ends(total_steps, self.rise, self.three_phase))
        return between(turns[i], turns[i + 1], min(part, 1.0), self.anneal == "linear")


@schedule("reduce_on_plateau")
class ReduceOnPlateau:
    """Multiplies by ``factor`` when ``monitor`` has not improved for ``patience`` epochs."""

    monitor: str = field(default="validation_loss", doc="a column of the history")
    factor: float = field(default=0.1, doc="what each reduction multiplies by", above=0, below=1)
    patience: int = field(default=3, doc="epochs without improvement before a reduction", minimum=1)
    floor: float = field(default=0.0, doc="smallest factor", minimum=0, maximum=1)

    def observe(self, state: State, value: float) -> dict[str, Any]:
        """The state after an epoch at whose end the monitored value was ``value``; ``{}`` at the start.

        Smaller is better: the caller negates what should grow.  The state goes into checkpoints.
        """
        factor, waited = state.get("factor", 1.0), state.get("waited", 0) + 1
        best = state.get("best", math.inf)
        if value < best:
            return {"best": value, "waited": 0, "factor": factor}
        if waited >= self.patience:
            return {"best": best, "waited": 0, "factor": max(self.floor, factor * self.factor)}
        return {"best": best, "waited": waited, "factor": factor}

    def rate(
        self, base: float, step: int, steps_per_epoch: float, total_steps: int, state: State | None = None
    ) -> float:
        """The learning rate, where ``state`` is what `observe` last gave."""
        return base * float((state or {}).get("factor", 1.0))
