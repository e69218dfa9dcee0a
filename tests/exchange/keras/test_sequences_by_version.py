"""What sequences become, by the version of Keras; what is refused, and what is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import SpecError
from cortex_core.exchange.keras.convert import Converted, convert
from cortex_core.exchange.keras.model import Call, File, Layer, Model, Out, Weight

RNG = np.random.default_rng(2)
TOKENS, STEPS = [None, 6], [None, 6, 3]


def weights(*shapes: tuple[int, ...]) -> tuple[Weight, ...]:
    arrays = [RNG.normal(size=shape).astype(np.float32) for shape in shapes]
    return tuple(Weight(f"w{i}", a.shape, "float32", lambda a=a: a) for i, a in enumerate(arrays))  # type: ignore[misc]


def of_recurrence(features: int, units: int, gates: int, ways: int = 1) -> tuple[Weight, ...]:
    return weights(*[(features, gates * units), (units, gates * units), (gates * units,)] * ways)


def layer(name: str, kind: str, *args: Any, arrays: tuple[Weight, ...] = (), **config: Any) -> Layer:
    given = [Out(x) if isinstance(x, str) else x for x in args]
    return Layer(name, kind, config, (Call((given[0] if len(given) == 1 else given,), {}),), arrays)


def embedding(name: str, source: str, **config: Any) -> Layer:
    told = {"input_dim": 9, "output_dim": 3, "mask_zero": True, **config}
    return layer(name, "Embedding", source, arrays=weights((9, 3)), **told)


def lstm(name: str, source: str, features: int = 3, **config: Any) -> Layer:
    told = {"units": 2, "activation": "tanh", "recurrent_activation": "sigmoid", **config}
    return layer(name, "LSTM", source, arrays=of_recurrence(features, 2, 4), **told)


def converted(*layers: Layer, version: str = "2.3.1", **inputs: Any) -> Converted:
    """The model of these layers, the last of which gives its output."""
    taken = tuple(Layer(name, "InputLayer", {"batch_shape": s}, ()) for name, s in inputs.items())
    model = Model("m", (*taken, *layers), tuple(map(Out, inputs)), (Out(layers[-1].name),))
    return convert(File(version, "tensorflow", model))


def entries(made: Converted, kind: str) -> Iterator[dict[str, Any]]:
    return (entry[kind] for entry in made.builder.layers if kind in entry)


@pytest.mark.parametrize(("version", "kind"), [("1.2.2", "and"), ("2.15.0", "and"), ("3.4.1", "or")])
@pytest.mark.parametrize("merge", ["Add", "Concatenate"])
def test_masks_of_two_values(version: str, kind: str, merge: str) -> None:
    parts = embedding("e", "a"), embedding("f", "b"), layer("m", merge, "e", "f")
    made = converted(*parts, lstm("l", "m", 6 if merge[0] == "C" else 3), version=version, a=TOKENS, b=TOKENS)
    (found,) = entries(made, f"logical_{kind}")
    assert found["from"] == ["e.mask", "f.mask"]
    (walk,) = entries(made, "lstm")
    assert walk["mask"] == found["id"]


@pytest.mark.parametrize("merge", ["Add", "Multiply", "Concatenate", "Attention"])
@pytest.mark.parametrize(("version", "masked"), [("2.15.0", True), ("3.3.3", False)])
def test_lists_of_values_lose_their_masks(version: str, masked: bool, merge: str) -> None:
    """From 3.0 to 3.3 Keras asks the list itself for its mask, which has none."""
    parts = embedding("e", "a"), embedding("f", "b"), layer("m", merge, "e", "f")
    made = converted(*parts, lstm("l", "m", 6 if merge[0] == "C" else 3), version=version, a=TOKENS, b=TOKENS)
    (walk,) = entries(made, "lstm")
    assert ("mask" in walk) == masked


@pytest.mark.parametrize(("version", "masked"), [("2.6.0", False), ("2.10.0", True), ("3.0.5", True)])
def test_attention_of_heads_hands_a_mask_on_since_2_10(version: str, masked: bool) -> None:
    projections = weights((3, 1, 2), (3, 1, 2), (3, 1, 2), (1, 2, 3))
    fields = {"num_heads": 1, "key_dim": 2, "use_bias": False, **OF_BUILT}
    heads = layer("m", "MultiHeadAttention", "e", arrays=projections, **fields)
    heads = replace(heads, calls=(Call((Out("e"), Out("e")), {}),))
    made = converted(embedding("e", "a"), heads, lstm("l", "m"), version=version, a=TOKENS)
    (walk,) = entries(made, "lstm")
    assert ("mask" in walk) == masked


OF_BUILT = {f"{part}_shape": [None, 6, 3] for part in ("query", "key", "value")}
"""What tf.keras writes into the configuration of an attention that it has built."""


@pytest.mark.parametrize(("version", "mask"), [("2.15.0", "e.mask"), ("3.4.1", None)])
def test_a_mask_of_one_of_two_values(version: str, mask: str | None) -> None:
    parts = embedding("e", "a"), embedding("f", "b", mask_zero=False), layer("m", "Add", "e", "f")
    made = converted(*parts, lstm("l", "m"), version=version, a=TOKENS, b=TOKENS)
    (walk,) = entries(made, "lstm")
    assert walk.get("mask") == mask


def test_masks_one_behind_the_other() -> None:
    parts = embedding("e", "a"), embedding("f", "b"), layer("m", "Concatenate", "e", "f", axis=1)
    made = converted(*parts, lstm("l", "m"), a=TOKENS, b=TOKENS)
    (walk,) = entries(made, "lstm")
    (mask,) = (x for x in entries(made, "concatenate") if x["id"] == walk["mask"])
    assert mask["from"] == ["e.mask", "f.mask"]
    with pytest.raises(SpecError, match="with and without a mask, one behind the other"):
        converted(parts[0], embedding("f", "b", mask_zero=False), *parts[2:], a=TOKENS, b=TOKENS)


def test_what_nobody_takes_is_left_out() -> None:
    """A mask of two for a layer that takes none."""
    parts = embedding("e", "a"), embedding("f", "b"), layer("m", "Add", "e", "f")
    made = converted(*parts, layer("p", "GlobalMaxPooling1D", "m"), a=TOKENS, b=TOKENS)
    assert [*entries(made, "logical_and")] == []
    assert [*made.results] == ["e", "f", "m", "p"]


@pytest.mark.parametrize(("version", "masked"), [("2.1.6", "hold"), ("2.15.0", None), ("3.0.5", None)])
def test_sequences_of_both_ways(version: str, masked: str | None) -> None:
    config = {"units": 2, "activation": "tanh", "recurrent_activation": "sigmoid", "return_sequences": True}
    inner = {"class_name": "LSTM", "config": config}
    both = layer(
        "b", "Bidirectional", "k", arrays=of_recurrence(3, 2, 4, 2), layer=inner, merge_mode="concat"
    )
    made = converted(layer("k", "Masking", "x", mask_value=0.0), both, version=version, x=STEPS)
    (found,) = entries(made, "bidirectional")
    assert found["layer"]["lstm"].get("masked") == masked
    assert found["layer"]["lstm"]["mask"] == "k.mask"


def test_sequences_hold_what_they_had() -> None:
    mask = layer("k", "Masking", "x", mask_value=0.0)
    for fields, told in (({}, "hold"), ({"zero_output_for_mask": True}, None)):
        made = converted(mask, lstm("l", "k", return_sequences=True, **fields), x=STEPS)
        (found,) = entries(made, "lstm")
        assert found.get("masked") == told
    made = converted(mask, lstm("l", "k", return_sequences=True, go_backwards=True), x=STEPS)
    (turned,) = entries(made, "flip")
    assert (turned["from"], made.outputs[0].source, made.outputs[0].mask) == ("l", turned["id"], "k.mask")


def test_inputs_of_embeddings_are_tokens() -> None:
    made = converted(embedding("e", "a"), a=TOKENS)
    assert made.builder.inputs == {"a": {"shape": [6], "dtype": "int64"}}
    with pytest.raises(SpecError, match=r"e \(Embedding\): its tokens are computed as floating numbers"):
        converted(layer("r", "Reshape", "a", target_shape=[2, 3]), embedding("e", "r"), a=TOKENS)
    inner = {"class_name": "Embedding", "config": {"input_dim": 9, "output_dim": 3}}
    each = layer("t", "TimeDistributed", "a", arrays=weights((9, 3)), layer=inner)
    assert converted(each, a=[None, 4, 6]).builder.inputs["a"]["dtype"] == "int64"
    part = Model("p", (Layer("i", "InputLayer", {"batch_shape": TOKENS}, ()), embedding("e", "i")),
                 (Out("i"),), (Out("e"),))  # fmt: skip
    nested = Layer("n", "Functional", {}, (Call((Out("a"),), {}),), model=part)
    assert converted(nested, a=TOKENS).builder.inputs["a"]["dtype"] == "int64"


def test_what_training_alone_does_is_told() -> None:
    made = converted(lstm("l", "x", dropout=0.2, recurrent_dropout=0.1, stateful=True), x=STEPS)
    assert made.notes == [
        "l: dropout 0.2, recurrent_dropout 0.1 is not imported; training goes on without it",
        "l: it is stateful; predictions here begin anew with each batch",
    ]
    (found,) = entries(made, "lstm")
    assert found["stateful"] is True


LSTM = {"units": 2, "activation": "tanh", "recurrent_activation": "sigmoid"}
CELL = {"class_name": "LSTMCell", "config": {"units": 2}}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("RNN", {"cell": {"class_name": "Own", "config": {}}}, "its cell is 'Own'; supported"),
    ("Bidirectional", {"layer": {"class_name": "Dense", "config": {}}}, "it holds a Dense; supported"),
    ("TimeDistributed", {"layer": {"class_name": "Lambda", "config": {}}}, "it holds a Lambda"),
    ("TimeDistributed", {"layer": {"class_name": "LSTM", "config": LSTM}}, "step of a masked"),
    ("LSTM", {**LSTM, "zero_output_for_mask": True}, "zero_output_for_mask without return_sequences"),
    ("LSTM", {**LSTM, "quality": 3}, "does not know quality=3"),
    ("GRU", {"units": 2, "recurrent_activation": "tanh"}, "its configuration has no 'activation'"),
    ("GRU", {"units": 2, "activation": "own"}, "its activation is 'own'; supported"),
    ("SimpleRNN", {"units": 2, "activation": "relu"}, r"kernel has shape \(3, 8\)"),
    ("RNN", {"cell": {"class_name": "StackedRNNCells", "config": {"cells": [CELL]}}, "return_state": True},
     "states of stacked cells"),
    ("MultiHeadAttention", {"key_dim": 2, "num_heads": 1, "attention_axes": [2]}, r"attention_axes is \[2\]"),
    ("MultiHeadAttention", {"key_dim": 2, "num_heads": 1, "use_gate": True}, "it is called with 1 values"),
    ("Attention", {"score_mode": "concat"}, "it is called with 1 values; expected query and value"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "config", "words"), REFUSED)
def test_what_is_refused(kind: str, config: dict[str, Any], words: str) -> None:
    mask = layer("k", "Masking", "x", mask_value=0.0)
    with pytest.raises(SpecError, match=words):
        converted(mask, layer("l", kind, "k", arrays=of_recurrence(3, 2, 4), **config), x=STEPS)
