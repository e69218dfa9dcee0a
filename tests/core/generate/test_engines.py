"""With the cache, without it, and by predictions of every length: the same tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import SpecError
from cortex_core.generate import generate
from cortex_core.generate.steps import NotStepwise, trace_step
from tests.core.generate.networks import TOKENS, expect_drawn, expect_same, language, lively, logs_by_hand

CAUSAL = {"heads": 2, "causal": True}
SHIFTED = {"filters": 8, "kernel": 2, "padding": [[1, 0]]}
ENDLESS: dict[str, tuple[Any, ...]] = {
    "embedding alone": (),
    "conv1d": ({"conv1d": {"filters": 8, "kernel": 3, "padding": [[2, 0]], "activation": "tanh"}},),
    "conv1d, dilated": ({"conv1d": {"filters": 8, "kernel": 3, "dilation": 4, "padding": [[8, 0]]}},),
    "conv1d, groups": ({"conv1d": {"filters": 8, "kernel": 2, "groups": 2, "padding": [[1, 0]]}},),
    "conv1d, one wide": ({"conv1d": {"filters": 8, "kernel": 1}},),
    "simple_rnn": ({"simple_rnn": {"units": 8, "return": "sequence"}},),
    "lstm": ({"lstm": {"units": 8, "return": "sequence"}},),
    "lstm, projected": ({"lstm": {"units": 8, "projection": 5, "return": "sequence"}},),
    "gru": ({"gru": {"units": 8, "return": "sequence"}},),
    "gru, reset before": ({"gru": {"units": 8, "reset_after": False, "return": "sequence"}},),
    "lstm, stateful": ({"lstm": {"units": 8, "return": "sequence", "stateful": True}},),
    "time_distributed": (
        {"time_distributed": {"layer": {"dense": {"units": 8, "activation": "tanh"}}}},
        {"gru": {"units": 8, "return": "sequence"}},
    ),
    "two": ({"lstm": {"units": 8, "return": "sequence"}}, {"gru": {"units": 6, "return": "sequence"}}),
    "norms": ("layer_norm", "batch_norm", "rms_norm", {"simple_rnn": {"units": 8, "return": "sequence"}}),
    "joined": (
        {"gru": {"units": 8, "return": "sequence", "id": "g"}},
        {"concatenate": {"from": ["words", "g"]}},
        {"dense": {"units": 8, "activation": "softmax", "id": "d"}},
        {"multiply": {"from": ["d", "words"]}},
        {"dropout": 0.5},
    ),
}
BOUNDED: dict[str, tuple[Any, ...]] = {
    "attention": ({"multi_head_attention": CAUSAL},),
    "rotary": ({"multi_head_attention": {**CAUSAL, "rotary": True}},),
    "grouped": ({"multi_head_attention": {"heads": 4, "key_heads": 2, "causal": True}},),
    "sinusoidal": ("positional_encoding", {"multi_head_attention": CAUSAL}),
    "learned": (
        {"positional_encoding": {"kind": "learned", "length": 12}},
        {"multi_head_attention": {**CAUSAL, "id": "a"}},
        {"add": {"from": ["words", "a"]}},
        {"dense": {"units": 16, "activation": "gelu"}},
        {"multi_head_attention": {"heads": 2, "causal": True}},
    ),
    "learned positions alone": ({"positional_encoding": {"kind": "learned", "length": 12}},),
    "blocks": ({"transformer_encoder": {"units": 8, "heads": 2, "hidden": 16, "causal": True, "repeat": 2}},),
    "tied": (
        {"multi_head_attention": CAUSAL},
        {"unembedding": {"table": "words.table"}},
    ),
    "and an lstm": ({"lstm": {"units": 8, "return": "sequence"}}, {"multi_head_attention": CAUSAL}),
}
ALL = {**ENDLESS, **BOUNDED}


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["auto", "numpy"])
@pytest.mark.parametrize("name", ALL)
def test_any_length(name: str, backend: str) -> None:
    expect_same(language(*ALL[name]), [3, 1, 4], 12 if "learned" in name else None, backend=backend)


@pytest.mark.parametrize("name", ALL)
def test_an_input_of_fixed_length(name: str) -> None:
    """It is the context of what attends; what only carries a state goes on for ever."""
    free, fixed = language(*ALL[name]), language(*ALL[name], length=8)
    for parameter, values in free.parameters.items():
        fixed.parameters[parameter] = values
    for variable, values in free.variables.items():
        fixed.variables[variable] = values
    for cache in (True, False):
        found = generate(fixed, [3, 1, 4], 25, temperature=2.0, cache=cache)
        logs = logs_by_hand(free, [3, 1, 4], found.tokens, 8 if name in BOUNDED else None)
        np.testing.assert_allclose(
            found.log_probabilities, logs[np.arange(25), list(found.tokens)], atol=1e-4
        )


@pytest.mark.parametrize("cache", [True, False])
def test_numbers_of_each_position(cache: bool) -> None:
    """Those of the position that is read; the scores are those of a prediction of all eight."""
    layers = (
        {"scale": {"offset": [[position % 5 - 2] for position in range(8)]}},
        {"affine": [8, 8]},
        {"affine": {"shape": [1, 8], "center": False}},
        {"gru": {"units": 8, "return": "sequence"}},
    )
    network = language(*layers, length=8)
    found = generate(network, [3, 1, 4], 5, temperature=2.0, cache=cache)
    tokens = [3, 1, 4, *found.tokens]
    scores = network.predict({"text": np.array([tokens])}, raw=True)[0].astype(np.float64)
    logs = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    right = [logs[place - 1, tokens[place]] for place in range(3, 8)]
    np.testing.assert_allclose(found.log_probabilities, right, atol=1e-4)


def test_masks_go_along() -> None:
    layers = (
        {"lstm": {"units": 8, "return": "sequence", "mask": "words.mask"}},
        {"multi_head_attention": {**CAUSAL, "mask": "words.mask"}},
    )
    expect_same(language(*layers, mask_zero=True), [3, 0, 5, 0, 0, 7])


EMBEDDING = {"tokens": TOKENS, "units": 8}
SEQUENCES = {
    "cortex": 1,
    "name": "translator",
    "inputs": {
        "source": {"shape": [5], "dtype": "int64"},
        "target_in": {"shape": [None], "dtype": "int64"},
    },
    "layers": [
        {
            "embedding": {
                "tokens": TOKENS,
                "units": 8,
                "id": "from_words",
                "from": "source",
                "mask_zero": True,
            }
        },
        {"lstm": {"units": 8, "return": "both", "id": "encoder", "mask": "from_words.mask"}},
        {"embedding": {**EMBEDDING, "id": "to_words", "from": "target_in"}},
        {
            "lstm": {
                **{"units": 8, "return": "sequence", "id": "decoder"},
                "initial": ["encoder.last", "encoder.cell"],
            }
        },
        {
            "multi_head_attention": {
                **{"heads": 2, "from": ["decoder", "encoder"], "id": "seen"},
                "mask": "from_words.mask",
            }
        },
        {"add": {"from": ["decoder", "seen"]}},
        {"dense": {"units": TOKENS, "id": "scores"}},
    ],
    "loss": {"softmax_cross_entropy": {"of": "scores", "target": "target"}},
}


@pytest.mark.slow
@pytest.mark.parametrize("source", [[1, 2, 3, 4, 5], [5, 4, 3, 0, 0], [7, 7, 0, 0, 0]])
def test_one_sequence_by_another(source: list[int]) -> None:
    network = lively(cortex.network(SEQUENCES))
    expect_same(network, [1], inputs={"source": source}, input="target_in")


def test_a_layer_that_needs_all_positions_at_once() -> None:
    """Transposed and transposed back: nothing later is seen, but no layer says so."""
    network = language({"permute": [2, 1]}, {"permute": [2, 1]}, {"gru": {"units": 8, "return": "sequence"}})
    found = generate(network, [3], 20, temperature=2.0)
    logs = logs_by_hand(network, [3], found.tokens)
    expect_drawn(found, logs)
    (note,) = found.notes
    assert note.startswith("all positions are computed for each token: 'permute' (permute) needs all")


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ([{"conv1d": {"filters": 8, "kernel": 3, "padding": "same"}}], "conv1d sees later positions"),
        ([{"multi_head_attention": 2}], "not causal"),
        ([{"gru": {"units": 8, "return": "sequence", "reverse": True}}], "forwards alone"),
        ([{"softmax": 1}], "sees all positions at once"),
        ([{"dense": {"units": 8, "activation": {"softmax": 1}}}], "softmax along axis 1 sees all positions"),
        ([{"conv1d": {**SHIFTED, "activation": {"log_softmax": -2}}}], "log_softmax along axis -2 sees all"),
    ],
)
def test_a_network_that_sees_what_comes_later(layers: list[Any], reason: str) -> None:
    network = language(*layers, length=16)
    for cache in (True, False):
        with pytest.raises(
            SpecError, match="language is not causal: the scores 'scores' of a position change"
        ):
            generate(network, [1, 2], 5, cache=cache)
    types = {"text": network.types["text"]._replace(shape=(1, 16))}
    with pytest.raises(NotStepwise, match=reason):
        trace_step(network, types, "text", "scores", 16)
