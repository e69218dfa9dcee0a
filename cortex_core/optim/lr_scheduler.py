"""Schedules of the learning rate: ``step()`` after each epoch, or each batch, sets ``lr`` in every group.

Most read the rate that a group has and change it, as PyTorch's do, so that several may act on one optimiser.
The sequences of rates are PyTorch's to the last bits.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cortex_compute.errors import ArgumentError, CheckpointError
from cortex_core.optim.optimizer import Optimizer
from cortex_core.schedules import between, cycle_ends, cycle_place

__all__ = [
    "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR",
    "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR", "OneCycleLR", "PolynomialLR",
    "ReduceLROnPlateau", "SequentialLR", "StepLR",
]  # fmt: skip


class LRScheduler:
    """The base of all schedules; a subclass says `get_lr`.

    ``last_epoch`` counts the calls of `step`, ``base_lrs`` are the rates from which the schedule started.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{self._name}: expected an Optimizer, got a {type(optimizer).__name__}")
        self.optimizer = optimizer
        self.base_lrs: list[float] = [g.setdefault("initial_lr", g["lr"]) for g in optimizer.param_groups]
        self.start(self.get_last_lr())

    @property
    def _name(self) -> str:
        return type(self).__name__

    def get_lr(self) -> list[float]:
        """The rates of epoch ``last_epoch``, one per group, from those of the epoch before or from
        ``base_lrs``.
        """
        raise NotImplementedError

    def get_last_lr(self) -> list[float]:
        """The rates that the groups have now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def step(self) -> None:
        """Goes on to the next epoch."""
        self.last_epoch += 1
        self._set(self.get_lr())

    def start(self, lrs: Sequence[float]) -> None:
        """Epoch 0, from these rates."""
        self._set(lrs)
        self.last_epoch = 0
        self._set(self.get_lr())

    def _set(self, lrs: Sequence[float]) -> None:
        groups = self.optimizer.param_groups
        if len(lrs) != len(groups):
            raise ArgumentError(
                f"{self._name}: the optimiser has {len(groups)} groups, this schedule is for {len(lrs)}: "
                "make it after the last add_param_group"
            )
        for group, lr in zip(groups, lrs):
            group["lr"] = lr

    def _times(self, factor: float) -> list[float]:
        return [lr * factor for lr in self.get_last_lr()]

    def state_dict(self) -> dict[str, Any]:
        """All but the optimiser (which keeps the rates) and functions, as plain data."""
        return {name: _plain(value) for name, value in self.__dict__.items() if name not in self._not_kept}

    _not_kept = frozenset({"optimizer"})

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` gave; the optimiser's state is loaded by itself."""
        if state_dict.keys() != self.state_dict().keys():
            raise CheckpointError(
                f"{self._name}: the state has {', '.join(sorted(state_dict))}; "
                f"this schedule has {', '.join(sorted(self.state_dict()))}"
            )
        self.__dict__.update({name: _plain(value) for name, value in state_dict.items()})


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


class LambdaLR(LRScheduler):
    """base_lr lr_lambda(epoch): one function, or one per group.  Functions are no part of the state."""

    _not_kept = frozenset({"optimizer", "lr_lambdas"})

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]]
    ) -> None:
        self.lr_lambdas = _per_group("LambdaLR", "lr_lambda", optimizer, lr_lambda)
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        return [base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas)]


class StepLR(LRScheduler):
    """The rate times ``gamma`` after each ``step_size`` epochs."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size, self.gamma = _whole("StepLR", "step_size", step_size), gamma
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        due = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return self._times(self.gamma) if due else self.get_last_lr()


class MultiStepLR(LRScheduler):
    """The rate times ``gamma`` at each of the epochs ``milestones``."""

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        count = self.milestones.count(self.last_epoch)
        return self._times(self.gamma**count) if count else self.get_last_lr()


class ExponentialLR(LRScheduler):
    """The rate times ``gamma`` after each epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = gamma
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        return self._times(self.gamma) if self.last_epoch else self.get_last_lr()


class ConstantLR(LRScheduler):
    """The rate times ``factor`` for the first ``total_iters`` epochs."""

    def __init__(self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5) -> None:
        self.factor = _within("ConstantLR", "factor", factor, above=0)
        self.total_iters = _whole("ConstantLR", "total_iters", total_iters)
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._times(self.factor)
        return self._times(1.0 / self.factor) if self.last_epoch == self.total_iters else self.get_last_lr()


