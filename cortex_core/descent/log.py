"""Every state of a descent, and several descents side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, overload

import numpy as np

from cortex_compute.errors import ArgumentError


@dataclass(frozen=True, eq=False)
class State:
    """Where a descent was after ``step`` steps.

    ``gradient`` is like ``x``; NaN where the method uses none.  ``seconds`` and ``calls`` (of f) are counted
    from the start of the study.
    """

    step: int
    x: np.ndarray
    value: float
    gradient: np.ndarray
    seconds: float
    calls: int

    @property
    def norm(self) -> float:
        """The 2-norm of the gradient."""
        return math.hypot(*self.gradient.reshape(-1).tolist())  # which does not overflow

    def __str__(self) -> str:
        numbers = np.array2string(self.x.reshape(-1), precision=6, threshold=6, edgeitems=2, separator=", ")
        norm = "" if np.isnan(self.norm) else f"  gradient {self.norm:.3e}"
        return f"step {self.step:>5}  value {self.value:.6e}{norm}  x {numbers}"


def _flat(state: State) -> np.ndarray:
    return state.x.reshape(-1)


class Column:
    """Something of each state as a growing array: a rule may look at it at each step, so that what has been
    read is not read again."""

    def __init__(self, of: Callable[[State], Any]) -> None:
        self._of = of
        self._rows, self._count = np.empty(0), 0

    def read(self, states: Sequence[State]) -> np.ndarray:
        """The array of all states, read-only."""
        if new := [self._of(state) for state in states[self._count :]]:
            if len(states) > len(self._rows):
                grown = np.empty((max(len(states), 2 * len(self._rows)), *np.shape(new[0])))
                if self._count:
                    grown[: self._count] = self._rows[: self._count]
                self._rows = grown
            self._rows[self._count : len(states)] = new
            self._count = len(states)
        found = self._rows[: self._count]
        found.flags.writeable = False
        return found


class Log(Sequence[State]):
    """The states of one descent, from the start on.

    ``optimizer`` and ``function`` are names; ``stopped`` says in words why it ended, "" while it goes on;
    ``interrupted``: by Ctrl-C.
    """

    def __init__(self, optimizer: str, function: str) -> None:
        self.optimizer, self.function = optimizer, function
        self.stopped, self.interrupted = "", False
        self._states: list[State] = []
        self._xs = Column(_flat)
        self._values = Column(attrgetter("value"))
        self._norms = Column(attrgetter("norm"))

    def append(self, state: State) -> None:
        """Adds the next state."""
        self._states.append(state)

    @overload
    def __getitem__(self, index: int) -> State: ...
    @overload
    def __getitem__(self, index: slice) -> list[State]: ...
    def __getitem__(self, index: int | slice) -> State | list[State]:
        return self._states[index]

    def __len__(self) -> int:
        return len(self._states)

    @property
    def xs(self) -> np.ndarray:
        """x at each state, as rows: (states, size of x), read-only."""
        return self._xs.read(self._states)

    @property
    def values(self) -> np.ndarray:
        """f(x) at each state: (states,), read-only."""
        return self._values.read(self._states)

    @property
    def norms(self) -> np.ndarray:
        """The 2-norm of the gradient at each state: (states,), read-only."""
        return self._norms.read(self._states)

    def __repr__(self) -> str:
        return f"<{self.function} by {self.optimizer}: {len(self)} states, {self.stopped or 'going on'}>"


@dataclass(frozen=True, eq=False)
class Moment:
    """The same step of several descents, by name; None for one that has ended before."""

    step: int
    states: Mapping[str, State | None]

    def __str__(self) -> str:
        width = max(map(len, self.states))
        lines = (f"{name:<{width}}  {state or 'ended'}" for name, state in self.states.items())
        return "\n".join(lines)


def review(logs: Log | Mapping[str, Log] | Sequence[Log], each: Callable[[Moment], Any] = print) -> None:
    """Replays one or several logs side by side: calls ``each`` with the `Moment` of each step, in order.

    ``every(10, print)`` is such an ``each``, too.  In a sequence, logs of one optimiser are
    told apart by #2, #3.
    """
    found = named(logs)
    for step in range(max(map(len, found.values()), default=0)):
        states = {name: log[step] if step < len(log) else None for name, log in found.items()}
        each(Moment(step, states))


def named(logs: Log | Mapping[str, Log] | Sequence[Log]) -> dict[str, Log]:
    """Logs by name: that of a mapping, else the optimiser's, with #2, #3 where one comes again."""
    if isinstance(logs, Log):
        return {logs.optimizer: logs}
    if not isinstance(logs, Iterable):
        raise ArgumentError(f"a {type(logs).__name__}, expected the log of a study: study(...).log")
    pairs = logs.items() if isinstance(logs, Mapping) else zip(_distinct(logs), logs)
    found = {str(name): log for name, log in pairs}
    for log in found.values():
        if not isinstance(log, Log):
            raise ArgumentError(f"a {type(log).__name__}, expected the log of a study: study(...).log")
    return found


def _distinct(logs: Sequence[Any]) -> Iterator[str]:
    seen: dict[str, int] = {}
    for log in logs:
        name = getattr(log, "optimizer", "")
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name} #{seen[name]}"
