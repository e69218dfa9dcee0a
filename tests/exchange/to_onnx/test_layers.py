"""Every layer and loss, and variants that ONNX says in other words, give the same in onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_core.network import Network
from cortex_core.registry import LAYERS, LOSSES
from cortex_core.spec import read
from cortex_core.verify import minimal
from tests.exchange.to_onnx.support import BATCHES, check, draw, inputs_of

pytestmark = pytest.mark.peers
OWN = [(kind, name) for kind, table in (("layer", LAYERS), ("loss", LOSSES)) for name in table]
SEQUENCE, TOKENS, IMAGE = [6, 3], {"shape": [6], "dtype": "int32"}, [9, 8, 2]
MASKED = {"embedding": {"tokens": 3, "units": 4, "mask_zero": True, "id": "words"}}
VARIANTS: dict[str, Any] = {
    "lstm backwards": (SEQUENCE, [{"lstm": {"units": 4, "reverse": True, "return": "sequence"}}]),
    "lstm, hard sigmoid": (SEQUENCE, [{"lstm": {"units": 4, "recurrent_activation": "hard_sigmoid"}}]),
    "lstm, relu": (SEQUENCE, [{"lstm": {"units": 4, "activation": "relu"}}]),
    "lstm, projected": (SEQUENCE, [{"lstm": {"units": 4, "projection": 2, "return": "sequence"}}]),
    "lstm, projected, backwards": (SEQUENCE, [{"lstm": {"units": 4, "projection": 2, "reverse": True}}]),
    "lstm, two": (SEQUENCE, [{"lstm": {"units": 4, "return": "sequence"}}, {"lstm": 3}]),
    "gru, reset before": (SEQUENCE, [{"gru": {"units": 4, "reset_after": False, "return": "sequence"}}]),
    "gru, hard sigmoid": (SEQUENCE, [{"gru": {"units": 4, "recurrent_activation": "hard_sigmoid"}}]),
    "rnn, relu": (SEQUENCE, [{"simple_rnn": {"units": 4, "activation": "relu", "reverse": True}}]),
    "stateful": (SEQUENCE, [{"lstm": {"units": 4, "stateful": True}}]),
    **{
        f"{kind} with a mask{told}": (TOKENS, [MASKED, {kind: {"units": 4, "mask": "words.mask", **fields}}])
        for kind in ("simple_rnn", "lstm", "gru")
        for told, fields in (("", {}), (", backwards", {"reverse": True, "return": "sequence"}))
    },
    "bidirectional with a mask": (
        TOKENS,
        [MASKED, {"bidirectional": {"layer": {"gru": {"units": 2, "mask": "words.mask"}}}}],
    ),
    "held": (
        TOKENS,
        [MASKED, {"gru": {"units": 2, "mask": "words.mask", "masked": "hold", "return": "sequence"}}],
    ),
    "attention, shared heads, causal": (
        [6, 8],
        [{"multi_head_attention": {"heads": 4, "key_heads": 2, "causal": True, "rotary": True}}],
    ),
    "attention with a mask": (
        TOKENS,
        [MASKED, {"multi_head_attention": {"heads": 2, "causal": True, "mask": "words.mask"}}],
    ),
    "pools that are padded": (
        IMAGE,
        [
            {"max_pool2d": {"size": 3, "stride": 2, "padding": "same"}},
            {"avg_pool2d": {"size": 2, "stride": 1, "padding": "same"}},
        ],
    ),
    "dilated groups": (
        IMAGE,
        [{"conv2d": {"filters": 4, "kernel": [2, 3], "dilation": [2, 1], "groups": 2, "padding": "same"}}],
    ),
    "uneven padding": (IMAGE, [{"conv2d": {"filters": 3, "kernel": 3, "padding": [[2, 0], [0, 1]]}}]),
    "strides of same": (IMAGE, [{"conv2d": {"filters": 3, "kernel": 4, "stride": 3, "padding": "same"}}]),
    "transposed": (
        IMAGE,
        [{"conv_transpose2d": {"filters": 3, "kernel": 3, "stride": 2, "padding": "same"}}],
    ),
    "transposed, with a rest": (
        IMAGE,
        [{"conv_transpose2d": {"filters": 3, "kernel": 3, "stride": 3, "output_padding": 2}}],
    ),
    "elu of small numbers": (SEQUENCE, [{"scale": {"factor": 1e-6}}, "elu"]),
    "softplus far below 0": (SEQUENCE, [{"scale": {"offset": -20.0}}, "softplus"]),
}


@pytest.mark.parametrize(("kind", "name"), OWN)
def test_every_layer_and_loss(kind: str, name: str) -> None:
    cls = (LAYERS if kind == "layer" else LOSSES)[name]
    _check(Network(minimal.description(cls), seed=3))


@pytest.mark.parametrize("name", VARIANTS)
def test_variants(name: str) -> None:
    shape, layers = VARIANTS[name]
    _check(Network(read({"cortex": 1, "inputs": {"given": shape}, "layers": layers}), seed=3))


def _check(network: Network) -> None:
    pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    inputs = inputs_of(network, max(BATCHES), rng)
    draw(network, rng, inputs)
    check(network, inputs)
