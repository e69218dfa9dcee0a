"""Convolution: values against SciPy and by hand, what is refused, and how much scratch is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.signal

from cortex_compute.errors import DTypeError, ShapeError
from cortex_compute.primitives.convolution import Conv, ConvInputGrad, ConvKernelGrad
from cortex_compute.primitives.windows import window_count
from cortex_compute.protocol import Operand
from cortex_compute.types import TensorType, float32, float64
from tests.compute.kernels import BACKEND, compute

RNG = np.random.default_rng(11)
PLAIN: dict[str, Any] = {
    "stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1
}  # fmt: skip


def scipys(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The convolution of (N, *S, C) with (*K, C, O), without padding, stride and dilation."""
    filters = np.moveaxis(w, -1, 0)
    each = [[scipy.signal.correlate(image, f, "valid")[..., 0] for f in filters] for image in x]
    return np.moveaxis(np.array(each), 1, -1)


@pytest.mark.parametrize("channels", [1, 3, 20])
def test_an_image_is_convolved_as_scipy_does(channels: int) -> None:
    x, w = RNG.standard_normal((3, 7, 9, channels)), RNG.standard_normal((3, 4, channels, 5))
    np.testing.assert_allclose(compute(Conv(**PLAIN), x, w), scipys(x, w), rtol=1e-12, atol=1e-12)


def test_a_line_and_a_volume_are_convolved_as_scipy_does() -> None:
    for spatial, kernel in (((9,), (4,)), ((4, 5, 6), (2, 3, 2))):
        ones = (1,) * len(spatial)
        p = Conv(ones, ((0, 0),) * len(spatial), ones, 1)
        x, w = RNG.standard_normal((2, *spatial, 3)), RNG.standard_normal((*kernel, 3, 4))
        np.testing.assert_allclose(compute(p, x, w), scipys(x, w), rtol=1e-12, atol=1e-12)


def test_stride_padding_and_dilation_pick_and_spread() -> None:
    """Each is what it says it is: zeros around x, every second result, zeros between the taps."""
    x, w = RNG.standard_normal((2, 7, 8, 3)), RNG.standard_normal((2, 3, 3, 4))
    padded = np.pad(x, ((0, 0), (1, 2), (0, 3), (0, 0)))
    spread = np.zeros((3, 5, 3, 4))
    spread[::2, ::2] = w
    p = Conv((2, 3), ((1, 2), (0, 3)), (2, 2), 1)
    np.testing.assert_allclose(compute(p, x, w), scipys(padded, spread)[:, ::2, ::3], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("groups", "filters"), [(2, 4), (6, 6), (6, 12)])
