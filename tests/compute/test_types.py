"""Data types, promotion, broadcasting, axes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex_compute.errors import DTypeError, ShapeError
from cortex_compute.types import (
    DTYPES,
    DType,
    TensorType,
    bfloat16,
    bool_,
    broadcast,
    contiguous_strides,
    dtype,
    float16,
    float32,
    float64,
    int32,
    int64,
    normalize_axes,
    normalize_axis,
    promote,
    uint8,
)

SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@pytest.mark.parametrize("name", DTYPES)
def test_there_is_one_object_for_each_name(name: str) -> None:
    d = dtype(name)
    assert dtype(d) is d
    assert pickle.loads(pickle.dumps(d)) is d
    if name != "bfloat16":
        assert dtype(np.dtype(name)) is d
        assert d.itemsize == np.dtype(name).itemsize


def test_dtype_of_python_and_numpy_types() -> None:
    assert dtype(np.float32) is float32
    assert dtype(float) is float64
    assert dtype(">f4" if np.little_endian is False else "<f4") is float32
    assert bfloat16.storage == np.uint16
    assert (bfloat16.eps, float32.eps, int32.eps) == (2**-7, 2**-23, 0.0)


@pytest.mark.parametrize("bad", ["float31", "complex64", object(), None.__class__])
def test_an_unknown_dtype_lists_the_known(bad: object) -> None:
    with pytest.raises(DTypeError, match=r"unknown data type .* known are bool, int8"):
        dtype(bad)


@pytest.mark.parametrize(
    ("arrays", "literals", "expected"),
    [
        ([float32, float32], [], float32),
        ([bool_, int32], [], int32),
        ([int64, float32], [], float32),  # NumPy would give float64
        ([int64, float16], [], float16),
        ([bool_, float64], [], float64),
        ([float32], ["float"], float32),  # literals are weak
        ([float16], ["float", "int"], float16),
        ([int32], ["int"], int32),
        ([uint8], ["bool"], uint8),
        ([int32], ["float"], float32),  # a float where no array is one: the default float
        ([bool_], ["int"], int64),
        ([], ["bool"], bool_),
        ([], ["int", "float"], float32),
    ],
)
def test_promotion(arrays: list[DType], literals: list[str], expected: DType) -> None:
    assert promote(arrays, literals) is expected
    assert promote(reversed(arrays), literals) is expected


@pytest.mark.parametrize("pair", [(float32, float64), (float16, bfloat16), (int32, int64), (uint8, int32)])
def test_two_widths_of_one_kind_do_not_mix(pair: tuple[DType, DType]) -> None:
    with pytest.raises(DTypeError, match=f"{pair[0]} and {pair[1]} do not mix: use cast"):
        promote(pair)


def test_promotion_of_nothing() -> None:
    with pytest.raises(DTypeError, match="at least one operand"):
        promote([])


@given(SHAPES, SHAPES, SHAPES)
def test_broadcast_is_numpys(a: tuple[int, ...], b: tuple[int, ...], c: tuple[int, ...]) -> None:
    try:
        expected = np.broadcast_shapes(a, b, c)
    except ValueError:
        with pytest.raises(ShapeError, match="do not broadcast"):
            broadcast((a, b, c))
    else:
        assert broadcast((a, b, c)) == expected


def test_a_failed_broadcast_names_both_shapes() -> None:
    with pytest.raises(ShapeError, match=r"Gemm: leading axes: shapes \(2, 3\) and \(4,\) do not broadcast"):
        broadcast([(2, 1), (1, 3), (4,)], "Gemm: leading axes")


def test_axes() -> None:
    assert normalize_axis(-1, 3, "sum") == 2
    assert normalize_axes(None, 3, "sum") == (0, 1, 2)
    assert normalize_axes((-1, 0), 3, "sum") == (0, 2)
    assert normalize_axes(1, 3, "sum") == (1,)
    assert normalize_axes((), 3, "sum") == ()


@pytest.mark.parametrize("axis", [3, -4])
def test_an_axis_that_does_not_exist(axis: int) -> None:
    with pytest.raises(ShapeError, match=f"sum: axis {axis} does not exist in an array of 3 axes"):
        normalize_axis(axis, 3, "sum")


def test_an_axis_given_twice() -> None:
    with pytest.raises(ShapeError, match="one axis twice"):
        normalize_axes((0, -3), 3, "sum")


def test_tensor_types() -> None:
    t = TensorType((2, 3, 4), float64)
    assert (t.rank, t.size, t.nbytes, str(t)) == (3, 24, 192, "float64[2, 3, 4]")
    assert TensorType(()).size == 1
    assert TensorType((0, 5)).nbytes == 0


@given(SHAPES.filter(lambda s: 0 not in s))
def test_contiguous_strides_are_numpys(shape: tuple[int, ...]) -> None:
    assert contiguous_strides(shape) == np.empty(shape, np.uint8).strides
