"""Kernels that move elements, on the stand-in, against NumPy; and that their sources compile for GPUs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_gpu import rearrange
from cortex_gpu.kernels import Call, In, Memory, Out
from cortex_gpu.rearrange import cropped, padded, transposed
from tests.gpu import nvrtc
from tests.gpu.standin import Machine

TYPES = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
EDGES = {
    "line": ((3, 5, 2), ((1, 2),)),
    "image": ((2, 4, 5, 3), ((0, 1), (2, 0))),
    "volume": ((2, 3, 4, 2, 3), ((1, 0), (0, 0), (1, 2))),
}


def run(call: Call, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    import cupy

    a, y = cupy.asarray(x), cupy.empty(shape, x.dtype)
    call.bind(Memory([a], [y], None))()
    result: np.ndarray = y.get()
    return result


def numbers(shape: tuple[int, ...], itemsize: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 200, shape).astype(TYPES[itemsize])


@pytest.mark.parametrize("itemsize", [2, 4, 8])
@pytest.mark.parametrize("shape", [(1, 1), (3, 70), (33, 32), (65, 31), (100, 1)])
def test_a_matrix_is_transposed(machine: Machine, shape: tuple[int, int], itemsize: int) -> None:
    x = numbers(shape, itemsize)
    np.testing.assert_array_equal(run(transposed(*shape, itemsize, In(0), Out(0)), x, shape[::-1]), x.T)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("name", EDGES)
def test_an_edge_is_added_and_taken_away(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, name: str, wide: bool
) -> None:
    if wide:  # as arrays of 2^31 elements have it
        monkeypatch.setattr(rearrange, "WIDE", 1)
    shape, edge = EDGES[name]
    x = numbers(shape, 4)
    outer = np.pad(x, ((0, 0), *edge, (0, 0)))
    np.testing.assert_array_equal(run(padded(shape, edge, 4, In(0), Out(0)), x, outer.shape), outer)
    np.testing.assert_array_equal(run(cropped(shape, edge, 4, In(0), Out(0)), outer, shape), x)


@pytest.mark.skipif(nvrtc.library() is None, reason="the wheel nvidia-cuda-nvrtc-cu12 is not installed")
@pytest.mark.parametrize("architecture", nvrtc.ARCHITECTURES)
def test_the_sources_compile(monkeypatch: pytest.MonkeyPatch, architecture: str) -> None:
    places: tuple[Any, Any] = (In(0), Out(0))
    calls = [transposed(5, 6, itemsize, *places) for itemsize in (2, 4, 8)]
    for wide in (1, 1 << 31):
        monkeypatch.setattr(rearrange, "WIDE", wide)
        calls += [f((2, 3, 4, 5), ((1, 0), (0, 1)), 2, *places) for f in (padded, cropped)]
    for call in calls:
        assert nvrtc.compile_source(call.source.text, architecture)
