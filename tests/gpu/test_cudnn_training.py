"""Networks train with their convolutions on cuDNN, as the stand-in computes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cortex_compute import backends
from cortex_core.compiled import Compiled
from cortex_core.network import network
from cortex_gpu.backend import CupyBackend, Gpu
from tests.gpu.standin import Machine
from tests.gpu.standin.cudnn import library

EXAMPLES = Path(__file__).parents[2] / "examples"
ALWAYS = Gpu(policy="always")


def cupy_with_cudnn() -> CupyBackend:
    """The backend over the stand-ins for CuPy and cuDNN."""
    from tests.gpu.standin.backend import cupy_backend

    return cupy_backend(replace(ALWAYS, cudnn=library()))


@pytest.fixture
def cupy(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setitem(backends.BUILT_IN, "cupy", "tests.gpu.test_cudnn_training:cupy_with_cudnn")
    backends._create.cache_clear()
    yield "cupy"
    backends._create.cache_clear()


@pytest.mark.parametrize("name", ["lenet", "residual"])  # the second pads one side before a stride
def test_a_network_trains_with_cudnn(cupy: str, name: str) -> None:
    described: dict[str, Any] = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8"))
    rng, shape = np.random.default_rng(0), described["inputs"]["image"]
    backend: Any = backends.get(cupy)
    here, there = (Compiled(network(described), b) for b in (backend, backends.get("numpy")))
    for _ in range(3):  # the first by single launches, the others as a captured graph
        batch = {"image": rng.random((4, *shape), dtype=np.float32), "label": rng.integers(0, 10, 4)}
        np.testing.assert_allclose(here.run(batch)["loss"], there.run(batch)["loss"], rtol=1e-4, atol=1e-5)
    ways = {way for (primitive, way) in backend.taken if primitive.startswith("Conv")}
    assert ways == {"cudnn"}
    assert not backend.gpu.cudnn.c.errors
