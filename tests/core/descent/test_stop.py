"""Rules that end a study, and how they are composed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_core.descent import (
    Log,
    State,
    all_of,
    any_of,
    every,
    limit_gradient,
    limit_params,
    limit_steps,
    limit_value,
)

LOG = Log("none", "nothing")


def state(step: int = 3, x: Any = (1.0, -2.0), value: float = 0.5, gradient: Any = (3.0, 4.0)) -> State:
    return State(step, np.array(x), value, np.array(gradient), 0.0, 0)


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (limit_steps(3), "3 steps"),
        (limit_steps(4), None),
        (limit_value(0.5), "the value 0.5 is not above 0.5"),
        (limit_value(0.4), None),
        (limit_gradient(5.0), "the gradient's norm 5 is not above 5"),
        (limit_gradient(4.9), None),
        (limit_params(-3, 3), None),
        (limit_params(-1, 3), "x[1] = -2 is out of bounds"),
        (limit_params(high=[0.5, 3.0]), "x[0] = 1 is out of bounds"),
        (limit_params(low=[0.0, -2.0]), None),
        (limit_params(radius=2.0), "x is 2.23607 from 0, more than 2"),
        (limit_params(radius=2.3), None),
        (any_of(), None),
        (any_of(limit_steps(9), limit_value(1), limit_steps(1)), "the value 0.5 is not above 1"),
        (any_of(limit_steps(9), limit_value(0)), None),
        (all_of(limit_steps(3), limit_value(1)), "3 steps and the value 0.5 is not above 1"),
        (all_of(limit_steps(3), limit_value(0)), None),
        (all_of(), None),
        (any_of(all_of(limit_steps(1), limit_value(0)), limit_steps(2)), "2 steps"),
    ],
)
def test_the_reason(rule: Any, reason: str | None) -> None:
    assert rule(state(), LOG) == reason


def test_what_is_not_a_number_is_below_no_limit() -> None:
    without = state(value=np.nan, gradient=(np.nan, np.nan))
    assert any_of(limit_value(1e300), limit_gradient(1e300))(without, LOG) is None


def test_every_n_th_step_and_the_start() -> None:
    seen: list[int] = []
    tell = every(3, lambda s: seen.append(s.step))
    for step in range(8):
        assert tell(state(step)) is None  # as an observer
        assert any_of(tell, limit_steps(100))(state(step), LOG) is None  # as a rule
    assert seen == [0, 0, 3, 3, 6, 6]


def test_all_of_asks_each_rule_every_time() -> None:
    seen: list[int] = []
    all_of(limit_steps(100), every(1, lambda s: seen.append(s.step)))(state(), LOG)
    assert seen == [3]


@pytest.mark.parametrize("make", [limit_steps, lambda n: every(n, print)])
@pytest.mark.parametrize("n", [-1, 1.5, "3", True])
def test_numbers_of_steps_are_whole(make: Any, n: Any) -> None:
    with pytest.raises(ArgumentError, match="expected a whole number"):
        make(n)


def test_limits_of_params_are_given() -> None:
    with pytest.raises(ArgumentError, match="expected low, high or radius"):
        limit_params()


@pytest.mark.parametrize(
    "make",
    [
        lambda: limit_value("a"),  # type: ignore[arg-type]
        lambda: limit_value([1.0]),  # type: ignore[arg-type]
        lambda: limit_gradient(None),  # type: ignore[arg-type]
        lambda: limit_gradient(np.nan),
        lambda: limit_params("a"),
        lambda: limit_params(low=[1.0, np.nan]),
        lambda: limit_params(radius="far"),  # type: ignore[arg-type]
    ],
)
def test_limits_are_numbers(make: Any) -> None:
    with pytest.raises(ArgumentError, match=r"limit_\w+: .*, expected (a number|numbers)$"):
        make()


def test_bounds_fit_each_other_and_x() -> None:
    with pytest.raises(ArgumentError, match="low 5 is above high -5"):
        limit_params(5, -5)
    with pytest.raises(ShapeError, match=r"low has shape \(3,\), high \(2,\)"):
        limit_params([0, 0, 0], [1, 1])
    with pytest.raises(ShapeError, match=r"bounds of shape \(3,\), expected that of x, \(2,\)"):
        limit_params([0, 0, 0], [1, 1, 1])(state(), LOG)


@pytest.mark.parametrize("make", [any_of, all_of])
def test_rules_are_not_given_in_a_list(make: Any) -> None:
    with pytest.raises(ArgumentError, match="a list, expected rules, as a"):
        make([limit_steps(1), limit_value(0)])
