"""Edges of images and turned matrices, on the stand-in, against NumPy; their sources compile for GPUs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.types import DType, bfloat16, float32, float64
from cortex_gpu import rearrange
from cortex_gpu.kernels import Call, In, Memory, Out
from cortex_gpu.rearrange import Edge, cropped, padded
from cortex_gpu.transpose import matrix_transposed
from tests.gpu import nvrtc
from tests.gpu.standin import Machine

TYPES = {2: np.uint16, 4: np.uint32, 8: np.uint64}
EDGES = {
    "line": ((3, 5, 2), ((1, 2),)),
    "image": ((2, 4, 5, 3), ((0, 1), (2, 0))),
    "volume": ((2, 3, 4, 2, 3), ((1, 0), (0, 0), (1, 2))),
    "words": ((2, 4, 5, 8), ((0, 1), (2, 0))),  # pixels of 16 bytes, or several
}


def run(call: Call | Edge, x: np.ndarray, shape: tuple[int, ...], shift: int = 0) -> np.ndarray:
    """The result, ``shift`` bytes behind what is aligned; so is x."""
    import cupy

    memory = cupy.cuda.alloc(x.nbytes + shift) + shift
    a, y = cupy.ndarray(x.shape, x.dtype, memory), cupy.empty(shape, x.dtype)
    a.set(x)
    call.bind(Memory([a], [y], None))()
    result: np.ndarray = y.get()
    return result


def numbers(shape: tuple[int, ...], itemsize: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 200, shape).astype(TYPES[itemsize])


@pytest.mark.parametrize("d", [bfloat16, float32, float64])
@pytest.mark.parametrize("shape", [(1, 1), (3, 70), (33, 32), (65, 31), (100, 1)])
def test_a_matrix_is_transposed(machine: Machine, shape: tuple[int, int], d: DType) -> None:
    x = numbers(shape, d.itemsize)
    np.testing.assert_array_equal(run(matrix_transposed(*shape, d, In(0), Out(0)), x, shape[::-1]), x.T)


@pytest.mark.parametrize("shift", [0, 8])
@pytest.mark.parametrize("itemsize", [2, 4, 8])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("name", EDGES)
def test_an_edge_is_added_and_taken_away(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, name: str, wide: bool, itemsize: int, shift: int
) -> None:
    if wide:  # as arrays of 2^31 elements have it
        monkeypatch.setattr(rearrange, "WIDE", 1)
    shape, edge = EDGES[name]
    x, places = numbers(shape, itemsize), (In(0), Out(0))
    outer = np.pad(x, ((0, 0), *edge, (0, 0)))
    np.testing.assert_array_equal(run(padded(shape, edge, itemsize, *places), x, outer.shape, shift), outer)
    np.testing.assert_array_equal(run(cropped(shape, edge, itemsize, *places), outer, shape, shift), x)


@pytest.mark.parametrize(("channels", "itemsize", "words"), [(8, 2, 1), (12, 4, 3), (3, 4, 0), (2, 8, 1)])
def test_pixels_are_moved_by_16_bytes_where_they_divide(channels: int, itemsize: int, words: int) -> None:
    call = padded((2, 3, 3, channels), ((0, 1), (0, 1)), itemsize, In(0), Out(0)).wide
    assert (0 if call is None else call.arguments[3]) == words


@pytest.mark.skipif(nvrtc.library() is None, reason="the wheel nvidia-cuda-nvrtc-cu12 is not installed")
@pytest.mark.parametrize("architecture", nvrtc.ARCHITECTURES)
def test_the_sources_compile(monkeypatch: pytest.MonkeyPatch, architecture: str) -> None:
    places: tuple[Any, Any] = (In(0), Out(0))
    steps: list[Call | Edge] = [matrix_transposed(5, 6, d, *places) for d in (bfloat16, float32, float64)]
    for wide in (1, 1 << 31):
        monkeypatch.setattr(rearrange, "WIDE", wide)
        steps += [f((2, 3, 4, 8), ((1, 0), (0, 1)), 2, *places) for f in (padded, cropped)]
    for source in (source for step in steps for source in step.sources):
        assert nvrtc.compile_source(source.text, architecture)
