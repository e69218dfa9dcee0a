"""Whole networks on the generated kernels, layer by layer beside NumPy's backend."""

from __future__ import annotations

from typing import Any

import pytest

from cortex_compute.numpy_backend.backend import NumpyBackend
from cortex_core.verify.same import same
from cortex_gpu.backend import CupyBackend

TOKENS: dict[str, Any] = {
    "cortex": 1,
    "name": "tokens",
    "inputs": {"words": {"shape": [6], "dtype": "int64"}},
    "layers": [
        {"embedding": {"tokens": 400, "units": 8}},
        "layer_norm",
        {"dropout": 0.2},
        "flatten",
        {"dense": {"units": 3, "id": "kind"}},
    ],
    "loss": {"softmax_cross_entropy": {"of": "kind", "target": "label"}},
}
IMAGES: dict[str, Any] = {
    "cortex": 1,
    "name": "images",
    "inputs": {"image": [8, 8, 1]},
    "layers": [
        {"conv2d": {"filters": 6, "kernel": 3, "padding": "same", "use_bias": False}},
        "batch_norm",
        "relu",
        {"max_pool2d": 2},
        {"dropout": 0.3},
        "flatten",
        {"dense": {"units": 10, "id": "digit"}},
    ],
    "loss": {"softmax_cross_entropy": {"of": "digit", "target": "label"}},
    "train": {"data": "digits"},
}


@pytest.mark.parametrize("described", [TOKENS, IMAGES], ids=lambda d: d["name"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_network_computes_what_it_does_on_numpy(
    backend: CupyBackend, described: dict[str, Any], precision: str
) -> None:
    found = same(described, NumpyBackend(), backend, precision, steps=2)
    assert len(found.results) > 12
    assert found.departure is None
    assert sum(backend.taken.values()) > 10
