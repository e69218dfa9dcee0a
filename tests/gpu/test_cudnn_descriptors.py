"""cuDNN's descriptors: made once, told the right numbers, destroyed; what the real library says of them."""

from __future__ import annotations

import gc
from ctypes import byref, c_int
from typing import Any

import pytest

from cortex_compute.errors import BackendError
from cortex_compute.types import bfloat16, float16, float32, float64
from cortex_gpu.cudnn import constants as c
from cortex_gpu.cudnn import descriptors as d
from cortex_gpu.cudnn.convolution import Problem
from cortex_gpu.cudnn.library import Library, UnsupportedError, load
from tests.gpu.standin.cudnn import Cudnn


@pytest.fixture
def lib() -> Library:
    return Library(Cudnn(), "stand-in")


@pytest.fixture
def real() -> Library:
    """Descriptors need no GPU."""
    try:
        return load()
    except BackendError as error:
        pytest.skip(f"cuDNN is not installed: {error}")


def told(lib: Library, descriptor: d.Descriptor) -> dict[str, Any]:
    return lib.c.live[descriptor._as_parameter_.value].facts  # type: ignore[no-any-return]


def test_equal_descriptors_are_one_and_are_made_once(lib: Library) -> None:
    one, two = (d.tensor(lib, (2, 3, 4, 5), (60, 20, 5, 1), float32) for _ in range(2))
    other = d.tensor(lib, (2, 3, 4, 5), (60, 1, 15, 3), float32)
    assert one is two
    assert other is not one
    assert lib.c.calls["CreateTensorDescriptor"] == 2


def test_a_descriptor_lives_as_long_as_somebody_holds_it(lib: Library) -> None:
    held = d.image(lib, (2, 3, 4, 5), float32, True)
    d.filters(lib, (6, 3, 2, 2), float32, True)
    d.made.cache_clear()
    gc.collect()
    assert lib.c.left() == ["Tensor"]
    del held
    gc.collect()
    assert lib.c.left() == []


def test_an_error_leaves_no_descriptor_behind(lib: Library) -> None:
    with pytest.raises(BackendError, match="cudnnSetTensorNdDescriptor: CUDNN_STATUS_BAD_PARAM"):
        d.tensor(lib, (0, 3, 4, 5), (60, 20, 5, 1), float32)
    lib.c.failing["SetConvolutionGroupCount"] = 5000
    with pytest.raises(BackendError, match="EXECUTION_FAILED"):
        d.convolution(lib, (0, 0), (1, 1), (1, 1), 2, float32, c.FMA_MATH)
    gc.collect()
    assert lib.c.left() == []


@pytest.mark.parametrize("size", [1 << 31, 1 << 32, (1 << 32) + 5])
def test_a_size_that_an_int_does_not_hold_is_refused(lib: Library, size: int) -> None:
    with pytest.raises(UnsupportedError, match=f"32 bits, too few for .*{size}"):
        d.row(lib, (size,), float32)
    with pytest.raises(UnsupportedError, match="32 bits"):  # its strides
        d.image(lib, (2, size >> 15, 1 << 10, 1 << 5), float32, True)
    gc.collect()
    assert lib.c.left() == []


def test_images_lie_channels_last_or_first(lib: Library) -> None:
    for channels_last, strides in ((True, (60, 1, 15, 3)), (False, (60, 20, 5, 1))):
        image = told(lib, d.image(lib, (2, 3, 4, 5), float16, channels_last))["tensor"]
        assert (image.dims, image.strides, image.dtype) == ((2, 3, 4, 5), strides, float16)
    volume = told(lib, d.image(lib, (2, 3, 4, 5, 6), float32, True))["tensor"]
    assert volume.strides == (360, 1, 90, 18, 3)


@pytest.mark.parametrize(
    ("dtype", "tf32", "compute", "math"),
    [
        (float32, False, 0, c.FMA_MATH),
        (float32, True, 0, c.DEFAULT_MATH),
        (float64, True, 1, c.FMA_MATH),
        (float16, False, 0, c.TENSOR_OP_MATH),
        (bfloat16, False, 0, c.TENSOR_OP_MATH),
    ],
)
def test_a_convolution_adds_up_in_the_right_type(
    lib: Library, dtype: Any, tf32: bool, compute: int, math: int
) -> None:
    sizes = (2, 4, 5, 5), (6, 2, 3, 3), (2, 6, 5, 5)
    problem = Problem("Forward", *sizes, (1, 1), (1, 1), (1, 1), 2, dtype, tf32=tf32)
    facts = told(lib, problem.described(lib, problem.math)[2])
    assert (facts["compute"], facts["math"], facts["groups"]) == (compute, math, 2)


# The numbers of the headers, as the real library takes them.


def test_the_real_library_accepts_every_descriptor(real: Library) -> None:
    for dtype in c.DTYPES:
        for channels_last in (True, False):
            d.image(real, (2, 4, 5, 6), dtype, channels_last)
            d.filters(real, (6, 2, 3, 3), dtype, channels_last)
            d.filters(real, (6, 2, 3, 3, 2), dtype, channels_last)
        for math in (c.DEFAULT_MATH, c.TENSOR_OP_MATH, c.FMA_MATH):
            d.convolution(real, (1, 0), (1, 2), (1, 1), 2, dtype, math)
    for mode in c.POOLING.values():
        d.pooling(real, mode, (2, 3), (0, 1), (2, 2))
    for name in c.ACTIVATIONS.values():
        d.activation(real, name, 1.0)
    d.lrn(real, 5, 1e-4, 0.75, 2.0)


def test_the_real_library_reads_back_what_it_was_told(real: Library) -> None:
    array = d.image(real, (2, 3, 4, 5), bfloat16, True)
    kind, rank, dims, strides = c_int(), c_int(), d.ints([0] * 8), d.ints([0] * 8)
    real.call("GetTensorNdDescriptor", array, 8, byref(kind), byref(rank), dims, strides)
    assert (kind.value, rank.value) == (c.DTYPES[bfloat16], 4)
    assert (list(dims[:4]), list(strides[:4])) == ([2, 3, 4, 5], [60, 1, 15, 3])


def test_the_real_library_names_what_it_refuses(real: Library) -> None:
    with pytest.raises(BackendError, match=r"cudnnSetLRNDescriptor: CUDNN_STATUS_BAD_PARAM \(2000\): n < 1"):
        d.lrn(real, 50, 1e-4, 0.75, 2.0)
