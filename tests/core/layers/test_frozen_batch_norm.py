"""A batch_norm that is ``trainable: false`` works in training as in prediction, and keeps all of its bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortex
from cortex_core.layers.scope import Scope
from cortex_core.registry import LAYERS as LAYERS_BY_NAME
from cortex_core.tensor import Tensor
from tests.core.keras_in_float64 import keras_in_float64

RNG = np.random.default_rng(3)
LAYERS: list[Any] = [
    {"dense": {"units": 3, "id": "first"}},
    {"batch_norm": {"id": "norm", "trainable": False}},
    {"dense": {"units": 2, "id": "y"}},
]


def net(layers: list[Any], **train: Any) -> Any:
    """A network whose norm has seen data: its statistics and vectors are none of the initial ones."""
    optimizer = {"sgd": {"learning_rate": 1.0}}
    network = cortex.network(
        {
            "inputs": {"x": [4]},
            "layers": layers,
            "loss": {"mse": {"of": "y", "target": "wanted"}},
            "train": {"optimizer": optimizer, **train},
        }
    )
    numbers = np.random.default_rng(5)
    for name in ("scale", "shift"):
        network.parameters[f"norm/{name}"] = numbers.normal(1, 0.2, 3).astype(np.float32)
    network.variables["norm/moving_mean"] = numbers.normal(size=3).astype(np.float32)
    network.variables["norm/moving_variance"] = numbers.uniform(0.5, 2, 3).astype(np.float32)
    return network


def kept(network: Any) -> dict[str, bytes]:
    found = {**network.parameters, **network.variables}
    return {name: x.tobytes() for name, x in found.items() if name.startswith("norm/")}


X = RNG.normal(size=(5, 4)).astype(np.float32)
WANTED = RNG.normal(size=(5, 2)).astype(np.float32)


def stepped(network: Any) -> dict[str, np.ndarray]:
    """The gradients of one step, from what it changed with a learning rate of 1."""
    before = {name: np.array(x) for name, x in network.parameters.items()}
    cortex.compile(network, backend="numpy", batch_size=5).run({"x": X, "wanted": WANTED})
    return {name: before[name] - x for name, x in network.parameters.items()}


@pytest.mark.parametrize("inside", [False, True])
def test_it_keeps_its_bits(inside: bool) -> None:
    layers = (
        LAYERS
        if not inside
        else [
            LAYERS[0],
            {"reshape": [1, 3]},
            {"time_distributed": {"layer": "batch_norm", "id": "norm", "trainable": False}},
            "flatten",
            LAYERS[2],
        ]
    )
    network = net(layers)
    before = kept(network)
    assert len(before) == 4
    changes = stepped(network)
    assert kept(network) == before
    assert changes["first/kernel"].any()


def test_who_shares_it_is_frozen_with_it() -> None:
    again = {"batch_norm": {"id": "again", "share": "norm"}}
    network = net([*LAYERS[:2], "relu", again, LAYERS[2]])
    before = kept(network)
    stepped(network)
    assert kept(network) == before


def test_training_without_it_would_move_it() -> None:
    trained = [LAYERS[0], {"batch_norm": {"id": "norm"}}, LAYERS[2]]
    network = net(trained)
    before = kept(network)
    stepped(network)
    assert all(x != before[name] for name, x in kept(network).items())


@pytest.mark.parametrize("mode", ["spatial", "elementwise"])
def test_its_gradient_is_that_of_a_prediction(mode: str) -> None:
    """Central differences in float64 of the mean squared error with fixed statistics."""
    layers = [LAYERS[0], {"batch_norm": {"id": "norm", "trainable": False, "mode": mode}}, LAYERS[2]]
    network = net(layers)
    p = {n: np.asarray(x, np.float64) for n, x in {**network.parameters, **network.variables}.items()}

    def loss(kernel: np.ndarray) -> float:
        h = X.astype(np.float64) @ kernel + p["first/bias"]
        h = (h - p["norm/moving_mean"]) / np.sqrt(p["norm/moving_variance"] + 1e-5)
        y = (h * p["norm/scale"] + p["norm/shift"]) @ p["y/kernel"] + p["y/bias"]
        return float(np.mean((y - WANTED) ** 2))

    wanted = np.zeros((4, 3))
    for place in np.ndindex(4, 3):
        step = np.zeros((4, 3))
        step[place] = 1e-6
        wanted[place] = (loss(p["first/kernel"] + step) - loss(p["first/kernel"] - step)) / 2e-6
    np.testing.assert_allclose(stepped(network)["first/kernel"], wanted, rtol=1e-4, atol=1e-5)


def test_sixteen_bits_are_normalised_in_more() -> None:
    """x is float16, the statistics float32, as where a network trains in 16 bits."""
    names = ("scale", "shift", "moving_mean", "moving_variance")
    values = {name: RNG.uniform(0.5, 2, 3).astype(np.float32) for name in names}
    x = RNG.normal(size=(6, 3)).astype(np.float16)
    scope = Scope({name: Tensor(v) for name, v in values.items()}, True, "it", frozen=True)
    y = LAYERS_BY_NAME["batch_norm"]().forward(scope, Tensor(x))
    assert y.dtype.name == "float16"
    scale, shift, mean, variance = (values[name].astype(np.float64) for name in names)
    exact = (x.astype(np.float64) - mean) / np.sqrt(variance + 1e-5) * scale + shift
    np.testing.assert_allclose(np.asarray(y, np.float64), exact, rtol=2**-11, atol=1e-6)


def numbers_of(layer: Any) -> list[np.ndarray]:
    """The weights of a layer of Keras on JAX (whose ``get_weights`` warns beside NumPy 2)."""
    return [np.asarray(variable.value) for variable in layer.weights]


@pytest.mark.peers
def test_a_training_step_is_kerass() -> None:
    """Keras's BatchNormalization with ``trainable = False``, in a step of the same SGD."""
    keras = keras_in_float64()
    network = net(LAYERS)
    p = {n: np.array(x) for n, x in {**network.parameters, **network.variables}.items()}
    peer = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3),
            keras.layers.BatchNormalization(epsilon=1e-5, trainable=False),
            keras.layers.Dense(2),
        ]
    )
    first, norm, last = peer.layers
    first.set_weights([p["first/kernel"], p["first/bias"]])
    norm.set_weights([p[f"norm/{name}"] for name in ("scale", "shift", "moving_mean", "moving_variance")])
    last.set_weights([p["y/kernel"], p["y/bias"]])
    peer.compile(optimizer=keras.optimizers.SGD(1.0), loss="mse")
    peer.train_on_batch(X, WANTED)
    found = stepped(network)
    for layer, id_ in ((first, "first"), (last, "y")):
        for after, name in zip(numbers_of(layer), ("kernel", "bias")):
            np.testing.assert_allclose(
                p[f"{id_}/{name}"] - after, found[f"{id_}/{name}"], rtol=1e-4, atol=1e-5
            )
    for after, name in zip(numbers_of(norm), ("scale", "shift", "moving_mean", "moving_variance")):
        np.testing.assert_array_equal(after, p[f"norm/{name}"])
