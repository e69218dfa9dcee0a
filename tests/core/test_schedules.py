"""Learning rate schedules against values worked out by hand, and PyTorch's."""

from __future__ import annotations

import json
import math

import pytest

from cortex_compute.errors import SpecError
from cortex_core.schedules import (
    ConstantRate,
    CosineRate,
    ExponentialRate,
    OneCycle,
    ReduceOnPlateau,
    StepRate,
    StepsRate,
)


def test_constant_is_the_base_at_every_step() -> None:
    assert [ConstantRate().rate(0.1, s, 10, 30) for s in (0, 7, 29)] == [0.1, 0.1, 0.1]


def test_step_falls_after_each_two_epochs() -> None:
    schedule = StepRate(every=2, factor=0.5)
    rates = [schedule.rate(1.0, epoch * 10 + 9, 10, 60) for epoch in range(6)]
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    assert schedule.rate(1.0, 20, 10, 60) == 0.5  # the first step of the third epoch


def test_steps_falls_at_the_epochs_that_are_told() -> None:
    schedule = StepsRate(at_epochs=[2, 3.5], factor=0.1)
    rates = [schedule.rate(1.0, step, 10, 60) for step in (0, 19, 20, 34, 35, 59)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert StepsRate(at_epochs=[1], warm_up=2).rate(1.0, 9, 10, 60) == pytest.approx(0.5)


def test_steps_are_in_order() -> None:
    for at in ([], [3, 2], [2, 2]):
        with pytest.raises(SpecError, match=r"do not rise: expected epochs, each above the one before"):
            StepsRate(at_epochs=at)
    with pytest.raises(SpecError, match="0 is too small"):
        StepsRate(at_epochs=[0, 2])


def test_exponential_falls_at_every_step() -> None:
    schedule = ExponentialRate(factor=0.25)
    assert schedule.rate(2.0, 5, 10, 60) == pytest.approx(1.0)  # half an epoch: sqrt(0.25)
    assert schedule.rate(2.0, 10, 10, 60) == pytest.approx(0.5)


def test_cosine_from_one_to_the_floor() -> None:
    schedule = CosineRate(floor=0.2)
    assert schedule.rate(1.0, 0, 10, 100) == 1.0
    assert schedule.rate(1.0, 50, 10, 100) == pytest.approx(0.6)
    assert schedule.rate(1.0, 25, 10, 100) == pytest.approx(0.6 + 0.4 * math.cos(math.pi / 4))
    assert schedule.rate(1.0, 100, 10, 100) == pytest.approx(0.2)
    assert schedule.rate(1.0, 250, 10, 100) == pytest.approx(0.2)


def test_the_warm_up_rises_by_equal_steps_and_the_cosine_begins_after_it() -> None:
    schedule = CosineRate(warm_up=0.5)
    rates = [schedule.rate(1.0, s, 8, 24) for s in range(24)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[14] == pytest.approx(0.5)  # half of the 20 steps that are left
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_a_warm_up_longer_than_the_training_only_rises() -> None:
    assert [CosineRate(warm_up=4).rate(1.0, s, 1, 2) for s in (0, 1)] == [0.25, 0.5]


def test_one_cycle_rises_and_falls() -> None:
    schedule = OneCycle(rise=0.25, start=10, end=100, anneal="linear")
    rates = [schedule.rate(1.0, s, 7, 20) for s in range(20)]
    assert rates[:5] == pytest.approx([0.1, 0.325, 0.55, 0.775, 1.0])
    assert rates[12] == pytest.approx(1 - 0.999 * 8 / 15)  # on the line from 1 at step 4 to 0.001 at step 19
    assert rates[19] == pytest.approx(0.001)
    assert schedule.rate(1.0, 30, 7, 20) == pytest.approx(0.001)


def test_one_cycle_of_three_phases_must_fit_in() -> None:
    with pytest.raises(SpecError, match=r"up and down of 0\.5 each leave nothing for the third phase"):
        OneCycle(rise=0.5, three_phase=True)


@pytest.mark.peers
@pytest.mark.parametrize("total", [1, 2, 7, 100])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        (
            {"rise": 0.45, "start": 10, "end": 50, "anneal": "linear"},
            {"pct_start": 0.45, "div_factor": 10, "final_div_factor": 50, "anneal_strategy": "linear"},
        ),
        ({"rise": 0.4, "three_phase": True}, {"pct_start": 0.4, "three_phase": True}),
    ],
)
def test_one_cycle_is_pytorchs(total: int, ours: dict[str, object], theirs: dict[str, object]) -> None:
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=total, **theirs)
    for step in range(total):
        rate = OneCycle(**ours).rate(0.5, step, 3, total)
        assert rate == pytest.approx(scheduler.get_last_lr()[0], rel=1e-12, abs=1e-18)
        optimizer.step()
        if step < total - 1:
            scheduler.step()


def test_plateau_reduces_after_patience_and_survives_a_checkpoint() -> None:
    schedule = ReduceOnPlateau(factor=0.5, patience=2, floor=0.2)
    state: dict[str, object] = {}
    rates = []
    for loss in (3.0, 2.0, 2.0, 2.5, 1.9, 2.0, 2.0, 2.0, 2.0, 2.0):
        state = json.loads(json.dumps(schedule.observe(state, loss)))
        rates.append(schedule.rate(1.0, 0, 1, 10, state))
    assert rates == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2]
    assert schedule.rate(1.0, 0, 1, 10) == 1.0


def test_plateau_takes_nan_as_no_improvement() -> None:
    schedule = ReduceOnPlateau(patience=1)
    state = schedule.observe(schedule.observe({}, 1.0), math.nan)
    assert state["factor"] == 0.1


@pytest.mark.peers
def test_cosine_and_exponential_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    parameter = torch.nn.Parameter(torch.zeros(1))
    for ours, theirs in (
        (CosineRate(floor=0.1), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 20, eta_min=0.05)),
        (ExponentialRate(factor=0.9), lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9)),
        (StepRate(every=3, factor=0.1), lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.1)),
        (StepsRate(at_epochs=[4, 9]), lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [4, 9], 0.1)),
    ):
        optimizer = torch.optim.SGD([parameter], lr=0.5)
        scheduler = theirs(optimizer)
        for step in range(20):
            assert ours.rate(0.5, step, 1, 20) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-12)
            optimizer.step()
            scheduler.step()
