"""What is operated on."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortex_core.spec import read

DIGITS: dict[str, Any] = {
    "name": "digits",
    "inputs": {"image": [8, 8, 1]},
    "layers": [
        {"conv2d": {"filters": 6, "kernel": 3, "padding": "same", "activation": "relu"}},
        {"max_pool2d": 2},
        "flatten",
        {"dense": {"units": 24, "activation": "relu"}},
        {"dropout": 0.2},
        {"dense": {"units": 5, "id": "digit"}},
    ],
    "loss": {"softmax_cross_entropy": {"of": "digit", "target": "label"}},
    "train": {"optimizer": {"adam": {"learning_rate": 0.01}}, "epochs": 8, "batch_size": 32},
}
RESIDUAL: dict[str, Any] = {
    "inputs": {"image": [4, 4, 2]},
    "blocks": {
        "unit": {
            "layers": [
                {"conv2d": {"filters": 2, "kernel": 3, "padding": "same", "id": "main"}},
                {"add": {"from": ["main", "input"]}},
                "relu",
            ]
        }
    },
    "layers": [
        {"unit": {"repeat": 2, "id": "u"}},
        "global_avg_pool2d",
        {"dense": {"units": 3, "id": "kind"}},
    ],
    "loss": {"softmax_cross_entropy": {"of": "kind", "target": "label"}},
}
TOWERS: dict[str, Any] = {
    "inputs": {"a": [4], "b": [4]},
    "blocks": {
        "tower": {
            "layers": [{"dense": {"units": 5, "activation": "relu"}}, {"dense": {"units": 2, "id": "code"}}]
        }
    },
    "layers": [
        {"tower": {"from": "a", "id": "left"}},
        {"tower": {"from": "b", "share": "left", "id": "right"}},
    ],
    "loss": {"contrastive": {"of": "left", "other": "right", "target": "same"}},
}


def pairs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    numbers = {name: rng.normal(size=(64, 4)).astype(np.float32) for name in "ab"}
    return {**numbers, "same": rng.integers(0, 2, 64)}


def canonical(source: dict[str, Any]) -> dict[str, Any]:
    return read(source).canonical


def layers(data: dict[str, Any]) -> list[tuple[str, Any]]:
    """The id of each layer, and what it takes."""
    return [(fields["id"], fields["from"]) for layer in data["layers"] for fields in layer.values()]


def fields_of(data: dict[str, Any], id_: str) -> dict[str, Any]:
    return next(f for layer in data["layers"] for f in layer.values() if f["id"] == id_)


def numbers(network: Any) -> dict[str, bytes]:
    return {name: x.tobytes() for name, x in (*network.parameters.items(), *network.variables.items())}
