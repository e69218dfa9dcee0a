"""Programs in several threads of one process, on the backend that `auto` takes (oneDNN, where it is)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import BackendError
from cortex_core.compiled import Compiled, compile
from cortex_core.network import network

STEPS = 20


def description(filters: int) -> dict[str, Any]:
    layers = [
        {"conv2d": {"filters": filters, "kernel": 3, "padding": "same"}},
        "batch_norm",
        "relu",
        {"max_pool2d": 2},
        "flatten",
        {"dense": {"units": 32, "activation": "tanh"}},
        {"dense": {"units": 5, "id": "kind"}},
    ]
    return {
        "cortex": 1,
        "name": f"net{filters}",
        "inputs": {"x": [12, 12, 3]},
        "layers": layers,
        "loss": {"softmax_cross_entropy": {"of": "kind", "target": "t"}},
        "train": {"optimizer": "adam"},
    }


def batch(size: int = 32) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(size)
    return {"x": rng.random((size, 12, 12, 3), np.float32), "t": rng.integers(0, 5, size)}


def together(*works: Callable[[], Any]) -> list[Any]:
    """The results of functions that start at the same moment, each in a thread."""
    start, results = threading.Barrier(len(works)), [None] * len(works)

    def run(i: int) -> None:
        start.wait()
        results[i] = works[i]()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def trained(filters: int, size: int) -> bytes:
    compiled = compile(description(filters), seed=filters)
    for _ in range(STEPS):
        compiled.run(batch(size))
    return b"".join(a.tobytes() for a in compiled.network.parameters.values())


def test_two_programs_in_two_threads_do_not_disturb_each_other() -> None:
    alone = trained(16, 32), trained(24, 16)
    assert tuple(together(lambda: trained(16, 32), lambda: trained(24, 16))) == alone


def test_equal_programs_share_kernels_but_no_memory() -> None:
    alone = trained(16, 32)
    assert together(*[lambda: trained(16, 32)] * 3) == [alone] * 3


def test_forks_of_one_program_predict_side_by_side() -> None:
    compiled: Compiled = compile(description(16), purpose="predict", seed=1)
    inputs = [{"x": batch(8)["x"] + i} for i in range(3)]
    alone = [compiled.run(x)["kind"].numpy().tobytes() for x in inputs]
    program = compiled.entry(compiled.types(8)).program
    forks = [program.fork() for _ in inputs]

    def predict(i: int) -> set[bytes]:
        return {forks[i].run(inputs[i])["kind"].numpy().tobytes() for _ in range(STEPS)}

    assert together(*[lambda i=i: predict(i) for i in range(3)]) == [{a} for a in alone]


def test_one_program_used_by_two_threads_is_an_error_and_no_corruption() -> None:
    """The second thread comes while the first one is in the middle of a step."""
    expected = trained(16, 32)
    compiled = compile(description(16), seed=16)
    program = compiled.entry(compiled.types(32)).program
    inside, go = threading.Event(), threading.Event()
    execute = program._execute

    def slowly() -> None:
        inside.set()
        assert go.wait(30)
        execute()

    program._execute = slowly  # type: ignore[method-assign]
    first = threading.Thread(target=lambda: compiled.run(batch()))
    first.start()
    assert inside.wait(30)
    with pytest.raises(BackendError, match="running in another thread"):
        compiled.run({"x": batch()["x"] * 0, "t": batch()["t"]}, learning_rate=1.0)
    go.set()
    first.join()
    program._execute = execute  # type: ignore[method-assign]
    for _ in range(STEPS - 1):
        compiled.run(batch())
    assert b"".join(a.tobytes() for a in compiled.network.parameters.values()) == expected


def test_predictions_of_one_network_wait_for_each_other() -> None:
    made, x = network(description(8)), batch()["x"]
    expected = made.predict(x)
    for found in together(*[lambda: [made.predict(x) for _ in range(20)]] * 4):
        for y in found:
            np.testing.assert_array_equal(y, expected)


def test_a_fork_of_a_prediction_runs_beside_it() -> None:
    x = batch()["x"]
    first = compile(description(8), batch_size=len(x), purpose="predict")
    expected = first.run({"x": x})["kind"].numpy()
    works = [lambda f=f: [f.run({"x": x})["kind"].numpy() for _ in range(50)] for f in (first, first.fork())]
    for found in together(*works):
        for y in found:
            np.testing.assert_array_equal(y, expected)
    with pytest.raises(BackendError, match="to train changes states"):
        compile(description(8)).fork()
