"""A file as tf.keras 2.9 writes it, and what its layers give, by NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.exchange.keras.handmade import save_named

LAYERS: tuple[Mapping[str, Any], ...] = (
    {"class_name": "InputLayer", "config": {"name": "x", "batch_input_shape": [None, 3]}},
    {"class_name": "Dense", "config": {"name": "hidden", "units": 4, "activation": "relu"}},
    {"class_name": "Dense", "config": {"name": "out", "units": 2, "activation": "softmax"}},
)


def weights() -> dict[str, np.ndarray]:
    """The kernel and bias of both layers."""
    rng = np.random.default_rng(1)
    shapes = {"hidden/kernel": (3, 4), "hidden/bias": (4,), "out/kernel": (4, 2), "out/bias": (2,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def write_model(
    path: Path, layers: Sequence[Mapping[str, Any]] = LAYERS, training: Any = None, **kernels: np.ndarray
) -> None:
    """A Sequential of these layers, with the weights of `hidden` and `out`, and others that have a kernel."""
    config = {"class_name": "Sequential", "config": {"name": "sequential", "layers": list(layers)}}
    groups = {
        layer: [(f"{name}:0", array) for name, array in weights().items() if name.startswith(layer)]
        for layer in ("hidden", "out")
    }
    groups |= {layer: [(f"{layer}/kernel:0", kernel)] for layer, kernel in kernels.items()}
    told = {} if training is None else {"training_config": training}
    save_named(path, groups, config, "2.9.0", **told)


def forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the two layers give."""
    w = weights()
    hidden = np.maximum(x @ w["hidden/kernel"] + w["hidden/bias"], 0)
    raised = np.exp(hidden @ w["out/kernel"] + w["out/bias"])
    return hidden, raised / raised.sum(1, keepdims=True)


def write_recording(path: Path, wrong: float = 0.0) -> None:
    """What the script of ``cortex keras-recorder`` writes of it; ``wrong`` is added to the last layer."""
    x = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)
    hidden, out = forward(x)
    np.savez(path, **{"input/x": x, "layer/hidden/0/0": hidden, "layer/out/0/0": out + np.float32(wrong)})
