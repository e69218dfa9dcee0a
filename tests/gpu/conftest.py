"""The GPU of these tests: a stand-in that runs generated sources on the CPU."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from cortex_gpu.backend import CupyBackend
from tests.gpu.standin import Machine, installed


@pytest.fixture
def machine() -> Iterator[Machine]:
    """The stand-in for CuPy in its place; what it holds can be set and its counters read."""
    if shutil.which("g++") is None:
        pytest.skip("the stand-in for a GPU compiles kernels with g++, which is not installed")
    with installed() as found:
        yield found


@pytest.fixture
def backend(machine: Machine) -> CupyBackend:
    """The cupy backend over the stand-in."""
    from tests.gpu.standin.backend import cupy_backend

    return cupy_backend()
