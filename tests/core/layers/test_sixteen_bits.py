"""Attention, positions and norms in 16 bits: what they give and learn is that of more bits, rounded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute import backends
from cortex_compute.types import bfloat16
from cortex_core.layers.scope import Scope
from cortex_core.registry import LAYERS
from cortex_core.tensor import Tensor
from tests.core.layers.use import Used

RNG = np.random.default_rng(31)
present = "onednn" in {row.name for row in backends.available() if row.present}
needs_bfloat16 = pytest.mark.skipif(
    not present or bool(backends.get("onednn").precision(bfloat16)), reason="oneDNN has no bfloat16 here"
)


def program(precision: str, layers: list[Any], shape: list[int]) -> cortex.Network:
    train = {"precision": precision, "optimizer": {"sgd": {"learning_rate": 1.0}}}
    loss = {"mse": {"of": "y", "target": "wanted"}}
    inputs = {"x": shape}
    if "seen" in repr(layers):
        inputs["seen"] = {"shape": shape[:1], "dtype": "bool"}  # type: ignore[assignment]
    return cortex.network({"inputs": inputs, "layers": layers, "loss": loss, "train": train})


@needs_bfloat16
def test_sinusoidal_positions_in_bfloat16_are_sines() -> None:
    """sin^2 + cos^2 = 1 in each pair of channels, so that the mean square is a half."""
    layers = ["positional_encoding", {"dense": {"units": 6, "use_bias": False, "id": "y"}}]
    network = program("bfloat16", layers, [40, 6])
    network.parameters["y/kernel"] = np.eye(6)
    made = cortex.compile(network, backend="onednn", batch_size=1)
    zeros = np.zeros((1, 40, 6), np.float32)
    loss = float(made.run({"x": zeros, "wanted": zeros})["loss"])
    assert abs(loss - 0.5) < 2.0**-9


@needs_bfloat16
@pytest.mark.parametrize(
    "layer",
    [
        "positional_encoding",
        {"positional_encoding": {"kind": "learned", "length": 9}},
        {"multi_head_attention": {"heads": 2, "causal": True}},
        {"multi_head_attention": {"heads": 4, "key_heads": 2, "rotary": True}},
        {"multi_head_attention": {"heads": 2, "mask": "seen", "from": "x"}},
        "rms_norm",
        {"group_norm": 2},
        {"batch_norm": {"trainable": False}},
        {"batch_norm": {"mode": "elementwise"}},
        {"prelu": "element"},
        {"gaussian_noise": 0.1},
        {"gaussian_dropout": 0.1},
        {"sampling": {"log_variance": "x"}},
    ],
    ids=str,
)
def test_gradients_in_bfloat16_are_those_of_float32(layer: Any) -> None:
    x, wanted = (RNG.standard_normal((3, 7, 8)).astype(np.float32) for _ in range(2))
    seen = np.arange(7) < np.array([7, 3, 0])[:, None]
    found = {}
    for precision in ("float32", "bfloat16"):
        network = program(precision, [layer, {"dense": {"units": 8, "id": "y"}}], [7, 8])
        before = {name: np.array(a) for name, a in network.parameters.items()}
        batch = {"x": x, "wanted": wanted} | ({"seen": seen} if "seen" in repr(layer) else {})
        cortex.compile(network, backend="onednn", batch_size=3).run(batch)
        moved = [(before[name] - a).ravel() for name, a in network.parameters.items()]
        found[precision] = np.concatenate(moved)
    distance = np.linalg.norm(found["bfloat16"] - found["float32"])
    assert distance < 0.02 * np.linalg.norm(found["float32"])


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("positional_encoding", {}),
        ("multi_head_attention", {"heads": 2, "causal": True}),
        ("multi_head_attention", {"heads": 2, "key_heads": 1, "rotary": True}),
        ("rms_norm", {}),
        ("group_norm", {"groups": 2}),
        ("prelu", {}),
    ],
)
def test_values_in_float16_are_those_of_float64(kind: str, fields: dict[str, Any]) -> None:
    layer, x = LAYERS[kind](**fields), RNG.standard_normal((2, 70, 8)).astype(np.float16)
    wide = Used(layer, x.astype(np.float64))
    precise = {"scale", "shift"}
    values = {
        name: Tensor(np.asarray(v).astype(np.float32 if name in precise else np.float16))
        for name, v in wide.parameters.items()
    }
    y = layer.forward(Scope(values, True, "it"), Tensor(x))
    assert y.dtype.name == "float16"
    np.testing.assert_allclose(np.asarray(y, np.float64), wide.y, atol=2e-2, rtol=2e-3)
