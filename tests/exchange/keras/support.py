"""A model of Keras, saved and imported, must give what Keras gives: every layer at every call.

For tests marked `peers`.  Layers one behind the other, and the shape of the input:

    check_layers([keras.layers.Conv2D(4, 3, strides=2)], (9, 9, 3))

Several inputs, or what a list cannot say; ``call`` makes the outputs out of the inputs:

    check_layers(None, (4, 3), (4, 3), call=lambda a, b: keras.layers.Add()([a, b]))
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from cortex_core.declared import declare
from cortex_core.exchange.keras.build import Value
from cortex_core.exchange.keras.convert import Converted, convert
from cortex_core.network import Network
from cortex_core.probe import activations
from cortex_core.spec import read
from tests.exchange.keras.peer import Results, draw_weights, results, settle

FORMATS = ("h5", "keras")
TOLERANCE = 1e-4
APART = 100
"""How many tolerances apart the outputs for two inputs must be: else that they are right proves nothing."""
LENGTH = 5
"""How long an axis of any length is."""

Arrays = list[np.ndarray]


def check_layers(
    layers: Sequence[Any] | None,
    *shapes: Sequence[int | None],
    call: Callable[..., Any] | None = None,
    tokens: int = 0,
    **how: Any,
) -> None:
    """Checks a model of these layers, or of what ``call`` makes of the inputs.  ``how``: see `check_model`.

    ``shapes`` are those of the inputs, without the batch; with ``tokens`` they hold whole numbers below it.
    """
    import keras

    given = [keras.Input(shape, dtype="int32" if tokens else "float32") for shape in shapes]
    if call is None:
        model = keras.Sequential([given[0], *(layers or ())])
    else:
        model = keras.Model(given, call(*given))
    check_model(model, tokens=tokens, **how)


def check_model(
    model: Any,
    *,
    inputs: Arrays | None = None,
    tokens: int = 0,
    batch: int = 3,
    formats: Sequence[str] = FORMATS,
    tolerance: float = TOLERANCE,
    maps: Any = None,
    seed: int = 0,
) -> None:
    """Asserts that a model, with weights drawn anew, is imported from files of these formats as it is.

    ``inputs`` are drawn where none are given; all examples of a batch must lead to different outputs.
    """
    rng = np.random.default_rng(seed)
    draw_weights(model, rng)
    given = inputs or drawn_inputs(model, batch, tokens, rng)
    settle(model, given if inputs else drawn_inputs(model, 4 * batch, tokens, rng))
    outputs, theirs = results(model, given)
    _assert_apart(outputs, tolerance)
    for name in formats:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"model.{name}"
            model.save(path)
            converted, network = imported(path, maps, model)
        _assert_same(converted, network, given, outputs, theirs, tolerance)


def imported(path: Path, maps: Any = None, model: Any = None) -> tuple[Converted, Network]:
    """What a file becomes: the conversion, which knows what became of each layer, and the network."""
    try:
        reader = import_module("cortex_core.exchange.keras.reader")
    except ModuleNotFoundError:  # until there is one
        file = import_module("tests.exchange.keras.live").file_of(model)
    else:
        file = reader.read(path)
    converted = convert(file, maps)
    description = read(converted.description("imported"))
    network = Network.blank(description, declare(description))
    for name, array in converted.builder.weights.items():
        network.store.write(name, array)
    return converted, network


def drawn_inputs(model: Any, batch: int, tokens: int, rng: np.random.Generator) -> Arrays:
    """Inputs of a model at random."""
    shapes = [[batch, *(size or LENGTH for size in x.shape[1:])] for x in model.inputs]
    if tokens:
        return [rng.integers(0, tokens, shape).astype(np.int32) for shape in shapes]
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def _assert_apart(outputs: Arrays, tolerance: float) -> None:
    for number, found in enumerate(outputs):
        assert np.isfinite(found).all(), f"output {number} of Keras is not finite: draw other weights"
        apart = np.abs(found[0] - found[1]).max() / np.abs(found).max()
        assert apart > APART * tolerance, f"output {number} of Keras hardly depends on the input: {apart:.1e}"


def _assert_same(
    converted: Converted, network: Network, inputs: Arrays, outputs: Arrays, theirs: Results, tolerance: float
) -> None:
    """Every layer, in the order of the description, and the predictions."""
    named = {value.source: array for value, array in zip(converted.inputs, inputs)}
    flat = [value for calls in converted.results.values() for call in calls for value in call]
    ours = activations(network, named, [value.source for value in (*flat, *converted.outputs)])
    assert converted.results.keys() == theirs.keys()
    for path, calls in converted.results.items():
        assert len(calls) == len(theirs[path]), f"{path} is called {len(theirs[path])} times"
        for number, (call, right) in enumerate(zip(calls, theirs[path])):
            assert len(call) == len(right), f"{path} gives {len(right)} values"
            for value, array in zip(call, right):
                _assert_close(f"{path}, call {number}", as_in_keras(value, ours), array, tolerance)
    predicted = network.predict(named)
    for number, (value, array) in enumerate(zip(converted.outputs, outputs)):
        found = predicted[value.source] if isinstance(predicted, dict) else predicted
        _assert_close(f"output {number}", as_in_keras(value, {value.source: found}), array, tolerance)


def as_in_keras(value: Value, arrays: Any) -> np.ndarray:
    """A value with its axes as Keras has them."""
    found: np.ndarray = arrays[value.source]
    return np.moveaxis(found, -1, 1) if value.moved else found


def _assert_close(what: str, ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> None:
    assert ours.shape == theirs.shape, f"{what}: has shape {ours.shape}, in Keras {theirs.shape}"
    scale = max(float(np.abs(theirs).max()), 1e-30) if theirs.size else 1.0
    apart = float(np.abs(np.float64(ours) - np.float64(theirs)).max(initial=0)) / scale
    assert apart <= tolerance, f"{what}: {apart:.1e} apart, of the largest value {scale:.3g}"
