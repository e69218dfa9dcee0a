"""What is measured: networks as descriptions, their batches, and how far two libraries may differ on them.

Imports nothing of Cortex: the processes of the peers read it, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Description = dict[str, Any]


@dataclass(frozen=True)
class Workload:
    """A network, the batch of its training step, and the relative difference of the loss that is rounding.

    ``first`` is for the loss from equal parameters.  ``later`` is for those after an update: Adam's first
    step is g / |g|, which turns a gradient that is nothing but rounding into a full step.
    """

    name: str
    batch: int
    description: Description
    first: float = 1e-5
    later: float = 2e-4

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return tuple(self.description["inputs"]["image"])


def batch_of(shape: tuple[int, ...], batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Images in 0..1 and labels below 10, the same at each call."""
    generator = np.random.default_rng(0)
    return generator.random((batch, *shape), np.float32), generator.integers(0, 10, batch)


def describe(
    name: str, shape: tuple[int, ...], layers: list[Any], blocks: Description | None = None
) -> Description:
    """A classifier of ten kinds of images; the layer that gives the logits is added."""
    return {
        "cortex": 1,
        "name": name,
        "inputs": {"image": list(shape)},
        **({"blocks": blocks} if blocks else {}),
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


def resnet20() -> Description:
    """ResNet-20 for 32 x 32 images.  He et al., 2016; where the shape changes, the shortcut is a projection.

    The padding is written as a number: "same" would put all of it behind where the stride is 2, and PyTorch
    puts one pixel on either side.
    """

    def unit(*shortcut: Description, end: str) -> list[Any]:
        three = {"filters": "$filters", "kernel": 3, "padding": 1, "use_bias": False}
        return [
            {"conv2d": {**three, "stride": "$stride", "id": "conv0"}},
            {"batch_norm": {"id": "norm0"}},
            "relu",
            {"conv2d": {**three, "id": "conv1"}},
            {"batch_norm": {"id": "norm1"}},
            *shortcut,
            {"add": {"from": ["norm1", end]}},
            "relu",
        ]

    one = {"filters": "$filters", "kernel": 1, "stride": "$stride", "use_bias": False}
    parameters = {"filters": None, "stride": 1}
    short = {"conv2d": {**one, "from": "input", "id": "short"}}
    blocks = {
        "plain": {"parameters": parameters, "layers": unit(end="input")},
        "projected": {"parameters": parameters, "layers": unit(short, end="short")},
    }
    layers: list[Any] = [
        {"conv2d": {"filters": 16, "kernel": 3, "padding": 1, "use_bias": False, "id": "conv"}},
        {"batch_norm": {"id": "norm"}},
        "relu",
    ]
    for i, filters in enumerate(RESNET_FILTERS):
        wider = i > 0 and filters > RESNET_FILTERS[i - 1]
        kind, stride = ("projected", 2) if wider else ("plain", 1)
        layers.append({kind: {"filters": filters, "stride": stride, "id": f"unit{i}"}})
    return describe("resnet20", (32, 32, 3), [*layers, "global_avg_pool2d"], blocks)


RESNET_FILTERS = (16, 16, 16, 32, 32, 32, 64, 64, 64)

WORKLOADS = {
    w.name: w
    for w in (
        Workload("mlp", 128, mlp()),
        Workload("cnn", 64, cnn()),
        # Twenty layers with batch norm: a ReLU that flips by rounding changes gradients by percents, on any
        # two libraries, and the losses after the first update with them.
        Workload("resnet20", 64, resnet20(), later=5e-3),
        Workload("lenet", 1, lenet()),
    )
}
