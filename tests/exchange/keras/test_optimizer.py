"""The state of an optimiser goes to the parameters that it is of, in whatever order a file has it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import CheckpointError
from cortex_core.declared import declare
from cortex_core.exchange.build import Builder
from cortex_core.exchange.keras.convert import convert
from cortex_core.exchange.keras.legacy import modern_weights
from cortex_core.exchange.keras.model import Call, File, Layer, Model, Optimizer, Out, Weight
from cortex_core.exchange.keras.optimizer import State, read_state, resume
from cortex_core.network import Network
from cortex_core.registry import OPTIMIZERS
from cortex_core.spec import read

KERNELS = {"dense_2": (3, 4), "dense_10": (4, 2), "dense_1": (2, 2)}


def weight(name: str, array: Any) -> Weight:
    array = np.asarray(array, np.float32)
    return Weight(name, array.shape, "float32", lambda: array)


def model() -> Model:
    """Three dense layers, whose names are in another order than they are; the last is frozen."""
    before = Out("x")
    layers = [Layer("x", "InputLayer", {"batch_shape": [None, 3]}, (Call((), {}),))]
    for name, shape in KERNELS.items():
        config = {"units": shape[1], "use_bias": False, "trainable": name != "dense_1"}
        weights = (weight(f"{name}/kernel:0", np.ones(shape)),)
        layers.append(Layer(name, "Dense", config, (Call((before,), {}),), weights))
        before = Out(name)
    return Model("it", tuple(layers), (Out("x"),), (before,))


def file(version: str, kind: str, config: dict[str, Any], *arrays: Any) -> File:
    weights = tuple(weight(f"v{i}", a) for i, a in enumerate(arrays))
    return File(version, "tensorflow", model(), None, Optimizer(kind, config, weights))


def state_of(made: File, optimizer: Any) -> State | None:
    return read_state(made, convert(made), optimizer)


A, B, C, D = (np.full(KERNELS[n], i + 1.0) for i, n in enumerate(["dense_2", "dense_10"] * 2))


@pytest.mark.parametrize(
    ("version", "arrays"),
    [
        ("2.0.5", [7, B, A, D, C]),  # by name, each moment by itself
        ("2.0.5", [7, A, B, C, D]),  # in the order of the model, where that alone fits
        ("2.4.0", [7, A, B, C, D]),
        ("2.11.0", [7, A, C, B, D]),  # the moments of each weight together
        ("2.15.0", [7, 0.01, A, C, B, D]),
        ("3.3.0", [7, 0.01, A, C, B, D]),
        ("3.3.0", [7, A, B, C, D]),  # as the optimisers of before have it
    ],
)
def test_orders(version: str, arrays: list[Any]) -> None:
    state = state_of(file(version, "Adam", {}, *arrays), OPTIMIZERS["adam"]())
    assert state is not None
    assert state.step == 7
    for moment, (first, second) in {"m": (A, B), "v": (C, D)}.items():
        np.testing.assert_array_equal(state.moments[moment]["dense_2/kernel"], first)
        np.testing.assert_array_equal(state.moments[moment]["dense_10/kernel"], second)


@pytest.mark.parametrize(
    ("version", "arrays"),
    [("3.9.2", [7, 0.01, 0.5, A, C, B, D]), ("3.10.0", [7, 0.01, A, C, B, D, 0.5])],
)
def test_where_the_product_of_nadam_stands(version: str, arrays: list[Any]) -> None:
    state = state_of(file(version, "Nadam", {}, *arrays), OPTIMIZERS["nadam"]())
    assert state is not None
    assert state.step == 7
    np.testing.assert_array_equal(state.moments["m"]["dense_10/kernel"], B)
    np.testing.assert_array_equal(state.moments["v"]["dense_2/kernel"], C)


def test_the_step_of_sgd_is_in_its_velocity() -> None:
    """Keras: v = momentum v - rate g;  p += v.  Here: v = momentum v + g;  p -= rate v."""
    found = file("3.0.0", "SGD", {"learning_rate": 0.5, "momentum": 0.9}, 7, 0.5, A, B)
    state = state_of(found, OPTIMIZERS["sgd"](momentum=0.9))
    assert state is not None
    np.testing.assert_array_equal(state.moments["velocity"]["dense_10/kernel"], -2 * B)


def test_moments_lie_as_the_file_has_their_weights() -> None:
    """A convolution on Theano, whose kernel is turned by 180 degrees."""
    kernel, moment = np.arange(12.0).reshape(2, 2, 1, 3), np.arange(12.0).reshape(2, 2, 1, 3) - 5
    config = {"filters": 3, "kernel_size": [2, 2], "strides": [1, 1], "padding": "valid", "use_bias": False}
    conv = Layer("conv", "Conv2D", config, (Call((Out("x"),), {}),))
    conv = replace(conv, weights=modern_weights(conv, [weight("conv/kernel:0", kernel)], "2.2.4", "theano"))
    x = Layer("x", "InputLayer", {"batch_shape": [None, 4, 4, 1]}, (Call((), {}),))
    whole = Model("it", (x, conv), (Out("x"),), (Out("conv"),))
    state = Optimizer("Adam", {}, (weight("t", 7), weight("m", moment), weight("v", moment**2)))
    found = state_of(File("2.2.4", "theano", whole, None, state), OPTIMIZERS["adam"]())
    assert found is not None
    np.testing.assert_array_equal(found.moments["m"]["conv/kernel"], moment[::-1, ::-1])
    np.testing.assert_array_equal(found.moments["v"]["conv/kernel"], moment[::-1, ::-1] ** 2)


def test_a_rate_of_0_tells_no_velocity() -> None:
    stopped = {"learning_rate": 0.0, "momentum": 0.9}
    with pytest.raises(CheckpointError, match="learning rate is 0"):
        state_of(file("3.0.0", "SGD", stopped, 7, 0.0, A, B), OPTIMIZERS["sgd"](momentum=0.9))
    state = state_of(file("3.3.0", "Adam", stopped, 7, 0.0, A, C, B, D), OPTIMIZERS["adam"]())
    assert state is not None
    np.testing.assert_array_equal(state.moments["v"]["dense_10/kernel"], D)


def test_what_keeps_no_moments_goes_on_without() -> None:
    """Plain descent: Keras of before 2.4 kept moments all the same."""
    for arrays in ((7, 0.5), (7, A, B)):
        state = state_of(file("2.2.4", "SGD", {"lr": 0.5}, *arrays), OPTIMIZERS["sgd"]())
        assert state == State(7, {})


def test_what_stands_before_the_moments() -> None:
    """Moving averages of the weights, and sums of gradients; batches are counted there, steps here."""
    also = {"use_ema": True, "gradient_accumulation_steps": 3}
    found = file("3.3.0", "Adam", also, 21, 0.01, 9 * A, 9 * B, 8 * A, 8 * B, A, C, B, D)
    state = state_of(found, OPTIMIZERS["adam"]())
    assert state is not None
    assert state.step == 7
    np.testing.assert_array_equal(state.moments["m"]["dense_2/kernel"], A)
    np.testing.assert_array_equal(state.moments["v"]["dense_10/kernel"], D)


def test_what_was_not_trained_has_no_moments() -> None:
    state = state_of(file("3.3.0", "Adam", {}, 7, 0.01, A, C, B, D), OPTIMIZERS["adam"]())
    assert state is not None
    assert not state.moments["m"]["dense_1/kernel"].any()


def test_the_layers_are_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many moments there are: only the arrays are turned again."""
    made = file("3.3.0", "Adam", {}, 7, 0.01, A, C, B, D)
    converted = convert(made)
    monkeypatch.setattr(Builder, "_trace", None)
    assert read_state(made, converted, OPTIMIZERS["adam"]()) is not None


