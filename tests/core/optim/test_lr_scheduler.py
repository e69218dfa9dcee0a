"""Every schedule against PyTorch's sequence of rates, one row each."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from cortex_compute.errors import ArgumentError, CheckpointError
from cortex_core import optim
from cortex_core.optim import lr_scheduler as schedules
from cortex_core.tensor import Tensor

STEPS = 100
Make = Any  # (module of schedules, optimiser) -> schedule

TABLE: dict[str, Make] = {
    "step": lambda s, o: s.StepLR(o, 7),
    "step, gamma": lambda s, o: s.StepLR(o, step_size=3, gamma=0.7),
    "multi step": lambda s, o: s.MultiStepLR(o, [30, 5, 5, 60], gamma=0.3),
    "multi step from 0": lambda s, o: s.MultiStepLR(o, [0, 5]),
    "exponential": lambda s, o: s.ExponentialLR(o, 0.93),
    "constant": lambda s, o: s.ConstantLR(o, factor=0.3, total_iters=10),
    "linear": lambda s, o: s.LinearLR(o),
    "linear down": lambda s, o: s.LinearLR(o, 1.0, 0.1, total_iters=60),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, 40),
    "cosine, floor": lambda s, o: s.CosineAnnealingLR(o, T_max=13, eta_min=0.01),
    "cosine of one step": lambda s, o: s.CosineAnnealingLR(o, 1, eta_min=0.01),
    "polynomial": lambda s, o: s.PolynomialLR(o, 60, power=1.7),
    "polynomial line": lambda s, o: s.PolynomialLR(o),
    "restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 7, eta_min=0.001),
    "restarts, longer": lambda s, o: s.CosineAnnealingWarmRestarts(o, 5, T_mult=2),
    "cyclic": lambda s, o: s.CyclicLR(o, 0.01, 0.1, step_size_up=7),
    "cyclic, lower": lambda s, o: s.CyclicLR(
        o, [0.01, 0.02], [0.1, 0.3], 8, 16, "triangular2", base_momentum=0.7, max_momentum=0.95
    ),
    "cyclic, fading": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 4, mode="exp_range", gamma=0.97),
    "cyclic, momentum stays": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 9, cycle_momentum=False),
    "lambda": lambda s, o: s.LambdaLR(o, lambda e: 0.95**e),
    "lambdas": lambda s, o: s.LambdaLR(o, [lambda e: 1 / (1 + e), lambda e: math.cos(e / 50)]),
    "one cycle": lambda s, o: s.OneCycleLR(o, 0.5, total_steps=100),
    "one cycle, linear": lambda s, o: s.OneCycleLR(
        o, [0.5, 0.1], epochs=10, steps_per_epoch=11, anneal_strategy="linear", pct_start=0.45
    ),
    "one cycle, three phases": lambda s, o: s.OneCycleLR(
        o, 0.5, total_steps=120, three_phase=True, div_factor=10.0, final_div_factor=100.0,
        base_momentum=0.7, max_momentum=0.9,
    ),
    "one cycle, momentum stays": lambda s, o: s.OneCycleLR(o, 0.5, total_steps=100, cycle_momentum=False),
    "sequential": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, total_iters=10), s.CosineAnnealingLR(o, 50), s.ExponentialLR(o, 0.9)], [10, 60]
    ),
    "sequential of all": lambda s, o: s.SequentialLR(
        o,
        [
            s.ConstantLR(o, 0.1, 3), s.StepLR(o, 3), s.MultiStepLR(o, [2, 4]),
            s.LambdaLR(o, lambda e: 1 / (1 + e)), s.LinearLR(o, 0.5, total_iters=5),
            s.OneCycleLR(o, 0.7, total_steps=60),
        ],
        [5, 15, 25, 35, 45],
    ),
    "sequential from 0": lambda s, o: s.SequentialLR(o, [s.ExponentialLR(o, 0.5), s.StepLR(o, 4)], [0]),
}  # fmt: skip
CHAINS: dict[str, list[Make]] = {
    "constant and exponential": [TABLE["constant"], TABLE["exponential"]],
    "linear and step": [TABLE["linear"], TABLE["step, gamma"]],
    "cosine and multi step": [TABLE["cosine, floor"], TABLE["multi step"]],
}


def ours(kind: str = "SGD") -> Any:
    groups = [{"params": [Tensor([1.0])]}, {"params": [Tensor([1.0])], "lr": 0.01}]
    return getattr(optim, kind)(groups, lr=0.1)


def rates(schedule: Any, optimizer: Any, measures: Any = None, steps: int = STEPS) -> list[Any]:
    """Rates and momentums before each step."""
    found = []
    for i in range(steps):
        momentums = [g.get("momentum", g.get("betas")) for g in optimizer.param_groups]
        found.append((schedule.get_last_lr(), [g["lr"] for g in optimizer.param_groups], momentums))
        optimizer.step()
        schedule.step(*([] if measures is None else [measures[i]]))
    return found


def flat(found: list[Any]) -> list[float]:
    numbers: list[float] = []
    for x in found:
        numbers += flat(x) if isinstance(x, (list, tuple)) else [float(x)]
    return numbers


def theirs(kind: str = "SGD") -> Any:
    torch = pytest.importorskip("torch")
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr} for lr in (0.1, 0.01)]
    return getattr(torch.optim, kind)(groups, lr=0.1)


@pytest.mark.peers
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("name", TABLE)
def test_a_hundred_rates_are_pytorchs(name: str, kind: str) -> None:
    torch = pytest.importorskip("torch")
    mine, other = ours(kind), theirs(kind)
    found = rates(TABLE[name](schedules, mine), mine)
    expected = rates(TABLE[name](torch.optim.lr_scheduler, other), other)
    assert flat(found) == pytest.approx(flat(expected), rel=1e-12, abs=1e-300)


@pytest.mark.peers
@pytest.mark.parametrize("name", CHAINS)
def test_schedules_that_act_together_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    found = []
    for module, optimizer in (schedules, ours()), (torch.optim.lr_scheduler, theirs()):
        chain = [make(module, optimizer) for make in CHAINS[name]]
        sequence = []
        for _ in range(STEPS):
            sequence.append([g["lr"] for g in optimizer.param_groups])
            optimizer.step()
            for schedule in chain:
                schedule.step()
        found.append(flat(sequence))
    assert found[0] == pytest.approx(found[1], rel=1e-12)


PLATEAUS: list[dict[str, Any]] = [
    {},
    {"mode": "max", "patience": 2, "factor": 0.5},
    {"patience": 1, "threshold": 0.05, "cooldown": 3, "min_lr": [0.001, 0.0005]},
    {"patience": 0, "threshold": 0.05, "threshold_mode": "abs", "eps": 1e-4},
    {"patience": 3, "threshold": 0.05, "threshold_mode": "abs", "mode": "max", "factor": 0.3},
]


def measured() -> list[float]:
    return [1 / (1 + i / 10) + 0.2 * math.sin(i) for i in range(50)] + [math.nan, -0.5] + [0.3] * 48


@pytest.mark.peers
@pytest.mark.parametrize("options", PLATEAUS)
def test_reductions_on_a_plateau_are_pytorchs(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    mine, other = ours(), theirs()
    found = rates(schedules.ReduceLROnPlateau(mine, **options), mine, measured())
    expected = rates(torch.optim.lr_scheduler.ReduceLROnPlateau(other, **options), other, measured())
    assert flat(found) == pytest.approx(flat(expected), rel=1e-12)
    assert len(set(flat(found))) > 4


@pytest.mark.peers
def test_restarts_at_parts_of_an_epoch_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    found = []
    for module, optimizer in (schedules, ours()), (torch.optim.lr_scheduler, theirs()):
        schedule = module.CosineAnnealingWarmRestarts(optimizer, 3, T_mult=2)
        sequence = []
        for epoch in (0.25, 1.5, 2.75, 3.0, 8.9, 9.0, 20.3):
            schedule.step(epoch)
            sequence.append([g["lr"] for g in optimizer.param_groups])
        found.append(flat(sequence))
    assert found[0] == pytest.approx(found[1], rel=1e-12)


ALL: dict[str, Make] = {**TABLE, "plateau": lambda s, o: s.ReduceLROnPlateau(o, patience=1)}


@pytest.mark.parametrize("name", ALL)
def test_a_loaded_state_goes_on(name: str) -> None:
    measures = measured() if name == "plateau" else None
    whole, first, second = ours(), ours(), ours()
    expected = rates(ALL[name](schedules, whole), whole, measures, 60)
    schedule = ALL[name](schedules, first)
    rates(schedule, first, measures, 30)
    resumed = ALL[name](schedules, second)
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    assert rates(resumed, second, measures and measures[30:], 30) == expected[30:]


def test_rates_by_hand() -> None:
    optimizer = optim.SGD([Tensor([1.0])], lr=1.0)
    schedule = schedules.SequentialLR(
        optimizer,
        [schedules.LinearLR(optimizer, 0.25, total_iters=3), schedules.StepLR(optimizer, 2, gamma=0.1)],
        [3],
    )
    found = [x[0][0] for x in rates(schedule, optimizer, steps=8)]
    assert found == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 0.1, 0.1, 0.01])


@pytest.mark.parametrize("steps", range(1, 12))
def test_a_line_to_0_ends_there(steps: int) -> None:
    """A rate of -5e-19 is no rate: a state that holds it would not load."""
    optimizer = ours()
    schedule = schedules.LinearLR(optimizer, 0.1, 0.0, total_iters=steps)
    for _ in range(steps + 2):
        schedule.step()
    assert all(0 <= lr < 1e-17 for lr in schedule.get_last_lr())
    optimizer.load_state_dict(optimizer.state_dict())


def test_cosine_ends_at_the_floor_and_comes_back() -> None:
    optimizer = optim.SGD([Tensor([1.0])], lr=1.0)
    schedule = schedules.CosineAnnealingLR(optimizer, 4, eta_min=0.2)
    found = [x[0][0] for x in rates(schedule, optimizer, steps=9)]
    assert [found[0], found[8]] == pytest.approx([1.0, 1.0])
    assert found[2] == pytest.approx(0.6)
    assert found[4] == pytest.approx(0.2)


def test_one_cycle_runs_the_momentum_against_the_rate() -> None:
    for kind, momentum in ("SGD", lambda g: g["momentum"]), ("Adam", lambda g: g["betas"][0]):
        optimizer = getattr(optim, kind)([Tensor([1.0])], lr=1.0)
        schedule = schedules.OneCycleLR(optimizer, 0.5, total_steps=10)
        group, pairs = optimizer.param_groups[0], []
        for _ in range(10):
            pairs.append((group["lr"], momentum(group)))
            schedule.step()
        assert pairs[0] == pytest.approx((0.02, 0.95))
        assert max(pairs) == pytest.approx((0.5, 0.85))
        assert pairs[9] == pytest.approx((0.02 / 1e4, 0.95))


def test_own_schedules_say_get_lr() -> None:
    class Halving(schedules.LRScheduler):
        def get_lr(self) -> list[float]:
            return [base / 2**self.last_epoch for base in self.base_lrs]

    optimizer = optim.SGD([Tensor([1.0])], lr=1.0)
    assert [x[0][0] for x in rates(Halving(optimizer), optimizer, steps=3)] == [1.0, 0.5, 0.25]


def plateau_without_measure() -> None:
    schedules.ReduceLROnPlateau(ours()).step()


def past_the_end() -> None:
    schedule = schedules.OneCycleLR(ours(), 0.5, total_steps=2)
    for _ in range(3):
        schedule.step()


def a_group_too_many() -> None:
    optimizer = ours()
    schedule = schedules.LambdaLR(optimizer, lambda e: 1.0)
    optimizer.add_param_group({"params": [Tensor([1.0])]})
    schedule.step()


def of_two_optimizers() -> None:
    one, other = ours(), ours()
    schedules.SequentialLR(one, [schedules.StepLR(one, 1), schedules.StepLR(other, 1)], [1])


def milestones_missing() -> None:
    optimizer = ours()
    schedules.SequentialLR(optimizer, [schedules.StepLR(optimizer, 1)] * 2, [])


def a_plateau_inside() -> None:
    optimizer = ours()
    schedules.SequentialLR(optimizer, [schedules.ReduceLROnPlateau(optimizer)], [])


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: schedules.StepLR(None, 3), TypeError, "expected an Optimizer, got a NoneType"),
        (lambda: schedules.StepLR(ours(), 0), ArgumentError, "step_size is 0"),
        (lambda: schedules.CosineAnnealingLR(ours(), 2.5), ArgumentError, "T_max is 2.5"),
        (lambda: schedules.LinearLR(ours(), 0), ArgumentError, "start_factor is 0.*above 0"),
        (lambda: schedules.ConstantLR(ours(), 1.5), ArgumentError, "factor is 1.5"),
        (lambda: schedules.LambdaLR(ours(), [abs]), ArgumentError, "1 values for 2 groups"),
        (lambda: schedules.OneCycleLR(ours(), 0.5), ArgumentError, "total_steps, or epochs"),
        (
            lambda: schedules.OneCycleLR(ours(), 0.5, 9, anneal_strategy="up"),
            ArgumentError,
            "'cos' or 'linear'",
        ),
        (lambda: schedules.OneCycleLR(ours(), 0.5, 9, pct_start=2), ArgumentError, "pct_start is 2"),
        (lambda: schedules.OneCycleLR(ours("Adagrad"), 0.5, 9), ArgumentError, "cycle_momentum=False"),
        (
            lambda: schedules.CyclicLR(ours("Adagrad"), 0.1, 0.5),
            ArgumentError,
            "Adagrad has neither",
        ),
        (lambda: schedules.CyclicLR(ours(), 0.1, 0.5, mode="square"), ArgumentError, "mode is 'square'"),
        (lambda: schedules.CyclicLR(ours(), 0.1, [0.5]), ArgumentError, "max_lr has 1 values for 2 groups"),
        (
            lambda: schedules.CosineAnnealingWarmRestarts(ours(), 3).step(-1),
            ArgumentError,
            "epoch is -1, expected 0",
        ),
        (lambda: schedules.PolynomialLR(ours(), 0), ArgumentError, "total_iters is 0"),
        (lambda: schedules.ReduceLROnPlateau(ours(), "low"), ArgumentError, "'min' or 'max'"),
        (lambda: schedules.ReduceLROnPlateau(ours(), threshold_mode="x"), ArgumentError, "'rel' or 'abs'"),
        (lambda: schedules.ReduceLROnPlateau(ours(), factor=1.0), ArgumentError, "below 1"),
        (lambda: schedules.StepLR(ours(), 3, verbose=True), TypeError, "verbose"),
        (lambda: schedules.StepLR(ours(), 3).load_state_dict({"gamma": 1}), CheckpointError, "step_size"),
        (plateau_without_measure, TypeError, "validation loss"),
        (past_the_end, ArgumentError, "step 3 of 2"),
        (a_group_too_many, ArgumentError, "3 groups, this schedule is for 2"),
        (of_two_optimizers, ArgumentError, "own optimiser"),
        (milestones_missing, ArgumentError, "2 schedules and 0 milestones"),
        (a_plateau_inside, ArgumentError, "cannot hold a ReduceLROnPlateau"),
    ],
)
def test_what_is_wrong_is_said(make: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        make()
