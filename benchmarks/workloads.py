"""What is measured: networks as descriptions, their batches, and how far two libraries may differ on them.

Imports nothing of Cortex: the processes of the peers read it, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Description = dict[str, Any]
BATCHES = 8  # of the data that lie on a device
NETWORKS = Path(__file__).parents[1] / "examples" / "networks"


@dataclass(frozen=True)
class Workload:
    """A network, the batch of its training step, and the relative difference of the loss that is rounding.

    ``first`` is for the loss from equal parameters.  ``later`` is for those after an update: Adam's first
    step is g / |g|, which turns a gradient that is nothing but rounding into a full step.  ``narrow`` is for
    all of them where factors have eight or eleven bits.
    """

    name: str
    batch: int
    description: Description
    first: float = 1e-5
    later: float = 2e-4
    narrow: float = 2e-2

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return shape_of(self.description)


def shape_of(description: Description) -> tuple[int, ...]:
    """The shape of one image."""
    return tuple(description["inputs"]["image"])


def batch_of(shape: tuple[int, ...], batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Images in 0..1 and labels below 10, the same at each call."""
    generator = np.random.default_rng(0)
    return generator.random((batch, *shape), np.float32), generator.integers(0, 10, batch)


def rows_of(batch: int) -> list[np.ndarray]:
    """The rows of `BATCHES` batches, in a random order: one pass over data that lie on a device."""
    order = np.random.default_rng(1).permutation(BATCHES * batch)
    return list(order.reshape(BATCHES, batch))


def describe(name: str, shape: tuple[int, ...], layers: list[Any]) -> Description:
    """A classifier of ten kinds of images; the layer that gives the logits is added."""
    return {
        "cortex": 1,
        "name": name,
        "inputs": {"image": list(shape)},
        "layers": [*layers, {"dense": {"units": 10, "id": "digit"}}],
        "loss": {"softmax_cross_entropy": {"of": "digit", "target": "label"}},
        "train": {"optimizer": {"adam": {"learning_rate": 0.001}}},
    }


def dense(units: int, id: str) -> Description:
    return {"dense": {"units": units, "activation": "relu", "id": id}}


def conv(filters: int, id: str, size: int = 3, padding: str = "same") -> Description:
    fields = {"filters": filters, "kernel": size, "padding": padding}
    return {"conv2d": {**fields, "activation": "relu", "id": id}}


def mlp(hidden: tuple[int, ...] = (256, 128)) -> Description:
    """784 - hidden - 10."""
    return describe("mlp", (784,), [dense(units, f"hidden{i}") for i, units in enumerate(hidden)])


def cnn(filters: tuple[int, ...] = (32, 64)) -> Description:
    """Convolutions of 3 x 3 on 28 x 28, the first two with a pool behind them; a dense layer of 128."""
    layers: list[Any] = []
    for i, n in enumerate(filters):
        layers += [conv(n, f"conv{i}"), {"max_pool2d": 2}] if i < 2 else [conv(n, f"conv{i}")]
    return describe("cnn", (28, 28, 1), [*layers, "flatten", dense(128, "hidden")])


def lenet() -> Description:
    """LeNet with 20 and 50 filters of 5 x 5."""
    layers: list[Any] = []
    for i, n in enumerate((20, 50)):
        layers += [conv(n, f"conv{i}", size=5, padding="valid"), {"max_pool2d": 2}]
    return describe("lenet", (28, 28, 1), [*layers, "flatten", dense(500, "hidden")])


def read(name: str) -> Description:
    """A network of examples/networks."""
    import yaml

    text = (NETWORKS / f"{name}.yaml").read_text(encoding="utf-8")
    found: Description = yaml.safe_load(text)
    return found


RESNET20_FILTERS = (16, 16, 16, 32, 32, 32, 64, 64, 64)  # of each unit
RESNET50_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # filters inside the units, and how many units

WORKLOADS = {
    w.name: w
    for w in (
        Workload("mlp", 128, mlp()),
        Workload("cnn", 64, cnn()),
        # Twenty layers with batch norm: a ReLU that flips by rounding changes gradients by percents, on any
        # two libraries, and the losses after the first update with them.
        Workload("resnet20", 64, read("resnet20"), later=5e-3),
        Workload("resnet50", 64, read("resnet50"), later=5e-2, narrow=0.1),
        Workload("lenet", 1, lenet()),
    )
}
