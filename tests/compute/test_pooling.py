"""Pooling: who wins, what a mean divides by, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import DTypeError, ShapeError
from cortex_compute.primitives.base import OPAQUE
from cortex_compute.primitives.pooling import AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad, MaxPoolPick
from cortex_compute.protocol import Layout, Offer, Operand, Refusal
from cortex_compute.types import TensorType, dtype, int32
from tests.compute.kernels import BACKEND, STREAM, compute

RNG = np.random.default_rng(12)


def line(values: Any) -> np.ndarray:
    """Numbers as one line with one channel: (1, L, 1)."""
    return np.array(values, np.float32).reshape(1, -1, 1)


def offered(p: Any, *arrays: np.ndarray | None) -> Offer:
    types = [OPAQUE if a is None else TensorType(a.shape, dtype(a.dtype)) for a in arrays]
    offer = BACKEND.offer(p, [Operand(t) for t in types])
    assert isinstance(offer, Offer)
    return offer


def pooled(p: MaxPool, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The maxima and the residual."""
    offer = offered(p, x)
    y, residual = np.empty(p.pooled(TensorType(x.shape)).shape, x.dtype), np.empty(offer.residual, np.uint8)
    offer.build().bind([x], [y, residual], np.empty(offer.workspace, np.uint8))(STREAM)
    return y, residual


def after(p: Any, x: np.ndarray, last: np.ndarray) -> np.ndarray:
    """MaxPoolGrad of g, or MaxPoolPick of v; x and y are not given, as the offer does not read them."""
    y, residual = pooled(MaxPool(p.size, p.stride, p.padding, p.ceil), x)
    offer = offered(p, x, y, None, last)
    assert offer.reads == {2, 3}
    out = np.full(x.shape if isinstance(p, MaxPoolGrad) else y.shape, 77, x.dtype)
    offer.build().bind([None, None, residual, last], [out], np.empty(offer.workspace, np.uint8))(STREAM)
    return out


def test_the_largest_of_each_window() -> None:
    y, _ = pooled(MaxPool((2,), (2,), ((0, 0),)), line([3, 1, -5, -4, 9]))
    assert y.ravel().tolist() == [3, -4]


@pytest.mark.parametrize("size", [80, 40])
def test_a_mean_of_float16_is_summed_in_float32(size: int) -> None:
    """The sum of the window is beyond float16, and of 6400 equal numbers it would stand still long before."""
    (y,) = compute(
        AvgPool((size, size), (size, size), ((0, 0),) * 2), np.full((1, 80, 80, 2), 50, np.float16)
    )
    np.testing.assert_array_equal(y, np.full(y.shape, 50, np.float16))


def test_padding_never_wins() -> None:
    y, _ = pooled(MaxPool((3,), (2,), ((1, 1),)), line([-3, -1, -5, -4]))
    assert y.ravel().tolist() == [-1, -1]


def test_a_window_with_a_nan_gives_nan() -> None:
    x = line([1, np.nan, 2, np.inf, -np.inf, -np.inf, np.nan, 5])
    y, _ = pooled(MaxPool((2,), (2,), ((0, 0),)), x)
    np.testing.assert_array_equal(y.ravel(), [np.nan, np.inf, -np.inf, np.nan])


def test_the_first_of_equals_gets_the_gradient() -> None:
    x = np.array([[1, 2, 2], [2, 2, 0], [2, 0, 0]], np.float32).reshape(1, 3, 3, 1)
    p = MaxPoolGrad((2, 2), (1, 1), ((0, 0), (0, 0)))
    g = np.array([[10, 20], [30, 40]], np.float32).reshape(1, 2, 2, 1)
    assert after(p, x, g)[0, ..., 0].tolist() == [[0, 30, 0], [30, 40, 0], [0, 0, 0]]


def test_a_window_of_minus_infinity_gives_its_gradient_to_an_element() -> None:
    p = MaxPoolGrad((3,), (2,), ((1, 1),))
    assert after(p, line([-np.inf] * 4), line([5, 7])).ravel().tolist() == [5, 7, 0, 0]


def test_an_infinite_gradient_goes_to_the_winner_alone() -> None:
    x = line([1, 2, 3, 0])
    assert after(MaxPoolGrad((2,), (2,), ((0, 0),)), x, line([np.inf, -np.inf])).ravel().tolist() == [
        0, np.inf, -np.inf, 0,
    ]  # fmt: skip
    dx = after(MaxPoolGrad((2,), (1,), ((0, 0),)), x, line([np.nan, 1, 1]))
    np.testing.assert_array_equal(dx.ravel(), [0, np.nan, 2, 0])


def test_what_no_window_sees_has_no_gradient() -> None:
    dx = after(MaxPoolGrad((2,), (3,), ((0, 0),)), line([1, 2, 3, 4, 5, 6, 7]), line([8, 9]))
    assert dx.ravel().tolist() == [0, 8, 0, 0, 9, 0, 0]


