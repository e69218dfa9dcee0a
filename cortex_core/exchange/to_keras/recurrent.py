"""Recurrent layers, and those that walk both ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cortex_core.exchange.to_keras.activations import inner
from cortex_core.exchange.to_keras.at import At, Result, Shape, exports
from cortex_core.exchange.to_keras.graph import LAYERS, Layer, Tensor
from cortex_core.exchange.to_keras.masks import truths
from cortex_core.exchange.weights import to_keras

CLASSES = {"simple_rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU", "conv_lstm2d": "ConvLSTM2D"}
WAYS = {"forward": False, "backward": True}
MERGES = {"concat": "concat", "sum": "sum", "multiply": "mul", "average": "ave"}
ALONE = {"concat": "Concatenate", "sum": "Add", "multiply": "Multiply", "average": "Average"}
INSIDE = "an activation that is a function there; a projection; lengths of a sequence of any length"


@exports(
    *CLASSES,
    to="`SimpleRNN`, `LSTM`, `GRU`, `ConvLSTM2D`; `reverse` with the function `flip` behind it",
    refuses=INSIDE,
)
def recurrent(at: At) -> Result:
    layer = at.layer
    mask, named = _mask(at, layer)
    found = _walked(at, layer, mask, at.named.get("initial") or (), layer.reverse)
    masks = named if layer.gives != "last" and not layer.reverse else ""
    return {**found, "": replace(found[""], mask=masks)}


@exports(
    "bidirectional",
    to="`Bidirectional`; two layers and a merge, where a mask leaves the states as they are (`masked: hold`)",
    refuses=INSIDE,
)
def bidirectional(at: At) -> Result:
    """The states of both ways are merged here, and stand one behind the other in Keras."""
    held = at.layer.layer
    mask, named = _mask(at, held)
    initial = at.named.get("initial") or ()
    if mask is not None and held.masked == "hold" and held.gives != "last":
        half = len(initial) // 2
        forward = _walked(at, held, mask, initial[:half], False, "forward")
        backward = _walked(at, held, mask, initial[half:], True, "backward")
        return {name: _merged(at, name, forward[name], backward[name]) for name in forward}
    one, other = (
        Layer(f"{way}_{held.kind}", LAYERS, CLASSES[held.kind], _config(at, held, reverse))
        for way, reverse in WAYS.items()
    )
    y = at.put(
        "Bidirectional",
        at.x,
        weights={f"{way}_layer/cell": _weights(at, held, f"{way}_") for way in WAYS},
        keywords={"mask": mask, "initial_state": [*initial] or None},
        merge_mode=MERGES[at.layer.merge],
        layer=one,
        backward_layer=other,
    )
    names = [*held.outputs] if held.gives == "both" else []
    shapes = [_half(at, at.shape_of(name)) for name in names]
    states = [replace(y, shape=shape, index=i) for i, shape in enumerate(shapes * 2, 1)]
    pairs = zip(names, states, states[len(names) :])
    merged = {name: _merged(at, name, a, b) for name, a, b in pairs}
    return {"": replace(y, mask=named if held.gives != "last" else ""), **merged}


def _merged(at: At, name: str, *both: Tensor) -> Tensor:
    """What both ways give, as one; ``name`` is that of a state, or empty."""
    kind = ALONE[at.layer.merge]
    config: dict[str, Any] = {"axis": -1} if kind == "Concatenate" else {}
    return at.put(kind, [*both], part=name, shape=at.shape_of(name), **config)


def _half(at: At, shape: Shape) -> Shape:
    """The shape of what one way gives."""
    *outer, last = shape
    return (*outer, last // 2 if at.layer.merge == "concat" and last is not None else last)


def _walked(
    at: At, layer: Any, mask: Tensor | None, initial: Sequence[Tensor], reverse: bool, way: str = ""
) -> dict[str, Tensor]:
    """What one walk gives, by name; a sequence stands in the order of its steps, as Keras's does not."""
    names = ["", *(name for name in layer.outputs if layer.gives == "both")]
    shapes = [_half(at, at.shape_of(name)) if way else at.shape_of(name) for name in names]
    config = _config(at, layer, reverse)
    y = at.put(
        CLASSES[layer.kind],
        at.x,
        part=way,
        weights={"cell": _weights(at, layer, f"{way}_" if way else "")},
        keywords={"mask": mask, "initial_state": [*initial] or None},
        shape=shapes[0],
        **config,
    )
    found = {name: replace(y, shape=shape, index=i) for i, (name, shape) in enumerate(zip(names, shapes))}
    if layer.gives == "last":
        return found
    if reverse:
        found[""] = at.op("Flip", y, part=f"{way}_turned".lstrip("_"), shape=y.shape, axis=1)
    elif way and mask is not None:
        found[""] = at.whole.graph.unmasked(replace(y, mask="its own"))
    return found


def _config(at: At, layer: Any, reverse: bool) -> dict[str, Any]:
    if layer.stateful:
        at.note("it is stateful; in Keras training begins anew with each batch, as prediction does here")
    if layer.truncate:
        at.note(f"in Keras gradients flow back over all steps, not over {layer.truncate}")
    if getattr(layer, "projection", None):
        at.fail("Keras's LSTM has no projection; train it with as many units, and a dense layer behind it")
    config: dict[str, Any] = {"use_bias": layer.use_bias, "activation": inner(layer, "activation")}
    if layer.kind != "simple_rnn":
        config["recurrent_activation"] = inner(layer, "recurrent_activation")
    if layer.kind == "gru":
        config["reset_after"] = layer.reset_after
    if layer.kind == "conv_lstm2d":
        sizes = {"kernel_size": [*layer.kernel], "strides": [*layer.stride], "padding": layer.padding}
        config |= {"filters": layer.filters, **sizes}
    else:
        config["units"] = layer.units
    return config | {
        "return_sequences": layer.gives != "last",
        "return_state": layer.gives == "both",
        "go_backwards": reverse,
        "zero_output_for_mask": layer.masked == "zero" and layer.gives != "last",
    }


def _weights(at: At, layer: Any, prefix: str) -> list[np.ndarray]:
    names = ["kernel", "recurrent_kernel"]
    if layer.use_bias:
        names.append("bias")
    if layer.kind == "gru" and layer.use_bias and layer.reset_after:
        names.append("recurrent_bias")
    found = {name: at.array(prefix + name) for name in names}
    return [*found.values()] if layer.kind == "conv_lstm2d" else to_keras(layer.kind, found)


def _mask(at: At, layer: Any) -> tuple[Tensor | None, str]:
    """Which steps count, and what the description calls that."""
    lengths = at.named.get("lengths")
    if lengths is None:
        return truths(at, at.named.get("mask")), str(at.source("mask"))
    if at.x.shape[0] is None:
        at.fail("lengths of a sequence of any length cannot be said in Keras; give it a mask")
    steps = at.x.shape[:1]
    if not lengths.shape:
        lengths = at.put("Reshape", lengths, part="length", shape=(1,), gives=lengths.dtype, target_shape=[1])
    wide = at.op("Tile", lengths, part="lengths", shape=steps, gives=lengths.dtype, repeats=[1, steps[0]])
    places = np.arange(steps[0] or 0).astype(lengths.dtype)
    return at.op("Greater", wide, places, part="steps", shape=steps, gives="bool"), f"{at.node.id}/steps"
