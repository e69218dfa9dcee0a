"""The peers' networks are Cortex's: equal losses and predictions from equal parameters."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import compare
from benchmarks.rows import ROWS

pytestmark = pytest.mark.peers

SETTINGS = compare.Settings(1, 0.01, 1, "numpy", sys.executable)
LIBRARIES = ("torch", "torch_channels_last", "jax")  # torch.compile takes minutes, of the network of torch
NAMES = ("mlp", "cnn", "resnet20", "mlp_predict", "cnn_predict", "resnet20_predict", "lenet_cold")


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


def test_products_are_the_same_product(tmp_path: Path) -> None:
    row = ROWS["resnet20"]
    libraries = ["numpy", "torch", "onednn", *(["jax"] if find_spec("jax") else [])]
    products = [compare.start(f"product_{name}", row, SETTINGS, tmp_path) for name in libraries]
    for product in products:
        product.close()
        assert product.values[0] == pytest.approx(products[0].values[0], rel=1e-3)
