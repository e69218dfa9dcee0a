"""A schedule of the learning rate: its first rate, and what a description says for it.

Keras counts steps where a description counts epochs, whose steps no file knows: so it is told, not imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from cortex_core.exchange.keras.said import Config, Unsaid, named, number, short
from cortex_core.registry import SCHEDULES

Number = Callable[[str], float]
"""A field of the schedule as a number.  Raises `Unsaid`."""


def base_of(schedule: Any) -> Any:
    """The rate that a schedule starts from, or rises to where it warms up; None where it says none."""
    _, config = named(schedule)
    values = config.get("values")
    first = values[0] if isinstance(values, list) and values else None
    target = config.get("warmup_target")
    return config.get("initial_learning_rate", first) if target is None else target


def like(schedule: Any) -> str:
    """What to write into ``train`` for a schedule."""
    name, config = named(schedule)
    rule = RULES.get(short(name or ""))
    try:
        if rule is None:
            raise Unsaid
        told = rule(config, lambda key: number(config.get(key, 0), key))
    except Unsaid:
        return f"train.schedule has none like it, and may be one of {', '.join(SCHEDULES)}"
    return f"with n steps an epoch, {told} in train is like it"


def _exponential(config: Config, of: Number) -> str:
    factor, steps = of("decay_rate"), of("decay_steps")
    if config.get("staircase"):
        return f"schedule: {{step: {{every: {steps:g} / n, factor: {factor:g}}}}}"
    return f"schedule: {{exponential: {factor:g}^(n / {steps:g})}}"


def _steps(config: Config, of: Number) -> str:
    at = _numbers(config.get("boundaries"))
    values = _numbers(config.get("values"))
    if not at or len(values) != len(at) + 1 or min(values) <= 0:
        raise Unsaid
    factors = {f"{b / a:.4g}" for a, b in pairwise(values)}
    if len(factors) > 1:
        raise Unsaid
    places = ", ".join(f"{step:g} / n" for step in at)
    return f"schedule: {{steps: {{at: [{places}], factor: {factors.pop()}}}}}"


def _cosine(config: Config, of: Number) -> str:
    steps, rising = of("decay_steps"), of("warmup_steps") if config.get("warmup_target") is not None else 0
    fields = [f"floor: {of('alpha'):g}", *([f"warm_up: {rising:g} / n"] if rising else [])]
    return f"schedule: {{cosine: {{{', '.join(fields)}}}}} over epochs: {steps + rising:g} / n"


def _numbers(said: Any) -> Sequence[float]:
    if not isinstance(said, list):
        raise Unsaid
    return [number(x, "it") for x in said]


RULES: dict[str, Callable[[Config, Number], str]] = {
    "exponentialdecay": _exponential,
    "piecewiseconstantdecay": _steps,
    "cosinedecay": _cosine,
}
