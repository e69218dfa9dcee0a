"""What is measured: a description, a batch size, and how many steps make one round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Workload:
    """One training step: forward, backward and Adam, float32."""

    name: str
    batch: int
    steps: int
    description: dict[str, Any]


def _description(name: str, shape: list[int], layers: list[Any]) -> dict[str, Any]:
    last = layers[-1]["dense"]["id"]
    return {
        "cortex": 1,
        "name": name,
        "inputs": {"image": shape},
        "layers": layers,
        "loss": {"softmax_cross_entropy": {"of": last, "target": "label"}},
        "train": {"optimizer": {"adam": {"learning_rate": 0.001}}},
    }


MLP = Workload(
    "mlp",
    128,
    200,
    _description(
        "mlp",
        [784],
        [
            {"dense": {"units": 256, "activation": "relu"}},
            {"dense": {"units": 128, "activation": "relu"}},
            {"dense": {"units": 10, "id": "digit"}},
        ],
    ),
)

LENET = Workload(
    "lenet",
    64,
    30,
    _description(
        "lenet",
        [28, 28, 1],
        [
            {"conv2d": {"filters": 20, "kernel": 5}},
            {"max_pool2d": 2},
            "relu",
            {"conv2d": {"filters": 50, "kernel": 5}},
            {"max_pool2d": 2},
            "relu",
            "flatten",
            {"dense": {"units": 500, "activation": "relu"}},
            {"dense": {"units": 10, "id": "digit"}},
        ],
    ),
)

WORKLOADS = {w.name: w for w in (MLP, LENET)}
