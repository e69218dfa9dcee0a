"""The peers' networks are Cortex's: equal losses and predictions from equal parameters."""

from __future__ import annotations

import sys
from copy import deepcopy
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import compare, cortex_worker
from benchmarks.rows import ROWS
from benchmarks.serve import first_values

pytestmark = pytest.mark.peers

SETTINGS = compare.Settings(1, 0.01, 1, "numpy", sys.executable)
LIBRARIES = ("torch", "torch_channels_last", "jax")  # torch.compile takes minutes, of the network of torch
PREDICTED = ("mlp_predict", "cnn_predict", "resnet20_predict", "lenet_cold")
NAMES = ("mlp", "cnn", "resnet20", "lstm", "char_gpt", *PREDICTED)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_work(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    cortex = compare.start("cortex", row, SETTINGS, tmp_path)
    cortex.close()
    for library in LIBRARIES:
        if library in row.peers and find_spec(library.partition("_")[0]):
            peer = compare.start(library, row, SETTINGS, tmp_path)
            peer.close()
            assert not compare.differ(row, peer.values, cortex.values), library


QUEUED = (
    "gpu_mlp",
    "gpu_cnn_resident",
    "gpu_lenet",
    "gpu_resnet20_resident",
    "gpu_resnet20_bf16",
    "gpu_resnet50_bf16",
    "gpu_lstm",
    "gpu_char_gpt_resident",
)


@pytest.mark.parametrize("name", QUEUED)
def test_the_lines_for_a_gpu_do_the_same_work(name: str, tmp_path: Path) -> None:
    """Here on the CPU, with small batches; ResNet-50 in float32, over small images, in small steps: its norms
    over few numbers magnify what is rounding.
    """
    row = ROWS[name]
    task = compare.task_of("cortex", row, SETTINGS, tmp_path)
    task |= {"batch": 4, "description": deepcopy(task["description"])}
    if row.workload == "resnet50":
        row = replace(row, precision="float32", tf32=False)
        task["description"]["inputs"]["image"] = [64, 64, 3]
        task["description"]["train"]["optimizer"]["sgd"]["learning_rate"] = 1e-6
    ours = first_values(cortex_worker.make({**deepcopy(task), "precision": "float32"}))
    task |= {"precision": row.precision, "way": "channels_last"}
    peers = [import_module("benchmarks.torch_worker").queued(task, "cpu")]
    if find_spec("jax"):
        peers.append(import_module("benchmarks.jax_worker").queued(task))
    for peer in peers:
        assert not compare.differ(row, first_values(peer), ours)


def test_products_are_the_same_product(tmp_path: Path) -> None:
    row = ROWS["resnet20"]
    libraries = ["numpy", "torch", "onednn", *(["jax"] if find_spec("jax") else [])]
    products = [compare.start(f"product_{name}", row, SETTINGS, tmp_path) for name in libraries]
    for product in products:
        product.close()
        assert product.values[0] == pytest.approx(products[0].values[0], rel=1e-3)
