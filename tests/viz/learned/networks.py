"""Small networks with parameters that a test knows."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortex_core.network import Network, network
from cortex_core.training.source import Arrays

RNG = np.random.default_rng(11)
IMAGES = RNG.random((12, 6, 6, 1)).astype(np.float32)

CONVOLUTION: list[Any] = [
    {"conv2d": {"filters": 3, "kernel": 3, "activation": "relu", "id": "maps"}},
    {"max_pool2d": {"size": 2, "id": "pool"}},
    "flatten",
    {"dense": {"units": 5, "activation": "relu", "id": "hidden"}},
    {"dense": {"units": 4, "id": "out"}},
]


def classifier(
    layers: list[Any] = CONVOLUTION, shape: Any = (6, 6, 1), name: str = "looked", dtype: str = "float32"
) -> Network:
    """A classifier of pictures into four classes, with biases that are not 0."""
    loss = {"softmax_cross_entropy": {"of": "out", "target": "label"}}
    inputs = {"x": {"shape": list(shape), "dtype": dtype}}
    made = network({"name": name, "inputs": inputs, "layers": layers, "loss": loss})
    for parameter in made.parameters:
        if parameter.endswith("bias"):
            made.parameters[parameter] = RNG.normal(0, 0.1, made.parameters[parameter].shape)
    return made


def source(images: Any = IMAGES) -> Arrays:
    """The pictures with labels."""
    return Arrays({"x": images, "label": np.arange(len(images)) % 4})
