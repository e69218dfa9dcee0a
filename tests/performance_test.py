"""Memory does not grow with the number of steps.

Runs with the other tests, and under a profiler: ``memray run -m pytest tests/performance_test.py``.  The
collector of circles is off while steps run: what is not needed any more is freed at once, or it is a leak.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import cortex
from cortex_core.ops.pointwise import relu
from cortex_core.ops.reduce import mean
from cortex_core.tensor import Tensor

WARM, STEPS = 20, 100
SLACK = 32 * 1024  # bytes; what the hidden layer gives for a batch is 128 KiB
BATCH, FEATURES, UNITS = 256, 32, 128
HIDDEN = 4 * BATCH * UNITS


@pytest.fixture(autouse=True)
def _traced() -> Iterator[None]:
    """Allocations are counted, and no circle is collected."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    yield
    tracemalloc.stop()
    gc.enable()


class Growth(NamedTuple):
    """What steps leave behind: bytes, and objects that only the collector of circles frees; and the most
    bytes that they held on the way."""

    left: int
    circles: int
    peak: int


def growth(step: Callable[[], object]) -> Growth:
    """What ``STEPS`` further steps do.

    Both readings follow a collection, which also empties the lists in which Python keeps freed tuples.
    """
    for _ in range(WARM):
        step()
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    for _ in range(STEPS):
        step()
    peak = tracemalloc.get_traced_memory()[1]
    circles = gc.collect()
    return Growth(tracemalloc.get_traced_memory()[0] - before, circles, peak - before)


def batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(BATCH, FEATURES)).astype("f4"), rng.normal(size=(BATCH, 1)).astype("f4")


class Mlp:
    """Two layers, by hand."""

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        shapes = ((FEATURES, UNITS), (UNITS,), (UNITS, 1), (1,))
        self.parameters = [Tensor(0.1 * rng.normal(size=s).astype("f4"), requires_grad=True) for s in shapes]
        self.x, self.y = map(Tensor, batch())

    def loss(self) -> Any:
        w, b, v, c = self.parameters
        return mean((relu(self.x @ w + b) @ v + c - self.y) ** 2)

    def step(self) -> None:
        self.loss().backward()
        for p in self.parameters:
            assert p.grad is not None
            p.data -= 0.01 * p.grad.data
            p.grad = None


def test_an_eager_training_loop() -> None:
    found = growth(Mlp().step)
    assert found.left < SLACK
    assert found.circles < STEPS
    assert found.peak < 12 * HIDDEN  # a few values of the hidden layer, and their gradients


def test_an_eager_loop_that_adds_up_its_gradients() -> None:
    mlp = Mlp()
    found = growth(lambda: mlp.loss().backward())
    assert found.left < SLACK
    assert found.circles < STEPS


def test_a_forward_whose_result_nobody_wants() -> None:
    found = growth(Mlp().loss)
    assert found.left < SLACK
    assert found.circles < STEPS


def program(backend: str) -> Any:
    network = cortex.network(
        {
            "inputs": {"x": [FEATURES]},
            "layers": [{"dense": UNITS}, "relu", {"dense": {"units": 1, "id": "out"}}],
            "loss": {"mse": {"of": "out", "target": "y"}},
        }
    )
    return cortex.compile(network, backend, BATCH)


@pytest.mark.parametrize("backend", ["numpy", "auto"])
def test_a_compiled_training_loop(backend: str) -> None:
    compiled, (x, y) = program(backend), batch()
    found = growth(lambda: float(compiled.run({"x": x, "y": y})["loss"]))
    assert found.left < SLACK
    assert found.circles < STEPS
    assert found.peak < HIDDEN  # memory was planned before the first step


def test_the_measure_sees_a_graph_that_is_kept() -> None:
    kept: list[Any] = []
    mlp = Mlp()
    assert growth(lambda: kept.append(mlp.loss())).left > STEPS * HIDDEN


def test_the_measure_sees_a_circle() -> None:
    mlp = Mlp()

    def circle() -> None:
        held: list[Any] = [mlp.loss()]
        held.append(held)

    found = growth(circle)
    assert found.circles >= STEPS
    assert found.peak > STEPS * HIDDEN
