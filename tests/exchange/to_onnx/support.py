"""A network written as ONNX must give in onnxruntime what it gives here: every output, at two batch sizes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from cortex_core.exchange.to_onnx.exported import to_onnx
from cortex_core.given import lookups
from cortex_core.network import Network
from cortex_core.probe import recorded

TOLERANCE = 1e-5
BATCHES = (2, 5)
LENGTH = 9
"""How long an axis of any length is."""
APART = 100
"""How many tolerances apart the outputs for two inputs must be: else that they are right proves nothing."""

Arrays = dict[str, np.ndarray]


def inputs_of(network: Network, batch: int, rng: np.random.Generator, length: int = LENGTH) -> Arrays:
    """Normal numbers, or tokens that the network knows."""
    tokens = {found.stream: found.tokens for found in lookups(network.description)}
    given = {}
    for x in network.description.inputs:
        shape = (batch, *(length if n is None else n for n in x.shape))
        if np.dtype(x.dtype).kind == "f":
            given[x.name] = rng.normal(size=shape).astype(x.dtype)
        else:
            given[x.name] = rng.integers(0, tokens.get(x.name, 2), shape).astype(x.dtype)
    return given


def draw(network: Network, rng: np.random.Generator, inputs: Arrays) -> None:
    """Biases and scales at random, and running statistics of what comes to the layers, as after training.

    As in the tests of Keras scales are below 1, and variances a little larger: what many layers one behind
    the other leave of rounding does not grow, also where a channel hardly varies.
    """
    for name, array in network.parameters.items():
        if array.ndim == 1:
            found = 0.5 + 0.1 * rng.normal(size=array.shape) if name.endswith("/scale") else array
            added = 0.0 if name.endswith("/scale") else 0.1 * rng.normal(size=array.shape)
            network.parameters[name] = np.float32(found + added)
    kept, rates = _updated(network, inputs, 0.0), _updated(network, inputs, 1.0)
    for name, array in kept.items():
        statistic = array / (1 - (rates[name] - array).mean())
        shift = 0.1 * statistic.mean() if name.endswith("variance") else 0.1 * rng.normal(size=array.shape)
        network.variables[name] = np.float32(statistic + shift)


def _updated(network: Network, inputs: Arrays, before: float) -> Arrays:
    """What running statistics that are all ``before`` become in a step."""
    for name, array in network.variables.items():
        network.variables[name] = np.full(array.shape, before, np.float32)
    updates = recorded(network, inputs, training=True).traced.updates if network.variables else {}
    return {name: updates[name].numpy().astype(np.float64) for name in network.variables if name in updates}


def session(model: Any) -> Any:
    """What runs a model."""
    import onnx
    import onnxruntime

    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def ran(network: Network, inputs: Mapping[str, np.ndarray], raw: bool = False) -> Arrays:
    """The outputs of the exported network, by name."""
    names = list(network.description.outputs)
    return dict(zip(names, session(to_onnx(network, raw=raw)).run(names, dict(inputs))))


def predicted(network: Network, inputs: Mapping[str, np.ndarray], raw: bool = False) -> Arrays:
    """The outputs here, by name."""
    found = network.predict(inputs, raw=raw)
    return found if isinstance(found, dict) else {network.description.outputs[0]: found}


def check(network: Network, inputs: Arrays) -> None:
    """Asserts that outputs are within the tolerance of ours, relative to the largest, and depend on inputs.

    Where they are not, the first layer that departs is named.
    """
    running, names = session(to_onnx(network)), list(network.description.outputs)
    for batch in BATCHES:
        given = {name: array[:batch] for name, array in inputs.items()}
        theirs, ours = dict(zip(names, running.run(names, given))), predicted(network, given)
        for name in names:
            assert theirs[name].shape == ours[name].shape, name
            assert np.isfinite(ours[name]).all(), f"{name} is not finite: draw other weights"
            apart = difference(ours[name], theirs[name])
            assert apart <= TOLERANCE, f"{name}: {apart:.1e} apart; {first_departure(network, given)}"
            spread = difference(ours[name][1:], np.broadcast_to(ours[name][0], ours[name][1:].shape))
            assert spread > APART * TOLERANCE, f"{name} hardly depends on the input: {spread:.1e}"


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference over the largest of ours."""
    scale = max(float(np.abs(np.float64(ours)).max(initial=0)), 1e-30)
    return float(np.abs(np.float64(ours) - np.float64(theirs)).max(initial=0)) / scale


def first_departure(network: Network, inputs: Arrays) -> str:
    """Which layer is the first that gives something else in onnxruntime."""
    opened = copy.copy(network)
    names = tuple(node.id for node in network.description.layers)
    opened.description, opened._programs = replace(network.description, outputs=names), {}
    theirs, ours = ran(opened, inputs, raw=True), predicted(opened, inputs, raw=True)
    for name in names:
        if ours[name].shape != theirs[name].shape or not difference(ours[name], theirs[name]) <= TOLERANCE:
            return f"the first layer that departs is {name}, {difference(ours[name], theirs[name]):.1e} apart"
    return "no layer alone departs"