class LinearLR(LRScheduler):
    """The factor of the rate goes from ``start_factor`` to ``end_factor`` in ``total_iters`` equal steps."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
    ) -> None:
        self.start_factor = _within("LinearLR", "start_factor", start_factor, above=0)
        self.end_factor = _within("LinearLR", "end_factor", end_factor)
        self.total_iters = _whole("LinearLR", "total_iters", total_iters)
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._times(self.start_factor)
        if self.last_epoch > self.total_iters:
            return self.get_last_lr()
        rise = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * rise
        return [max(lr, 0.0) for lr in self._times(1.0 + rise / before)]  # rounding may go beyond 0


class PolynomialLR(LRScheduler):
    """The base rate times (1 - epoch / total_iters)^power, and 0 from epoch ``total_iters`` on."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0) -> None:
        self.total_iters, self.power = _whole("PolynomialLR", "total_iters", total_iters), power
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        if not 0 < self.last_epoch <= self.total_iters:
            return self.get_last_lr()
        left, before = (1.0 - epoch / self.total_iters for epoch in (self.last_epoch, self.last_epoch - 1))
        return self._times((left / before) ** self.power)


class CosineAnnealingLR(LRScheduler):
    """From the base rate to ``eta_min`` along half a cosine of ``T_max`` epochs, and back up.

    Loshchilov and Hutter, 2017.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        self.T_max, self.eta_min = _whole("CosineAnnealingLR", "T_max", T_max), eta_min
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        lrs, epoch, floor = self.get_last_lr(), self.last_epoch, self.eta_min
        if epoch == 0:
            return lrs
        if (epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # from the floor: no ratio
            rise = (1 - math.cos(math.pi / self.T_max)) / 2
            return [lr + (base - floor) * rise for lr, base in zip(lrs, self.base_lrs)]
        now, before = (1 + math.cos(math.pi * e / self.T_max) for e in (epoch, epoch - 1))
        return [now / before * (lr - floor) + floor for lr in lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """From the base rate to ``eta_min`` along half a cosine of ``T_0`` epochs, then again, each time
    ``T_mult`` times as long.  Loshchilov and Hutter, 2017.
    """

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0) -> None:
        self.T_0 = _whole("CosineAnnealingWarmRestarts", "T_0", T_0)
        self.T_mult = _whole("CosineAnnealingWarmRestarts", "T_mult", T_mult)
        self.eta_min = eta_min
        super().__init__(optimizer)

    def step(self, epoch: float | None = None) -> None:
        """Goes on to the next epoch, or to ``epoch``, which may be a fraction: epoch + batch / batches."""
        if epoch is not None and not epoch >= 0:
            raise ArgumentError(f"CosineAnnealingWarmRestarts.step: epoch is {epoch}, expected 0 or more")
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch  # type: ignore[assignment]
        self._set(self.get_lr())

    def get_lr(self) -> list[float]:
        now, length = self.last_epoch, self.T_0
        if self.T_mult == 1:
            now %= length
        while now >= length:
            now, length = now - length, length * self.T_mult
        part = (1 + math.cos(math.pi * now / length)) / 2
        return [self.eta_min + (base - self.eta_min) * part for base in self.base_lrs]


class CyclicLR(LRScheduler):
    """From ``base_lr`` to ``max_lr`` and back, in ``step_size_up`` and ``step_size_down`` steps; momentum, or
    the first beta, runs against it.  `step` after each batch.

    ``mode``: "triangular", "triangular2" (each cycle half as high) or "exp_range" (the height times ``gamma``
    after each step).  Smith, 2017.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
    ) -> None:
        if mode not in ("triangular", "triangular2", "exp_range"):
            raise ArgumentError(
                f"CyclicLR: mode is {mode!r:.60}, expected 'triangular', 'triangular2' or 'exp_range'"
            )
        self.up = _whole("CyclicLR", "step_size_up", step_size_up)
        down = step_size_up if step_size_down is None else step_size_down
        self.length = self.up + _whole("CyclicLR", "step_size_down", down)
        self.mode, self.gamma, self.cycle_momentum = mode, gamma, cycle_momentum
        for group, rate in zip(optimizer.param_groups, _per_group("CyclicLR", "base_lr", optimizer, base_lr)):
            group.update(lr=rate, initial_lr=rate)
        self.max_lrs = _per_group("CyclicLR", "max_lr", optimizer, max_lr)
        self.base_momentums = _per_group("CyclicLR", "base_momentum", optimizer, base_momentum)
        self.max_momentums = _per_group("CyclicLR", "max_momentum", optimizer, max_momentum)
        if cycle_momentum:
            _expect_momentum("CyclicLR", optimizer)
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        cycle = self.last_epoch // self.length
        place, up = self.last_epoch / self.length - cycle, self.up / self.length
        height = place / up if place <= up else (place - 1) / (up - 1)
        if self.mode == "triangular2":
            height *= 0.5**cycle
        elif self.mode == "exp_range":
            height *= self.gamma**self.last_epoch
        if self.cycle_momentum:
            for group, low, high in zip(self.optimizer.param_groups, self.base_momentums, self.max_momentums):
                _set_momentum(group, high - (high - low) * height)
        return [low + (high - low) * height for low, high in zip(self.base_lrs, self.max_lrs)]


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to ``max_lr`` in the first ``pct_start`` of all steps, then down to the
    first rate / final_div_factor; momentum, or the first beta, runs against it.  `step` after each batch.

    There are ``total_steps``, or epochs times steps_per_epoch.  Smith and Topin, 2019.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ) -> None:
        if anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(
                f"OneCycleLR: anneal_strategy is {anneal_strategy!r}, expected 'cos' or 'linear'"
            )
        if total_steps is None and (epochs is None or steps_per_epoch is None):
            raise ArgumentError("OneCycleLR needs total_steps, or epochs and steps_per_epoch")
        if total_steps is None:
            total_steps = _whole("OneCycleLR", "epochs", epochs)
            total_steps *= _whole("OneCycleLR", "steps_per_epoch", steps_per_epoch)
        self.total_steps = _whole("OneCycleLR", "total_steps", total_steps)
        self.anneal_strategy, self.cycle_momentum = anneal_strategy, cycle_momentum
        self.ends = self._phases(_within("OneCycleLR", "pct_start", pct_start), three_phase)
        for group, rate in zip(optimizer.param_groups, _per_group("OneCycleLR", "max_lr", optimizer, max_lr)):
            first = rate / div_factor
            group.update(initial_lr=first, max_lr=rate, min_lr=first / final_div_factor)
        if cycle_momentum:
            _expect_momentum("OneCycleLR", optimizer)
            lows = _per_group("OneCycleLR", "base_momentum", optimizer, base_momentum)
            highs = _per_group("OneCycleLR", "max_momentum", optimizer, max_momentum)
            for group, low, high in zip(optimizer.param_groups, lows, highs):
                group.update(base_momentum=low, max_momentum=high)
        super().__init__(optimizer)

    def _phases(self, pct_start: float, three_phase: bool) -> list[tuple[float, str, str, str, str]]:
        """Each phase: its last step, the rates from and to which it goes, and the momentums."""
        up = ("initial_lr", "max_lr", "max_momentum", "base_momentum")
        down = ("max_lr", "initial_lr" if three_phase else "min_lr", "base_momentum", "max_momentum")
        further = ("initial_lr", "min_lr", "max_momentum", "max_momentum")
        ends = cycle_ends(self.total_steps, pct_start, three_phase)
        return [(end, *names) for end, names in zip(ends, (up, down, further))]

    def get_lr(self) -> list[float]:
        step = self.last_epoch
        if step > self.total_steps:
            raise ArgumentError(f"OneCycleLR: step {step} of {self.total_steps}: the cycle is over")
        i, part = cycle_place(step, [phase[0] for phase in self.ends])
        _, lr_from, lr_to, momentum_from, momentum_to = self.ends[i]
        groups = self.optimizer.param_groups
        if self.cycle_momentum:
            for group in groups:
                _set_momentum(group, self._between(group[momentum_from], group[momentum_to], part))
        return [self._between(group[lr_from], group[lr_to], part) for group in groups]

    def _between(self, a: float, b: float, part: float) -> float:
        return between(a, b, part, self.anneal_strategy == "linear")


