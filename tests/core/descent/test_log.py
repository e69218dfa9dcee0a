"""A log's arrays, which rules look at after each step."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from cortex_core.descent import Log, State
from cortex_core.descent.log import Column


def state(step: int) -> State:
    return State(step, np.full((2, 1), float(step)), step**2, np.array([[3.0 * step], [4.0 * step]]), 0.0, 0)


def test_its_arrays_are_those_of_its_states_at_any_time() -> None:
    log = Log("adam", "f")
    before = []
    assert log.values.shape == (0,)
    for step in range(20):
        log.append(state(step))
        before.append(log.xs)
        assert log.xs.tolist() == [[k, k] for k in range(step + 1)]
        assert log.values.tolist() == [k**2 for k in range(step + 1)]
        assert log.norms.tolist() == [5 * k for k in range(step + 1)]
    assert [len(xs) for xs in before] == list(range(1, 21))
    with pytest.raises(ValueError, match="read-only"):
        log.values[0] = 1.0


def test_each_state_is_read_once() -> None:
    read: list[int] = []

    def value(state: State) -> float:
        read.append(state.step)
        return state.value

    states: list[State] = []
    column = Column(value)
    for step in range(50):
        states.append(state(step))
        column.read(states)
        column.read(states)
    assert read == list(range(50))


def test_it_is_pickled() -> None:
    log = Log("adam", "f")
    log.append(state(2))
    assert log.norms.tolist() == [10]
    again = pickle.loads(pickle.dumps(log))
    again.append(state(3))
    assert again.norms.tolist() == [10, 15]
