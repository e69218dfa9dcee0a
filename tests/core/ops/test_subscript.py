"""Indexing and assignment: NumPy's, in any mixture; gradients where a place is taken twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cortex_compute.errors import DTypeError, PlaceError, ShapeError
from cortex_compute.types import TensorType, bool_, float32, int64
from cortex_core.graph.value import input_value
from cortex_core.ops.subscript import assign, getitem, nonzero
from cortex_core.ops.table import face
from cortex_core.tensor import Tensor
from tests.core.ops.gradients import check_gradients

SHAPES = [(), (3,), (2, 3), (3, 1, 4), (2, 3, 2, 2)]
X = np.arange(24.0).reshape(2, 3, 4)


@st.composite
def keys(draw: Any, shape: tuple[int, ...]) -> Any:
    """A key of NumPy: every kind of index, in any order."""
    parts: list[Any] = []
    axis = 0
    common = draw(st.sampled_from([(), (2,), (1, 2), (0,)]))
    while axis < len(shape):
        n = shape[axis]
        kind = draw(
            st.sampled_from(["int", "slice", "slice", "array", "array", "mask", "none", "dots", "end"])
        )
        if kind == "int":
            parts.append(draw(st.integers(-n, n - 1)))
        elif kind == "slice":
            step = draw(st.sampled_from([None, 1, 2, -1, -2]))
            parts.append(
                slice(draw(st.none() | st.integers(-4, 4)), draw(st.none() | st.integers(-4, 4)), step)
            )
        elif kind == "array":
            size = int(np.prod(common))
            ids = draw(st.lists(st.integers(-n, n - 1), min_size=size, max_size=size))
            parts.append(np.array(ids, np.int64).reshape(common))
        elif kind == "mask" and not any(isinstance(p, np.ndarray) for p in parts):
            many = draw(st.integers(1, min(2, len(shape) - axis)))
            sizes = shape[axis : axis + many]
            truth = draw(st.lists(st.booleans(), min_size=int(np.prod(sizes)), max_size=int(np.prod(sizes))))
            parts.append(np.array(truth, bool).reshape(sizes))
            axis += many - 1
            common = (int(parts[-1].sum()),)
        elif kind == "none":
            parts.append(None)
            continue
        elif kind == "dots" and Ellipsis not in [p for p in parts if p is Ellipsis]:
            parts.append(Ellipsis)
            axis += draw(st.integers(0, len(shape) - axis))
            continue
        else:
            break
        axis += 1
    return tuple(parts)


@st.composite
def cases(draw: Any) -> Any:
    shape = draw(st.sampled_from(SHAPES))
    return shape, draw(keys(shape))


@settings(max_examples=300, deadline=None)
@given(cases())
@example(((2, 3, 4), (slice(None), np.array([0, 1]), Ellipsis, np.array([1, 2]))))
@example(((2, 3, 4), (0, slice(None), np.array([0, 1]))))
@example(((3, 4), (True,)))
@example(((3, 4), (np.bool_(False), 1)))
def test_any_key_is_numpys(case: Any) -> None:
    shape, key = case
    x = np.arange(float(np.prod(shape))).reshape(shape) + 1
    try:
        wanted = x[key]
    except IndexError:
        with pytest.raises((ShapeError, DTypeError)):
            getitem(Tensor(x), key)
        return
    leaf = Tensor(x, requires_grad=True)
    y = getitem(leaf, key)
    np.testing.assert_array_equal(y.numpy(), wanted)
    weights = np.arange(1.0, wanted.size + 1).reshape(wanted.shape)
    (y * Tensor(weights)).sum().backward()
    added = np.zeros(shape)
    np.add.at(added, key, weights)
    np.testing.assert_array_equal(np.zeros(shape) if leaf.grad is None else leaf.grad.numpy(), added)


@settings(max_examples=200, deadline=None)
@given(cases(), st.booleans())
def test_assignment_is_numpys(case: Any, whole: bool) -> None:
    shape, key = case
    x = np.arange(float(np.prod(shape))).reshape(shape)
    wanted = x.copy()
    try:
        place = x[key].shape
    except IndexError:
        with pytest.raises(PlaceError):
            assign(Tensor(x), key, 1.0)
        return
    value = -1.0 - np.arange(float(np.prod(place))).reshape(place) if whole else np.array(-1.0)
    wanted[key] = value
    base, v = Tensor(x, requires_grad=True), Tensor(value, requires_grad=True)
    y = assign(base, key, v)
    np.testing.assert_array_equal(y.numpy(), wanted)
    (y * 1.0).sum().backward()
    kept = np.ones(shape)
    kept[key] = 0
    np.testing.assert_array_equal(base.grad.numpy(), kept)
    found = 0.0 if v.grad is None else v.grad.numpy().sum()
    assert found == (1 - kept).sum()


def test_derivatives_of_a_place_taken_twice() -> None:
    rows = np.array([1, 0, 1])
    check_gradients(lambda x: getitem(x * x, (slice(None), rows, [3, 0, 3])), X)
    check_gradients(lambda x, v: assign(x * x, ([0, 1, 0], 1), v * v), X, np.arange(12.0).reshape(3, 4) / 7)
    check_gradients(lambda x, v: assign(x, X > 5.0, v * v), X, np.array(0.5))


def test_assignment_takes_the_type_of_the_base() -> None:
    y = assign(Tensor([1.0, 2.0]), 0, np.array(7))
    assert y.dtype is float32
    np.testing.assert_array_equal(y.numpy(), [7, 2])
    np.testing.assert_array_equal(assign(Tensor([1, 2]), slice(None), [3, 4]).numpy(), [3, 4])


def test_symbolic_places() -> None:
    x = input_value("x", TensorType((4, 5)))
    ids, mask = input_value("i", TensorType((4,), int64)), input_value("m", TensorType((4, 5), bool_))
    assert x[np.arange(4), ids].shape == (4,)
    assert x[ids, 1:3].shape == (4, 2)
    assert assign(x, mask, 0.0).shape == (4, 5)
    for wrong in (lambda: x[mask], lambda: nonzero(mask), lambda: face()["masked_select"](x, mask)):
        with pytest.raises(DTypeError, match="where"):
            wrong()
    with pytest.raises(DTypeError, match="where"):
        assign(x, ids, 0.0)
    with pytest.raises(DTypeError, match="where"):
        assign(x, mask, x)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda x: x[0, 0, 0, 0], PlaceError, r"4 indices for shape \(2, 3, 4\)"),
        (lambda x: x[[0], 0, 0, 0], PlaceError, r"4 indices for shape \(2, 3, 4\)"),
        (lambda x: x[2], PlaceError, "no place 2 on axis 0"),
        (lambda x: x[:, [0, -4]], PlaceError, r"no place -4 on axis 1 of shape \(2, 3, 4\)"),
        (lambda x: x[[0, 1], [0, 1, 2]], ShapeError, r"index arrays: shapes \(2,\) and \(3,\)"),
        (lambda x: x[np.ones((2, 2), bool)], ShapeError, r"a mask of shape \(2, 2\) at axis 0"),
        (lambda x: x[np.zeros(2)], DTypeError, "array of float64"),
        (lambda x: x["a"], DTypeError, "'a'"),
        (lambda x: x[1.5], DTypeError, "1.5"),
        (lambda x: x[..., 0, ...], ShapeError, "one Ellipsis"),
        (lambda x: assign(x, (0, 0), np.zeros(3)), ShapeError, r"\(4,\).*\(3,\)"),
        (
            lambda x: assign(x, 0, np.zeros((2, 3, 4))),
            ShapeError,
            r"\(2, 3, 4\) at a place of shape \(3, 4\)",
        ),
        (lambda x: assign(x, 5, 0.0), PlaceError, "index 5"),
    ],
)
def test_rejections(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make(Tensor(X))


def test_a_place_outside_is_an_index_error_too() -> None:
    with pytest.raises(IndexError):
        Tensor(X)[7]
    assert len(list(Tensor(X))) == 2
