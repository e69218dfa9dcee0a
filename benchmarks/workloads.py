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
CHARACTERS = 65  # different ones, as in the plays of Shakespeare
BLOCKS, HEADS = 4, 4  # of the GPT
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


def batch_of(description: Description, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Images in 0..1 and labels below 10, or characters and the next ones: the same at each call."""
    generator = np.random.default_rng(0)
    ((_, given),) = description["inputs"].items()
    if isinstance(given, dict):
        characters = generator.integers(0, CHARACTERS, (batch, given["shape"][0] + 1))
        return characters[:, :-1], characters[:, 1:]
    return generator.random((batch, *given), np.float32), generator.integers(0, 10, batch)


def named(description: Description, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """A batch by the names that it has in the description."""
    (name,), (loss,) = description["inputs"], description["loss"].values()
    return {name: x, loss["target"]: y}


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


def lstm() -> Description:
    """An LSTM of 128 units that reads 28 rows of 28 pixels."""
    return describe("lstm", (28, 28), [{"lstm": {"units": 128, "id": "lstm"}}])


def char_gpt() -> Description:
    """A GPT over 64 characters, 128 wide: norms before what they feed, one table for both ends."""
    block = {"units": 128, "heads": HEADS, "hidden": 512, "causal": True, "id": "block", "repeat": BLOCKS}
    return {
        "cortex": 1,
        "name": "char_gpt",
        "inputs": {"text": {"shape": [64], "dtype": "int64"}},
        "layers": [
            {"embedding": {"tokens": CHARACTERS, "units": 128, "id": "characters"}},
            {"positional_encoding": {"kind": "learned", "length": 64, "id": "positions"}},
            {"transformer_encoder": block},
            {"layer_norm": {"id": "norm"}},
            {"unembedding": {"table": "characters.table", "id": "character"}},
        ],
        "loss": {"softmax_cross_entropy": {"of": "character", "target": "next"}},
        "train": {"optimizer": {"adam": {"learning_rate": 0.001}}},
    }


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
        Workload("lstm", 64, lstm()),
        Workload("char_gpt", 64, char_gpt()),
    )
}