class SequentialLR(LRScheduler):
    """One schedule after the other: the next takes over, from the base rates, at each of ``milestones``."""

    _not_kept = frozenset({"optimizer", "schedulers"})

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int]
    ) -> None:
        for scheduler in schedulers:
            if isinstance(scheduler, (ReduceLROnPlateau, SequentialLR)):
                raise ArgumentError(f"SequentialLR cannot hold a {type(scheduler).__name__}")
            if scheduler.optimizer is not optimizer:
                raise ArgumentError("SequentialLR: the schedules must all be of its own optimiser")
        if not schedulers or len(milestones) != len(schedulers) - 1:
            raise ArgumentError(
                f"SequentialLR: {len(schedulers)} schedules and {len(milestones)} milestones, expected one "
                "milestone between each two"
            )
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        super().__init__(optimizer)

    @property
    def _current(self) -> LRScheduler:
        return self.schedulers[bisect_right(self.milestones, self.last_epoch)]

    def start(self, lrs: Sequence[float]) -> None:
        """Epoch 0, from the base rates: making the parts has moved the rates."""
        self.last_epoch = 0
        self._current.start(self.base_lrs)

    def step(self) -> None:
        self.last_epoch += 1
        if self.last_epoch in self.milestones:
            self._current.start(self._current.base_lrs)
        else:
            self._current.step()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        parts, schedulers = state_dict.get("schedulers", []), self.schedulers
        super().load_state_dict(state_dict)
        self.schedulers = schedulers
        for scheduler, state in zip(schedulers, parts):
            scheduler.load_state_dict(state)


