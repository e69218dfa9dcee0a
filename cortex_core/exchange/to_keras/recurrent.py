"""Recurrent layers, and those that walk both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cortex_core.exchange.to_keras.activations import inner
from cortex_core.exchange.to_keras.at import At, Result, exports
from cortex_core.exchange.to_keras.graph import LAYERS, Layer, Tensor
from cortex_core.exchange.to_keras.masks import truths
from cortex_core.exchange.weights import to_keras

CLASSES = {"simple_rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU", "conv_lstm2d": "ConvLSTM2D"}
MERGES = {"concat": "concat", "sum": "sum", "multiply": "mul", "average": "ave"}
ALONE = {"concat": "Concatenate", "sum": "Add", "multiply": "Multiply", "average": "Average"}
INSIDE = "an activation that is a function there; a projection; lengths of a sequence of any length"


@exports(
    *CLASSES,
    to="`SimpleRNN`, `LSTM`, `GRU`, `ConvLSTM2D`; `reverse` with the function `flip` behind it",
    refuses=INSIDE,
)
def recurrent(at: At) -> Result:
    _notes(at, at.layer)
    mask, named = _mask(at, at.layer)
    found = _walked(at, at.layer, mask, at.named.get("initial") or (), at.layer.reverse, "")
    y = found[""]
    return {**found, "": replace(y, mask=named if at.layer.gives != "last" and not at.layer.reverse else "")}


@exports(
    "bidirectional",
    to="`Bidirectional`; two layers and a merge, where a mask leaves the states as they are (`masked: hold`)",
    refuses=INSIDE,
)
def bidirectional(at: At) -> Result:
    """The states of both ways are merged here, and stand one behind the other in Keras."""
    held = at.layer.layer
    outer = At(replace(at.node, layer=held), at.inputs, at.named, at.whole)
    mask, named = _mask(outer, held)
    initial = at.named.get("initial") or ()
    if mask is not None and held.masked == "hold" and held.gives != "last":
        return _apart(outer, at, held, mask, initial)
    ways = {
        f"{way}_layer": Layer(f"{way}_{held.kind}", LAYERS, CLASSES[held.kind], _config(outer, held, reverse))
        for way, reverse in (("forward", False), ("backward", True))
    }
    weights = {f"{way}_layer/cell": _weights(at, held, f"{way}_") for way in ("forward", "backward")}
    y = at.put(
        "Bidirectional",
        at.x,
        weights=weights,
        keywords={"mask": mask, "initial_state": [*initial] or None},
        layer=ways["forward_layer"],
        backward_layer=ways["backward_layer"],
        merge_mode=MERGES[at.layer.merge],
    )
    y = replace(y, mask=named if held.gives != "last" else "")
    if held.gives != "both":
        return y
    names, shapes = held.outputs, [at.whole.shapes[f"{at.node.id}.{name}"] for name in held.outputs]
    each = [_half(shape, at.layer.merge) for shape in shapes]
    states = [replace(y, shape=shape, index=i, mask="") for i, shape in enumerate((*each, *each), 1)]
    pairs = zip(names, shapes, states, states[len(names) :])
    return {"": y, **{name: _merged(at, [a, b], name, shape) for name, shape, a, b in pairs}}


def _apart(outer: At, at: At, held: Any, mask: Tensor, initial: Sequence[Tensor]) -> Result:
    """Two layers, each with its half of the weights and of the first states."""
    half = len(initial) // 2
    halves = initial[:half], initial[half:]
    ways = (("forward", False), ("backward", True))
    found = [_walked(outer, held, mask, states, reverse, way) for (way, reverse), states in zip(ways, halves)]
    one, other = found
    return {
        name: _merged(
            at, [one[name], other[name]], name, at.whole.shapes[at.node.id + (f".{name}" if name else "")]
        )
        for name in one
    }


def _merged(at: At, both: Sequence[Tensor], part: str, shape: Any) -> Tensor:
    kind = ALONE[at.layer.merge]
    plain = [at.whole.graph.unmasked(x) if x.mask else x for x in both]
    config: dict[str, Any] = {"axis": -1} if kind == "Concatenate" else {}
    return at.put(kind, plain, part=part, shape=shape, **config)


def _half(shape: tuple[int | None, ...], merge: str) -> tuple[int | None, ...]:
    *outer, last = shape
    return (*outer, last // 2 if merge == "concat" and last is not None else last)


# One way


def _walked(
    at: At, layer: Any, mask: Tensor | None, initial: Sequence[Tensor], reverse: bool, way: str
) -> Mapping[str, Tensor]:
    """What a walk gives, by name; a sequence stands in the order of its steps, as Keras's does not."""
    names = [name for name in layer.outputs if layer.gives == "both"]
    shapes = [at.whole.shapes[f"{at.node.id}.{name}"] for name in names]
    shape = at.shape
    if way:
        shape, *shapes = (_half(s, _merge_of(at)) for s in (shape, *shapes))
    y = at.put(
        CLASSES[layer.kind],
        at.x,
        part=way,
        weights={"cell": _weights(at, layer, f"{way}_" if way else "")},
        keywords={"mask": mask, "initial_state": [*initial] or None},
        shape=shape,
        **_config(at, layer, reverse),
    )
    states = {name: replace(y, shape=s, index=i) for i, (name, s) in enumerate(zip(names, shapes), 1)}
    if reverse and layer.gives != "last":
        y = at.op("Flip", y, part=f"{way}_turned".lstrip("_"), shape=shape, axis=1)
    return {"": y, **states}


def _merge_of(at: At) -> str:
    return str(at.whole.nodes[at.node.id].layer.merge)


def _config(at: At, layer: Any, reverse: bool) -> dict[str, Any]:
    if getattr(layer, "projection", None):
        at.fail("Keras's LSTM has no projection; train it with as many units, and a dense layer behind it")
    inside = At(replace(at.node, layer=layer), at.inputs, at.named, at.whole)
    config: dict[str, Any] = {"use_bias": layer.use_bias, "activation": inner(inside, "activation")}
    if layer.kind != "simple_rnn":
        config["recurrent_activation"] = inner(inside, "recurrent_activation")
    if layer.kind == "gru":
        config["reset_after"] = layer.reset_after
    if layer.kind == "conv_lstm2d":
        sizes = {"kernel_size": [*layer.kernel], "strides": [*layer.stride], "padding": layer.padding}
        config |= {"filters": layer.filters, "data_format": "channels_last", **sizes}
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


def _notes(at: At, layer: Any) -> None:
    if layer.stateful:
        at.note("it is stateful; in Keras training begins anew with each batch, as prediction does here")
    if layer.truncate:
        at.note(f"in Keras gradients flow back over all steps, not over {layer.truncate}")
