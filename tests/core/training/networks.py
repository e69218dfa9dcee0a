"""Small networks and data for the tests of training."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortex_core.metrics import Accuracy, ratio
from cortex_core.registry import metric

CLASSES = 3


def blobs(count: int = 50, seed: int = 1) -> dict[str, np.ndarray]:
    """Points around three centres: {x: (count, 4) float32, label: (count,) int64}."""
    generator = np.random.default_rng(seed)
    label = generator.integers(0, CLASSES, count)
    centres = np.array([[2, 0, 0, 1], [0, 2, 0, -1], [0, 0, 2, 0]])
    x = centres[label] + 0.3 * generator.standard_normal((count, 4))
    return {"x": x.astype(np.float32), "label": label}


def description(**train: Any) -> dict[str, Any]:
    """A classifier with everything that has a state: batch norm, dropout, Adam."""
    return {
        "name": "blobs",
        "inputs": {"x": [4]},
        "layers": [
            {"dense": {"units": 8, "id": "hidden"}},
            "batch_norm",
            "relu",
            {"dropout": 0.25},
            {"dense": {"units": CLASSES, "id": "out"}},
        ],
        "loss": {"softmax_cross_entropy": {"of": "out", "target": "label"}},
        "train": {"batch_size": 8, "epochs": 3, "optimizer": {"adam": {"learning_rate": 0.01}}, **train},
    }


def plain(**train: Any) -> dict[str, Any]:
    """A linear regression, whose every step can be computed by hand."""
    return {
        "name": "line",
        "inputs": {"x": [2]},
        "layers": [{"dense": {"units": 1, "id": "y"}}],
        "loss": {"mse": {"of": "y", "target": "t"}},
        "train": {"batch_size": 4, "epochs": 1, "optimizer": {"sgd": {"learning_rate": 0.1}}, **train},
    }


def line(count: int = 10, seed: int = 2) -> dict[str, np.ndarray]:
    """x (count, 2) and t (count, 1) = 2 x0 - x1 + 1."""
    x = np.random.default_rng(seed).standard_normal((count, 2)).astype(np.float32)
    return {"x": x, "t": (2 * x[:, :1] - x[:, 1:] + 1).astype(np.float32)}


def declare_wrong(better: str) -> None:
    """Registers the metric ``wrong``: the share of samples whose largest output is another class."""

    def sums(self: Any, x: Any, target: Any, weight: Any) -> Any:
        right, count = Accuracy().sums(x, target, weight)
        return count - right, count

    def result(self: Any, wrong: Any, count: Any) -> float:
        return ratio(wrong, count)

    metric("wrong")(type("Wrong", (), {"better": better, "sums": sums, "result": result}))


def states(network: Any) -> dict[str, bytes]:
    """The bits of every state of a network: parameters, moments, statistics, sums, the random key."""
    return {name: network.store.array(name).tobytes() for name in sorted(network.store.types)}