def test_pick_takes_what_lies_where_the_winner_was() -> None:
    x, v = line([1, 3, 2, 2, 9, 0]), line([10, 20, 30, 40, 50, 60])
    assert after(MaxPoolPick((3,), (1,), ((0, 0),)), x, v).ravel().tolist() == [20, 20, 50, 50]


def test_a_window_may_have_more_elements_than_a_byte_numbers() -> None:
    x = RNG.permutation(300).astype(np.float32).reshape(1, 300, 1)
    dx = after(MaxPoolGrad((300,), (1,), ((0, 0),)), x, line([1]))
    assert dx.ravel().argmax() == x.ravel().argmax()
    assert dx.sum() == 1


@pytest.mark.parametrize(("counted", "wanted"), [(False, [1.5, 3.0, 4.5]), (True, [1.0, 3.0, 3.0])])
def test_what_a_mean_divides_by(counted: bool, wanted: list[float]) -> None:
    p = AvgPool((3,), (2,), ((1, 1),), False, counted)
    np.testing.assert_allclose(compute(p, line([1, 2, 3, 4, 5])).ravel(), wanted, rtol=1e-6)


def test_what_a_ceil_window_covers_beyond_the_padding_never_counts() -> None:
    """The last window holds 4, one element of padding and one beyond it."""
    p = AvgPool((3,), (3,), ((0, 1),), True, True)
    np.testing.assert_allclose(compute(p, line([1, 2, 3, 4])).ravel(), [2, 4 / 2])


def test_each_element_gets_its_share_of_a_mean() -> None:
    p = AvgPoolGrad((3,), (2,), ((1, 0),), False, False, (1, 5, 1))
    np.testing.assert_allclose(compute(p, line([2, 3])).ravel(), [1, 2, 1, 1, 0], rtol=1e-6)


X = TensorType((2, 6, 7, 4))


@pytest.mark.parametrize(
    ("fields", "x", "said"),
    [
        (((2, 2), (2, 2), ((0, 0), (0, 0))), TensorType((6, 7, 4)), r"x has shape \(6, 7, 4\); needs 4 axes"),
        (((7, 2), (2, 2), ((0, 0), (0, 0))), X, r"window of \(7, 2\) does not fit into x \(2, 6, 7, 4\)"),
        (((2, 2), (2, 2), ((2, 0), (0, 0))), X, "less than the window"),
        (((2, 2), (2, 2), ((0, -1), (0, 0))), X, "less than the window"),
        (((2, 2), (0, 2), ((0, 0), (0, 0))), X, "must be at least 1"),
        (((2, 2), (2,), ((0, 0), (0, 0))), X, "not of one length"),
    ],
)
def test_bad_operands_are_refused(fields: Any, x: TensorType, said: str) -> None:
    for primitive in (MaxPool, AvgPool):
        with pytest.raises(ShapeError, match=said):
            primitive(*fields).infer(x)


def test_a_gradient_reads_no_residual_of_another_implementation() -> None:
    fields: Any = ((2, 2), (2, 2), ((0, 0), (0, 0)))
    y = TensorType((2, 3, 3, 4))
    own = BACKEND.offer(MaxPool(*fields), [Operand(X)])
    assert isinstance(own, Offer)
    assert own.residual_layout.key == own.implementation == "numpy"

    def asked(residual: Layout) -> Offer | Refusal:
        operands = [Operand(X), Operand(y), Operand(OPAQUE, residual), Operand(y)]
        return BACKEND.offer(MaxPoolGrad(*fields), operands)

    assert isinstance(asked(own.residual_layout), Offer)
    assert isinstance(asked(Layout()), Offer)
    assert asked(Layout(key="onednn")) == Refusal("numpy cannot read the layout onednn")
    assert not BACKEND.offer(MaxPool(*fields), [Operand(X, own.residual_layout)])


def test_integers_are_refused() -> None:
    with pytest.raises(DTypeError, match="x is int32"):
        MaxPool((2, 2), (2, 2), ((0, 0), (0, 0))).infer(TensorType(X.shape, int32))


def test_gradients_refuse_what_the_pooling_does_not_give() -> None:
    fields: Any = ((2, 2), (2, 2), ((0, 0), (0, 0)))
    y, wrong = TensorType((2, 3, 3, 4)), TensorType((2, 3, 4, 4))
    with pytest.raises(ShapeError, match=r"y has shape \(2, 3, 4, 4\); x .* gives \(2, 3, 3, 4\)"):
        MaxPoolGrad(*fields).infer(X, wrong, OPAQUE, y)
    with pytest.raises(ShapeError, match=r"g has shape \(2, 3, 4, 4\)"):
        MaxPoolGrad(*fields).infer(X, y, OPAQUE, wrong)
    with pytest.raises(ShapeError, match=r"v has shape \(2, 3, 3, 4\)"):
        MaxPoolPick(*fields).infer(X, y, OPAQUE, y)
    with pytest.raises(ShapeError, match=r"g has shape \(2, 3, 4, 4\)"):
        AvgPoolGrad(*fields, shape=X.shape).infer(wrong)