class ReduceLROnPlateau(LRScheduler):
    """The rate times ``factor`` when what is measured has not improved for more than ``patience`` epochs.

    ``mode`` min or max says what is better.  Better is by more than ``threshold``, as a part of the best
    (rel) or as it is (abs).  After a reduction nothing is counted for ``cooldown`` epochs.  A reduction by no
    more than ``eps`` is left out.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if mode not in ("min", "max"):
            raise ArgumentError(f"ReduceLROnPlateau: mode is {mode!r:.60}, expected 'min' or 'max'")
        if threshold_mode not in ("rel", "abs"):
            raise ArgumentError(
                f"ReduceLROnPlateau: threshold_mode is {threshold_mode!r:.60}, expected 'rel' or 'abs'"
            )
        if not 0 <= factor < 1:
            raise ArgumentError(f"ReduceLROnPlateau: factor is {factor!r:.60}, expected one below 1")
        self.mode, self.threshold_mode, self.threshold = mode, threshold_mode, threshold
        self.factor, self.patience, self.cooldown, self.eps = factor, patience, cooldown, eps
        self.min_lrs = _per_group("ReduceLROnPlateau", "min_lr", optimizer, min_lr)
        self.best = math.inf if mode == "min" else -math.inf
        self.cooldown_counter = self.num_bad_epochs = 0
        super().__init__(optimizer)

    def start(self, lrs: Sequence[float]) -> None:
        self.last_epoch = 0

    def step(self, metrics: Any = None) -> None:
        """Takes what was measured in this epoch: a number, or a Tensor of one."""
        if metrics is None:
            raise TypeError("ReduceLROnPlateau.step needs what was measured, such as the validation loss")
        current = float(metrics)
        self.last_epoch += 1
        if self._improves(current):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._set(self.get_lr())
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def get_lr(self) -> list[float]:
        lrs = self.get_last_lr()
        reduced = [max(lr * self.factor, least) for lr, least in zip(lrs, self.min_lrs)]
        return [new if lr - new > self.eps else lr for lr, new in zip(lrs, reduced)]

    def _improves(self, current: float) -> bool:
        sign = 1.0 if self.mode == "min" else -1.0
        if self.threshold_mode == "rel":
            return sign * current < sign * (self.best * (1.0 - sign * self.threshold))
        return sign * current < sign * (self.best - sign * self.threshold)


def _expect_momentum(where: str, optimizer: Optimizer) -> None:
    if not optimizer.defaults.keys() & {"momentum", "betas"}:
        raise ArgumentError(
            f"{where}: {type(optimizer).__name__} has neither momentum nor betas: say cycle_momentum=False"
        )


def _set_momentum(group: dict[str, Any], momentum: float) -> None:
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


def _per_group(where: str, name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """One value for each group: the same, or a list of them."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{where}: expected an Optimizer, got a {type(optimizer).__name__}")
    count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        raise ArgumentError(f"{where}: {name} has {len(value)} values for {count} groups")
    return list(value)


def _whole(where: str, name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ArgumentError(f"{where}: {name} is {value!r:.60}, expected a whole number above 0")
    return value


def _within(where: str, name: str, value: float, above: float = -math.inf) -> float:
    if not (0 <= value <= 1 and value > above):
        bounds = "above 0 and at most 1" if above == 0 else "from 0 to 1"
        raise ArgumentError(f"{where}: {name} is {value!r:.60}, expected one {bounds}")
    return float(value)
