"""LeNet and ResNet-20 against the stand-ins for CuPy, cuDNN and cuBLASLt: plan, capture, numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute import backends
from cortex_compute.protocol import Backend
from cortex_core.compiled import Compiled, Entry
from cortex_core.network import Network, network
from cortex_core.step import types_of
from cortex_gpu.backend import CupyBackend
from cortex_gpu.kernels import GpuKernel
from tests.gpu.standin import Machine
from tests.gpu.test_sources import failures, needs_nvrtc

EXAMPLES = Path(__file__).parents[2] / "examples"
LENET, RESNET = EXAMPLES / "lenet.yaml", EXAMPLES / "networks" / "resnet20.yaml"
STEPS = 3  # the first by single launches, the second captured; Adam magnifies rounding in later ones
EQUAL = {"rtol": 1e-4, "atol": 1e-5}  # float32 in other orders of summation


@pytest.fixture
def libraries(machine: Machine) -> CupyBackend:
    """The backend with stand-ins for cuDNN and cuBLASLt, which check what they are called with."""
    from tests.gpu.standin.backend import with_libraries

    return with_libraries()


def batch(made: Network, size: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        name: rng.random(t.shape, np.float32) if t.dtype.kind == "float" else rng.integers(0, 10, t.shape)
        for name, t in types_of(made, size).items()
    }


def trained(spec: Path, backend: Backend, size: int, *overrides: str) -> tuple[list[float], Network]:
    made = network(spec, overrides)
    compiled, arrays = Compiled(made, backend), batch(made, size)
    return [float(compiled.run(arrays)["loss"]) for _ in range(STEPS)], made


@pytest.mark.parametrize(("spec", "size"), [(LENET, 4), (RESNET, 2)], ids=["lenet", "resnet20"])
def test_the_numbers_of_the_cpu(libraries: CupyBackend, spec: Path, size: int) -> None:
    found, _ = trained(spec, libraries, size)
    wanted, _ = trained(spec, backends.get("numpy"), size)
    np.testing.assert_allclose(found, wanted, **EQUAL)
    ways = {("Conv", "cudnn"), ("ConvInputGrad", "cudnn"), ("ConvKernelGrad", "cudnn"), ("Gemm", "cublaslt")}
    assert ways <= set(libraries.taken)


def entry_of(spec: Path, backend: Backend, size: int, *overrides: str) -> tuple[Compiled, Entry, Network]:
    made = network(spec, overrides)
    compiled = Compiled(made, backend)
    return compiled, compiled.entry(compiled.types(size)), made


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_of_resnet_is_one_launch(libraries: CupyBackend, machine: Machine, precision: str) -> None:
    compiled, entry, made = entry_of(RESNET, libraries, 2, f"train.precision={precision}")
    arrays = batch(made, 2)
    for _ in range(2):
        compiled.launch(entry, arrays, results=False)
    graphs = [launch for launch in entry.program._spans.values() if launch is not None]
    assert len(graphs) == 1
    machine.allocations = machine.synchronisations = machine.launches = 0
    compiled.launch(entry, arrays, results=False)
    assert (machine.allocations, machine.synchronisations, machine.launches) == (0, 0, 1)


@needs_nvrtc
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("spec", [LENET, RESNET], ids=["lenet", "resnet20"])
def test_every_source_compiles(libraries: CupyBackend, spec: Path, precision: str) -> None:
    compiled = Compiled(network(spec, [f"train.precision={precision}"]), libraries)
    plan, _ = compiled.plan(compiled.types(64))
    kernels: list[Any] = [x.offer.build() for x in plan.instructions]
    texts = {s.text: s.name for k in kernels if isinstance(k, GpuKernel) for s in k.sources}
    assert len(texts) > 10
    bad = failures(texts)
    assert not bad, "\n".join(bad)