def test_groups_are_convolutions_side_by_side(groups: int, filters: int) -> None:
    x, w = RNG.standard_normal((2, 5, 6, 6)), RNG.standard_normal((3, 2, 6 // groups, filters))
    parts = zip(np.split(x, groups, -1), np.split(w, groups, -1))
    wanted = np.concatenate([scipys(a, b) for a, b in parts], -1)
    y = compute(Conv(**{**PLAIN, "groups": groups}), x, w)
    np.testing.assert_allclose(y, wanted, rtol=1e-12, atol=1e-12)


def test_gradients_by_hand() -> None:
    """x = 1 2 3 4 with w = 10 20, stride 2: y = 50 110."""
    fields = (2,), ((0, 0),), (1,), 1
    x, w, g = (np.array(a, float).reshape(s) for a, s in (
        ([1, 2, 3, 4], (1, 4, 1)), ([10, 20], (2, 1, 1)), ([5, 7], (1, 2, 1))
    ))  # fmt: skip
    assert compute(Conv(*fields), x, w).ravel().tolist() == [50, 110]
    dx = compute(ConvInputGrad(*fields, shape=x.shape), g, w)
    assert dx.ravel().tolist() == [50, 100, 70, 140]
    dw = compute(ConvKernelGrad(*fields, kernel=(2,)), x, g)
    assert dw.ravel().tolist() == [5 * 1 + 7 * 3, 5 * 2 + 7 * 4]
    dw, db = compute(ConvKernelGrad(*fields, kernel=(2,), bias=True), x, g)
    assert dw.ravel().tolist() == [5 * 1 + 7 * 3, 5 * 2 + 7 * 4]
    assert db.tolist() == [5 + 7]


def test_what_no_window_sees_has_no_gradient() -> None:
    p = ConvInputGrad((3,), ((0, 0),), (1,), 1, shape=(1, 7, 1))
    dx = compute(p, np.ones((1, 2, 1)), np.ones((2, 1, 1)))
    assert dx.ravel().tolist() == [1, 1, 0, 1, 1, 0, 0]


def test_an_infinite_element_stays_in_its_windows() -> None:
    x = np.zeros((1, 5, 5, 1), np.float32)
    x[0, 4, 4] = np.inf
    y = compute(Conv((1, 1), ((1, 1), (1, 1)), (1, 1), 1), x, np.ones((3, 3, 1, 1), np.float32))
    assert np.isinf(y[0, 3:, 3:]).all()
    assert (y[0, :3] == 0).all()


# What PyTorch 2.13 answers for n, size, stride, padding, dilation, ceil.
@pytest.mark.parametrize(
    ("n", "size", "stride", "padding", "dilation", "ceil", "count"),
    [
        (28, 5, 1, 0, 1, False, 24), (28, 3, 2, 1, 1, False, 14), (9, 3, 2, 0, 2, False, 3),
        (7, 2, 2, 0, 1, False, 3), (7, 2, 2, 0, 1, True, 4), (8, 3, 2, 1, 1, True, 5),
        (4, 2, 3, 1, 1, True, 2), (5, 2, 3, 0, 1, True, 2), (2, 3, 2, 0, 1, True, 1),
    ],
)  # fmt: skip
def test_how_many_windows_there_are(
    n: int, size: int, stride: int, padding: int, dilation: int, ceil: bool, count: int
) -> None:
    assert window_count(n, size, stride, (padding, padding), dilation, ceil) == count


X, W = TensorType((2, 6, 7, 4)), TensorType((3, 3, 4, 8))


@pytest.mark.parametrize(
    ("change", "x", "w", "said"),
    [
        ({}, TensorType((6, 7, 4)), W, r"x has shape \(6, 7, 4\); needs 4 axes"),
        ({}, X, TensorType((3, 4, 8)), r"w has shape \(3, 4, 8\); needs 4 axes"),
        ({}, X, TensorType((3, 3, 3, 8)), r"x \(2, 6, 7, 4\) has 4 channels, w \(3, 3, 3, 8\) takes 3"),
        ({"groups": 2}, X, W, "takes 8 in 2 groups"),
        ({"groups": 3}, TensorType((2, 6, 7, 12)), W, "8 filters in w .* do not divide into 3 groups"),
        ({}, X, TensorType((7, 3, 4, 8)), r"w \(7, 3, 4, 8\) .* does not fit into x \(2, 6, 7, 4\)"),
        ({"dilation": (3, 1)}, X, W, "does not fit"),
        ({"stride": (0, 1)}, X, W, "must be at least 1"),
        ({"padding": ((-1, 0), (0, 0))}, X, W, "negative"),
        ({"stride": (1,)}, X, W, "not of one length"),
    ],
)
def test_bad_operands_are_refused(change: dict[str, Any], x: TensorType, w: TensorType, said: str) -> None:
    with pytest.raises(ShapeError, match=said):
        Conv(**{**PLAIN, **change}).infer(x, w)


def test_data_types_must_agree_and_be_floating() -> None:
    with pytest.raises(DTypeError, match="x is float32, w is float64"):
        Conv(**PLAIN).infer(X, TensorType(W.shape, float64))


def test_gradients_refuse_what_the_convolution_does_not_give() -> None:
    wrong = TensorType((2, 5, 5, 8))
    with pytest.raises(ShapeError, match=r"g has shape \(2, 5, 5, 8\).*give \(2, 4, 5, 8\)"):
        ConvInputGrad(**PLAIN, shape=X.shape).infer(wrong, W)
    with pytest.raises(ShapeError, match=r"g has shape \(2, 5, 5, 8\).*give \(2, 4, 5, 8\)"):
        ConvKernelGrad(**PLAIN, kernel=(3, 3)).infer(X, wrong)


def test_flops_count_products_and_sums() -> None:
    flops = 2 * (2 * 4 * 5 * 8) * (3 * 3 * 4)
    y = Conv(**PLAIN).infer(X, W)[0]
    assert Conv(**PLAIN).flops(X, W) == flops
    assert ConvInputGrad(**PLAIN, shape=X.shape).flops(y, W) == flops
    assert ConvKernelGrad(**PLAIN, kernel=(3, 3)).flops(X, y) == flops


def test_scratch_does_not_grow_with_the_batch_or_the_image() -> None:
    """Unfolded whole, the windows of the larger one would take 7.4 GB."""
    w = Operand(TensorType((3, 3, 64, 64), float32))
    for shape in ((64, 56, 56, 64), (64, 224, 224, 64)):
        x = Operand(TensorType(shape, float32))
        offer = BACKEND.offer(Conv(**PLAIN), [x, w])
        gradient = BACKEND.offer(ConvInputGrad(**PLAIN, shape=shape), [
            Operand(TensorType((shape[0], shape[1] - 2, shape[2] - 2, 64))), w
        ])  # fmt: skip
        assert offer
        assert gradient
        assert max(offer.workspace, gradient.workspace) <= 4 << 20