def test_two_biases_of_keras_are_one_here() -> None:
    """Both have the same gradient, so the moment of their sum is that of either."""
    kernel, recurrent, bias = np.ones((3, 6)), np.ones((2, 6)), np.ones((2, 6))
    config = {"units": 2, "reset_after": True, "activation": "tanh", "recurrent_activation": "sigmoid"}
    gru = Layer(
        "gru",
        "GRU",
        config,
        (Call((Out("x"),), {}),),
        (weight("k", kernel), weight("r", recurrent), weight("b", bias)),
    )
    source = Layer("x", "InputLayer", {"batch_shape": [None, 4, 3]}, (Call((), {}),))
    moments = [3 * kernel, 4 * recurrent, np.stack([np.full(6, 5.0), [5.0, 5, 5, 5, 6, 6]])]
    weights = tuple(weight("", a) for a in [7, *moments, *moments])
    made = File(
        "2.4.0",
        "",
        Model("it", (source, gru), (Out("x"),), (Out("gru"),)),
        None,
        Optimizer("Adam", {}, weights),
    )
    state = state_of(made, OPTIMIZERS["adam"]())
    assert state is not None
    np.testing.assert_array_equal(state.moments["m"]["gru/bias"], np.full(6, 5.0))
    np.testing.assert_array_equal(state.moments["m"]["gru/recurrent_bias"], [6.0, 6.0])
    assert state.sums == ("gru/bias",)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (file("2.4.0", "Adam", {}, 7, A, B, C), "it has 3 arrays for 2 trained weights"),
        (file("2.4.0", "Adam", {}, 7, A, A, C, C), "which do not fit each other"),
        (file("1.2.0", "Adam", {}, 7, A, B, C, D), "that of Keras 1 is for weights in another form"),
        (file("3.0.0", "Adam", {}), ""),
        (file("3.0.0", "Ftrl", {}, 7, 0.1, A, C, B, D), "that of Ftrl is not known here"),
        (file("3.0.0", "Adam", {}, A, C, B, D), "it lacks the number of the steps"),
        (file("3.0.0", "Adam", {}, float("nan"), 0.1, A, C, B, D), "its number of steps is nan"),
        (file("3.0.0", "Adam", {}, -1, 0.1, A, C, B, D), "its number of steps is -1"),
        (file("3.0.0", "Adam", {}, 7, 0.1, A, C, B, np.inf * D), "numbers that are not finite"),
        (file("3.0.0", "Adam", {}, 7, 0.1, A, C, B, D, A), "which do not fit each other"),
        (file("3.0.0", "Adam", {}, 0, 0.1, A, C, B, D), ""),  # never trained
    ],
)
def test_what_does_not_fit_is_told_and_left_out(made: File, told: str) -> None:
    converted = convert(made)
    description = read(converted.description("it") | {"train": {"optimizer": "adam"}})
    network = Network.blank(description, declare(description))
    said = resume(network, made, converted)
    assert told in said
    assert bool(told) == bool(said)
    assert (network.step, network.goes_on) == (0, "")
