"""Views: where they lie, compared with NumPy's; a reshape copies only where NumPy must copy too."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

from cortex_compute.errors import ShapeError
from cortex_compute.numpy_backend.memory import ALIGNMENT, HostBuffer
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.views import Broadcast, Reshape, Slice, Transpose
from cortex_compute.types import TensorType, float32, float64

SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)
FULL = st.lists(st.integers(1, 4), max_size=4).map(tuple)


@st.composite
def arrays(draw: st.DrawFn, shapes: Any = FULL) -> np.ndarray:
    """A view with any order of axes, gaps, negative strides and repeated axes."""
    shape = draw(shapes)
    order = draw(st.permutations(range(len(shape))))
    gaps = [draw(st.integers(0, 1)) for _ in shape]
    base = np.arange(math.prod(shape[a] + gaps[a] for a in order), dtype=np.float32)
    x = base.reshape([shape[a] + gaps[a] for a in order]).transpose(np.argsort(order))
    x = x[(..., *(slice(0, n) for n in shape))]
    x = x[(..., *(slice(None, None, draw(st.sampled_from([1, -1]))) for _ in shape))]
    repeat = draw(st.integers(0, 3))
    return np.broadcast_to(x, (repeat + 1, *x.shape)) if repeat else x


def restrided(p: Primitive, x: np.ndarray) -> np.ndarray | None:
    """The view that `restride` describes; None where it asks for a copy."""
    answer = p.restride(x.shape, tuple(s // x.itemsize for s in x.strides))
    if answer is None:
        return None
    offset, strides = answer
    (t,) = p.infer(TensorType(x.shape))
    if 0 in t.shape:
        return np.empty(t.shape, x.dtype)
    base = np.ndarray(shape=(), dtype=x.dtype, buffer=_memory(x), offset=_start(x) + offset * x.itemsize)
    return as_strided(base, t.shape, [s * x.itemsize for s in strides])


def _memory(x: np.ndarray) -> np.ndarray:
    while x.base is not None:
        x = x.base
    return x


def _start(x: np.ndarray) -> int:
    return x.__array_interface__["data"][0] - _memory(x).__array_interface__["data"][0]


def reshaped_without_copy(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    y = x.reshape(shape)
    return y if np.may_share_memory(x, y) else None


@st.composite
def shapes_of(draw: st.DrawFn, size: int) -> tuple[int, ...]:
    """A shape with so many elements."""
    shape: list[int] = []
    while size > 1:
        n = draw(st.sampled_from([d for d in range(2, size + 1) if size % d == 0]))
        shape.append(n)
        size //= n
    if draw(st.booleans()):
        shape.insert(draw(st.integers(0, len(shape))), 1)
    return tuple(shape)


@given(arrays(), st.data())
@settings(max_examples=400)
def test_reshape_is_a_view_exactly_where_numpys_is(x: np.ndarray, data: st.DataObject) -> None:
    shape = data.draw(shapes_of(x.size))
    expected, found = reshaped_without_copy(x, shape), restrided(Reshape(shape), x)
    assert (expected is None) == (found is None)
    if expected is not None:
        np.testing.assert_array_equal(found, expected)


@given(arrays(SHAPES), st.data())
def test_transpose(x: np.ndarray, data: st.DataObject) -> None:
    axes = tuple(data.draw(st.permutations(range(x.ndim))))
    np.testing.assert_array_equal(restrided(Transpose(axes), x), x.transpose(axes))


@given(arrays(), st.data())
def test_slice(x: np.ndarray, data: st.DataObject) -> None:
    index = [
        data.draw(st.builds(slice, *[st.none() | st.integers(-5, 5)] * 2, st.sampled_from([1, 2, -1, -3])))
        for _ in x.shape
    ]
    runs = [range(*s.indices(n)) for s, n in zip(index, x.shape)]
    p = Slice(
        tuple(r.start if len(r) else 0 for r in runs),
        tuple(len(r) for r in runs),
        tuple(r.step for r in runs),
    )
    np.testing.assert_array_equal(restrided(p, x), x[tuple(index)])


@given(arrays(), st.data())
def test_broadcast(x: np.ndarray, data: st.DataObject) -> None:
    grown = [data.draw(st.integers(1, 3)) if n == 1 else n for n in x.shape]
    shape = (*data.draw(st.lists(st.integers(1, 3), max_size=2)), *grown)
    np.testing.assert_array_equal(restrided(Broadcast(shape), x), np.broadcast_to(x, shape))


def test_an_empty_reshape_is_a_view() -> None:
    assert Reshape((0, 7)).restride((2, 0), (0, 1)) is not None


@pytest.mark.parametrize(
    ("p", "message"),
    [
        (Reshape((5,)), r"x of shape \(2, 3\) has 6 elements, \(5,\) has 5"),
        (Reshape((-2, -3)), "has 6 elements"),
        (Transpose((0, 0)), r"axes \(0, 0\) are no order of the 2 axes"),
        (Slice((0, 1), (3, 2), (1, 1)), r"0 \+ 3 \* 1 leaves axis 0 of x \(2, 3\)"),
        (Slice((0, 1), (1, 3), (1, -1)), "leaves axis 1"),
        (Slice((0,), (1,), (1,)), r"x has shape \(2, 3\)"),
        (Broadcast((2, 4)), "do not broadcast"),
        (Broadcast((3,)), r"x of shape \(2, 3\) does not broadcast to \(3,\)"),
    ],
)
def test_rejections(p: Primitive, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        p.infer(TensorType((2, 3)))


# The memory that views lie in


@given(arrays(SHAPES))
def test_a_buffer_shows_any_strides(x: np.ndarray) -> None:
    strides = tuple(s // x.itemsize for s in x.strides)
    reach = [(n - 1) * s for n, s in zip(x.shape, strides)]
    low, high = sum(min(0, r) for r in reach), sum(max(0, r) for r in reach)
    buffer = HostBuffer((high - low + 4) * 4 if x.size else 16)
    view = buffer.view(TensorType(x.shape), -low * 4 + 8 if x.size else 0, strides)
    view[...] = x
    np.testing.assert_array_equal(view, x)
    assert view.flags.writeable


def test_a_buffer_is_aligned_and_zeroed() -> None:
    buffer = HostBuffer(100)
    view = buffer.view(TensorType((25,)))
    assert view.ctypes.data % ALIGNMENT == 0
    assert not view.any()


def test_a_buffer_shows_parts_of_itself() -> None:
    buffer = HostBuffer(64)
    whole = buffer.view(TensorType((16,), float32))
    whole[:] = np.arange(16)
    np.testing.assert_array_equal(buffer.view(TensorType((2, 3)), 8), [[2, 3, 4], [5, 6, 7]])
    np.testing.assert_array_equal(buffer.view(TensorType((3,)), 60, (-2,)), [15, 13, 11])
    assert buffer.view(TensorType((), float64), 8).shape == ()
    assert buffer.view(TensorType((0, 4)), 64).shape == (0, 4)
    assert buffer.view(TensorType((0, 4)), 64, (4, 1)).shape == (0, 4)
