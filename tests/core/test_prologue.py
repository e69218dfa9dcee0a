"""What depends on the weights alone is computed once for each version of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.backends import get
from cortex_core.compiled import Compiled, compile
from cortex_core.network import network

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
DESCRIPTION: dict[str, Any] = {
    "cortex": 1,
    "name": "normed",
    "inputs": {"x": [3]},
    "layers": [{"dense": {"units": 5}}, "batch_norm", {"dense": {"units": 2, "id": "y"}}],
    "loss": {"mse": {"of": "y", "target": "t"}},
    "train": {"optimizer": {"sgd": {"learning_rate": 0.1}}},
}


def by_hand(network: Any) -> np.ndarray:
    """The prediction in float64."""
    p, v = network.parameters, network.variables
    h = X.astype(np.float64) @ p["dense/kernel"] + p["dense/bias"]
    h = (h - v["batch_norm/moving_mean"]) / np.sqrt(v["batch_norm/moving_variance"] + 1e-5)
    h = h * p["batch_norm/scale"] + p["batch_norm/shift"]
    return np.asarray(h @ p["y/kernel"] + p["y/bias"])


def test_a_prediction_computes_it_again_after_each_change() -> None:
    predict = compile(DESCRIPTION, "numpy", batch_size=4, purpose="predict", seed=1)
    network = predict.network
    program = predict.entry(predict.types(4)).program
    assert 0 < program.plan.prologue < len(program.plan.instructions)
    assert program.plan.kept > 0

    def agrees() -> None:
        for _ in range(2):
            np.testing.assert_allclose(predict.run({"x": X})["y"], by_hand(network), rtol=1e-4, atol=1e-5)

    agrees()
    network.variables["batch_norm/moving_variance"] = np.array([4, 1, 9, 16, 0.25], np.float32)
    agrees()
    train = compile(network, "numpy", batch_size=4)
    train.run({"x": X, "t": np.ones((4, 2), np.float32)})
    agrees()


def test_between_changes_it_does_not_run() -> None:
    predict = compile(DESCRIPTION, "numpy", batch_size=4, purpose="predict", seed=1)
    program = predict.entry(predict.types(4)).program
    predict.run({"x": X})
    ran: list[int] = []
    calls = program._calls
    program._calls = [lambda s, i=i, call=call: (ran.append(i), call(s)) for i, call in enumerate(calls)]
    predict.run({"x": X})
    assert ran == list(range(program.plan.prologue, len(calls)))


def test_a_frozen_part_is_not_computed_again_while_the_rest_trains() -> None:
    """Here: the penalty on its weights."""
    frozen = {"dense": {"units": 5, "trainable": False, "penalty": {"l2": 1.0}}}
    layers = [frozen, {"dense": {"units": 2, "id": "y"}}]
    train = compile({**DESCRIPTION, "layers": layers}, "numpy", batch_size=4)
    program = train.entry(train.types(4)).program
    assert program.plan.prologue
    batch = {"x": X, "t": np.ones((4, 2), np.float32)}
    train.run(batch)
    ran: list[int] = []
    calls = program._calls
    program._calls = [lambda s, i=i, call=call: (ran.append(i), call(s)) for i, call in enumerate(calls)]
    before = float(train.run(batch)["loss"])
    assert min(ran) == program.plan.prologue
    train.network.parameters["dense/kernel"] = 2 * train.network.parameters["dense/kernel"]
    assert float(train.run(batch)["loss"]) != before
    assert 0 in ran


def test_the_numbers_of_a_network_are_only_to_be_read() -> None:
    network = compile(DESCRIPTION, "numpy").network
    assert not network.parameters["y/bias"].flags.writeable
    network.parameters["y/bias"] = np.array([1, 2], np.float32)
    np.testing.assert_array_equal(network.parameters["y/bias"], [1, 2])


def both() -> tuple[Any, Any, dict[str, np.ndarray]]:
    """A prediction and a training of one network, and a batch."""
    predict = compile(DESCRIPTION, "numpy", batch_size=4, purpose="predict", seed=1)
    predict.run({"x": X})
    train = compile(predict.network, "numpy", batch_size=4)
    return predict, train, {"x": X, "t": np.ones((4, 2), np.float32)}


def test_a_step_that_is_interrupted_after_its_update_counts_as_a_change() -> None:
    predict, train, batch = both()
    program = train.entry(train.types(4)).program
    train.run(batch)

    def interrupt(stream: Any) -> None:
        raise KeyboardInterrupt

    predict.run({"x": X})
    program._calls[-1] = interrupt
    with pytest.raises(KeyboardInterrupt):
        train.run(batch)
    np.testing.assert_allclose(predict.run({"x": X})["y"], by_hand(predict.network), rtol=1e-4, atol=1e-5)


def test_so_does_a_profile() -> None:
    predict, train, batch = both()
    train.run(batch)
    predict.run({"x": X})
    train.entry(train.types(4)).program.profile(2)
    np.testing.assert_allclose(predict.run({"x": X})["y"], by_hand(predict.network), rtol=1e-4, atol=1e-5)


def test_a_prologue_that_failed_on_a_worker_is_run_again() -> None:
    made = network(DESCRIPTION, seed=1)
    predict = Compiled(made, get("numpy"), "predict", worker=True)
    program = predict.entry(predict.types(4)).program
    predict.run({"x": X})["y"].numpy()
    first = program._calls[0]

    def fail() -> None:
        raise MemoryError("too little")

    program._calls[0] = lambda stream: stream.launch(fail)
    made.parameters["dense/kernel"] = made.parameters["dense/kernel"] * 2
    with pytest.raises(MemoryError):
        predict.run({"x": X})["y"].numpy()
    program._calls[0] = first
    with pytest.raises(MemoryError):  # what the arena holds is unknown: the next run is told
        predict.run({"x": X})["y"].numpy()
    np.testing.assert_allclose(predict.run({"x": X})["y"], by_hand(made), rtol=1e-4, atol=1e-5)
