"""A model of Keras, saved and imported, must give what Keras gives: every layer at every call.

For tests marked `peers`.  Layers one behind the other, and the shape of the input:

    check_layers([keras.layers.Conv2D(4, 3, strides=2)], (9, 9, 3))

Several inputs, or what a list cannot say; ``call`` makes the outputs out of the inputs:

    check_layers(None, (4, 3), (4, 3), call=lambda a, b: keras.layers.Add()([a, b]))
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cortex_core.exchange.keras.imported import Imported, load
from cortex_core.exchange.keras.value import Value
from cortex_core.probe import activations
from tests.exchange.keras.peer import Results, draw_weights, results

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
    scale: float = 1.0,
    batch: int = 3,
    formats: Sequence[str] = FORMATS,
    tolerance: float = TOLERANCE,
    maps: Any = None,
    seed: int = 0,
) -> None:
    """Asserts that a model, with weights drawn anew, is imported from files of these formats as it is.

    ``inputs`` are drawn where none are given, as large as ``scale``; the outputs for two of the examples must
    differ.
    """
    rng = np.random.default_rng(seed)
    draw_weights(model, rng)
    given = inputs or drawn_inputs(model, batch, tokens, scale, rng)
    outputs, theirs = results(model, given, settled=True)
    _assert_apart(outputs, tolerance)
    for name in formats:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"model.{name}"
            model.save(path)
            found = load(path, maps=maps)
        _assert_same(found, given, outputs, theirs, tolerance)


def drawn_inputs(model: Any, batch: int, tokens: int, scale: float, rng: np.random.Generator) -> Arrays:
    """Inputs of a model at random."""
    shapes = [[batch, *(size or LENGTH for size in x.shape[1:])] for x in model.inputs]
    if tokens:
        return [rng.integers(0, tokens, shape).astype(np.int32) for shape in shapes]
    return [(scale * rng.normal(size=shape)).astype(np.float32) for shape in shapes]


def _assert_apart(outputs: Arrays, tolerance: float) -> None:
    for number, found in enumerate(outputs):
        assert np.isfinite(found).all(), f"output {number} of Keras is not finite: draw other weights"
        apart = np.abs(found[1:] - found[0]).max() / max(np.abs(found).max(), 1e-30)
        assert apart > APART * tolerance, f"output {number} of Keras hardly depends on the input: {apart:.1e}"


def _assert_same(found: Imported, inputs: Arrays, outputs: Arrays, theirs: Results, tolerance: float) -> None:
    """Every value of every call of a layer, in the order of the description, and the predictions."""
    converted: Any = found.converted
    named = {value.source: array for value, array in zip(converted.inputs, inputs)}
    sources = [part.value.source for part in found.parts]
    ours = activations(found.network, named, [*sources, *(x.source for x in converted.outputs)])
    assert {part.key for part in found.parts} == {key for key in theirs if key[0] not in found.unused}
    for part in found.parts:
        what = f"{part.path} ({part.kind}), call {part.call}, value {part.index}"
        _assert_close(what, part.value, ours, theirs[part.key], tolerance)
    predicted = found.network.predict(named)
    for number, (value, array) in enumerate(zip(converted.outputs, outputs, strict=True)):
        ours = predicted if isinstance(predicted, dict) else {value.source: predicted}
        _assert_close(f"output {number}", value, ours, array, tolerance)


def _assert_close(what: str, value: Value, arrays: Any, theirs: np.ndarray, tolerance: float) -> None:
    ours = arrays[value.source]
    ours = np.moveaxis(ours, -1, 1) if value.moved else ours
    assert ours.shape == theirs.shape, f"{what}: has shape {ours.shape}, in Keras {theirs.shape}"
    scale = max(float(np.abs(theirs).max()), 1e-30) if theirs.size else 1.0
    apart = float(np.abs(np.float64(ours) - np.float64(theirs)).max(initial=0)) / scale
    assert apart <= tolerance, f"{what}: {apart:.1e} apart, of the largest value {scale:.3g}"
