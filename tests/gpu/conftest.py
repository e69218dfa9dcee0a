"""The GPU of these tests: a stand-in that runs generated sources on the CPU."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from cortex_compute import backends
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


@pytest.fixture
def everywhere(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The backend with stand-ins for all libraries, as the one that networks get by its name."""
    monkeypatch.setitem(backends.BUILT_IN, "cupy", "tests.gpu.standin.backend:with_libraries")
    backends._create.cache_clear()
    yield backends.get("cupy")
    backends._create.cache_clear()
