"""Batch, layer, RMS and group norm: gradients against central differences and PyTorch, also of statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import DTypeError, ShapeError
from cortex_compute.primitives.normalization import BatchNorm, BatchNormGrad, LayerNorm, LayerNormGrad
from cortex_core.ops.apply import apply
from cortex_core.ops.differentiate import DECOMPOSITIONS
from cortex_core.ops.normalization import batch_norm, group_norm, layer_norm, normalize, rms_norm
from cortex_core.tensor import Tensor
from tests.core.ops.gradients import check_gradients

RNG = np.random.default_rng(11)
X = RNG.standard_normal((3, 2, 2, 4)) * 2 + 1
SCALE, SHIFT = RNG.standard_normal(4), RNG.standard_normal(4)
SMALL = X[:, 0]


def test_batch_norm_of_a_worked_example() -> None:
    """Columns 1, 3 and 2, 10: means 2 and 6, variances 1 and 16; with epsilon 9 deviations sqrt(10) and 5."""
    x = Tensor(np.array([[1.0, 2.0], [3.0, 10.0]]))
    y, mean, variance = batch_norm(x, np.array([1.0, 5.0]), None, 9.0)
    np.testing.assert_allclose(mean.data, [2, 6])
    np.testing.assert_allclose(variance.data, [1, 16])
    np.testing.assert_allclose(y.data, [[-1 / np.sqrt(10), -4], [1 / np.sqrt(10), 4]])


def test_layer_norm_of_a_worked_example() -> None:
    """Rows 1, 3 and 2, 10: as above, along the other axis."""
    y = layer_norm(Tensor(np.array([[1.0, 3.0], [2.0, 10.0]])), None, np.array([0.0, 1.0]), 9.0)
    np.testing.assert_allclose(y.data, [[-1 / np.sqrt(10), 1 / np.sqrt(10) + 1], [-0.8, 1.8]])


def test_rms_norm_of_a_worked_example() -> None:
    """Mean squares of 3, 4 and 1, 7 are 12.5 and 25; with epsilon 3.5 the root of the first is 4."""
    x = np.array([[3.0, 4.0], [1.0, 7.0]])
    np.testing.assert_allclose(rms_norm(Tensor(x), None, 3.5).data[0], [0.75, 1])
    np.testing.assert_allclose(rms_norm(Tensor(x), np.array([5.0, 10.0]), 0.0).data[1], [1, 14])


def test_group_norm_of_a_worked_example() -> None:
    """Channels 0 and 1 hold 1, 3, 1, 3: mean 2, variance 1; channels 2 and 3 hold 2 and 10: 6 and 16."""
    x = np.array([[[1.0, 3.0, 2.0, 10.0], [1.0, 3.0, 10.0, 2.0]]])
    y = group_norm(Tensor(x), 2, np.array([1.0, 1, 1, 5]), np.array([0.0, 7, 0, 0]), 9.0)
    root = np.sqrt(10)
    wanted = [[-1 / root, 1 / root + 7, -0.8, 4], [-1 / root, 1 / root + 7, 0.8, -4]]
    np.testing.assert_allclose(y.data[0], wanted)


def test_sums_of_sixteen_bits_are_taken_in_float32() -> None:
    """1,024 squares of 300 overflow float16; their mean's root does not."""
    x = np.full((2, 1024), 300, np.float16)
    y = rms_norm(Tensor(x), np.ones(1024, np.float32))
    assert y.dtype.name == "float16"
    np.testing.assert_array_equal(y.data, np.ones_like(x))
    assert group_norm(Tensor(x), 4).dtype.name == "float16"


def test_normalize_with_the_batchs_statistics_is_batch_norm() -> None:
    y, mean, variance = batch_norm(Tensor(X), SCALE, SHIFT, 1e-3)
    again = normalize(Tensor(X), mean, variance, SCALE, SHIFT, 1e-3)
    np.testing.assert_allclose(again.data, y.data, rtol=1e-12)
    plain = normalize(Tensor(X), mean, variance, None, None, 1e-3)
    np.testing.assert_allclose(plain.data, batch_norm(Tensor(X), None, None, 1e-3)[0].data, rtol=1e-12)


def test_missing_scale_and_shift_are_one_and_zero() -> None:
    for f in (lambda *a: batch_norm(*a)[0], layer_norm):
        with_both = f(Tensor(X), np.ones(4), np.zeros(4))
        np.testing.assert_array_equal(f(Tensor(X), None, None).data, with_both.data)


def test_gradients_of_batch_norm() -> None:
    check_gradients(lambda x, a, b: batch_norm(x, a, b, 1e-2)[0], SMALL, SCALE, SHIFT)


def test_gradients_of_batch_norm_through_its_statistics() -> None:
    check_gradients(lambda x, a, b: batch_norm(x, a, b, 1e-2), SMALL, SCALE, SHIFT)
    check_gradients(lambda x: batch_norm(x, SCALE, SHIFT, 1e-2)[1:], SMALL)


def test_gradients_of_layer_norm() -> None:
    check_gradients(lambda x, a, b: layer_norm(x, a, b, 1e-2), SMALL, SCALE, SHIFT)
    check_gradients(lambda x, a, b: apply(LayerNorm(1e-2), x, a, b), SMALL, SCALE, SHIFT)


def test_gradients_of_rms_norm() -> None:
    check_gradients(lambda x, a: rms_norm(x, a, 1e-2), SMALL, SCALE)
    check_gradients(lambda x: rms_norm(x, None, 1e-2), SMALL)


def test_gradients_of_group_norm() -> None:
    check_gradients(lambda x, a, b: group_norm(x, 2, a, b, 1e-2), SMALL, SCALE, SHIFT)


def ones(of: Any) -> tuple[np.ndarray, np.ndarray]:
    """Statistics of that type."""
    return np.ones(4, of), np.ones(4, of)


def test_gradients_of_normalize() -> None:
    variance = RNG.uniform(0.5, 2, 4)
    check_gradients(lambda *t: normalize(*t, 1e-2), SMALL[:2], SHIFT, variance, SCALE, SHIFT)


def test_second_derivative_where_x_is_its_own_gradient() -> None:
    """The gradient of sum(y x) by y is x, so that BatchNormGrad has x in two places."""
    check_gradients(lambda x: (batch_norm(x, None, None, 1e-2)[0] * x).sum(), SMALL)


@pytest.mark.parametrize(("forward", "backward"), [(BatchNorm, BatchNormGrad), (LayerNorm, LayerNormGrad)])
def test_decompositions_are_their_primitives(forward: Any, backward: Any) -> None:
    x, scale, shift, g = (Tensor(a) for a in (X, SCALE, SHIFT, RNG.standard_normal(X.shape)))
    outputs = apply(forward(1e-3), x, scale, shift)
    gradients = apply(backward(1e-3), x, scale, *outputs[1:], g)
    again = DECOMPOSITIONS[forward](forward(1e-3), x, scale, shift)
    gradients_again = DECOMPOSITIONS[backward](backward(1e-3), x, scale, *outputs[1:], g)
    for a, b in zip([*outputs, *gradients], [*again, *gradients_again]):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-10, atol=1e-13)


@pytest.mark.peers
def test_values_and_first_and_second_derivatives_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    F = torch.nn.functional

    def theirs_batch(x: Any, a: Any, b: Any) -> Any:
        return F.batch_norm(x.permute(0, 3, 1, 2), None, None, a, b, True, 0.0, 1e-3).permute(0, 2, 3, 1)

    def theirs_layer(x: Any, a: Any, b: Any) -> Any:
        return F.layer_norm(x, (4,), a, b, 1e-3)

    def theirs_group(x: Any, a: Any, b: Any) -> Any:
        return F.group_norm(x.permute(0, 3, 1, 2), 2, a, b, 1e-3).permute(0, 2, 3, 1)

    for ours, theirs in [
        (lambda x, a, b: group_norm(x, 2, a, b, 1e-3), theirs_group),
        (lambda x, a, b: rms_norm(x, a, 1e-3) + b, lambda x, a, b: F.rms_norm(x, (4,), a, 1e-3) + b),
        (lambda x, a, b: batch_norm(x, a, b, 1e-3)[0], theirs_batch),
        (lambda x, a, b: layer_norm(x, a, b, 1e-3), theirs_layer),
    ]:
        mine = [Tensor(v, requires_grad=True) for v in (X, SCALE, SHIFT)]
        peer = [torch.tensor(v, requires_grad=True) for v in (X, SCALE, SHIFT)]
        y, z = ours(*mine), theirs(*peer)
        np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-10, atol=1e-13)
        (y * y * y).sum().backward(create_graph=True)
        first = torch.autograd.grad((z * z * z).sum(), peer, create_graph=True)
        total: Any = 0.0
        for t, w in zip(mine, first):
            np.testing.assert_allclose(t.grad.data, w.detach().numpy(), rtol=1e-9, atol=1e-11)
            total, t.grad = total + (t.grad * t.grad).sum(), None
        total.backward()
        second = torch.autograd.grad(sum((w * w).sum() for w in first), peer)
        for t, w in zip(mine, second):
            np.testing.assert_allclose(t.grad.data, w.numpy(), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda x: batch_norm(x, SCALE[:3], None), ShapeError, r"scale has shape \(3,\), x \(3, 2, 2, 4\)"),
        (lambda x: batch_norm(x, None, SHIFT[:1]), ShapeError, r"BatchNorm: shift has shape \(1,\)"),
        (lambda x: layer_norm(x, SCALE[:3], None), ShapeError, r"LayerNorm: scale has shape \(3,\)"),
        (lambda x: batch_norm(x[0, 0, 0], None, None), ShapeError, r"x has shape \(4,\)"),
        (lambda x: layer_norm(x[..., :0], None, None), ShapeError, r"x has shape \(3, 2, 2, 0\)"),
        (lambda x: batch_norm(x, SCALE.astype("f"), None), DTypeError, "x is float64, scale is float32"),
        (lambda x: group_norm(x, 3), ShapeError, r"\(3, 2, 2, 4\) do not split into 3 groups"),
        (lambda x: group_norm(x[0, 0, 0], 1), ShapeError, r"shape \(4,\)"),
        (lambda x: rms_norm(x[0, 0, 0, 0]), ShapeError, r"rms_norm: x has shape \(\)"),
        (
            lambda x: rms_norm(x, X),
            ShapeError,
            r"rms_norm: scale has shape \(3, 2, 2, 4\), .*needs \(4,\)",
        ),
        (lambda x: rms_norm(x, np.ones(())), ShapeError, r"rms_norm: scale has shape \(\)"),
        (lambda x: group_norm(x, 2, np.ones((2, 2))), ShapeError, r"group_norm: scale has shape \(2, 2\)"),
        (lambda x: group_norm(x, 2, None, SHIFT[:3]), ShapeError, r"group_norm: shift has shape \(3,\)"),
        (lambda x: rms_norm(x > 0), DTypeError, "rms_norm: x is bool; needs a floating type"),
        (
            lambda x: normalize(x > 0, SCALE, SCALE, None, None),
            DTypeError,
            "normalize: x is bool; needs a fl",
        ),
        (lambda x: normalize(x, *ones(np.float32), None, None), DTypeError, "float64 and float32 do not mix"),
        (lambda x: batch_norm(x, None, None, -1.0), ShapeError, "epsilon is -1.0"),
        (
            lambda x: apply(BatchNormGrad(), x, SCALE, SCALE, SCALE, X[0]),
            ShapeError,
            r"g has shape \(2, 2, 4\), x has \(3, 2, 2, 4\)",
        ),
        (
            lambda x: apply(LayerNormGrad(), x, SCALE, SCALE, SCALE, X),
            ShapeError,
            r"mean has shape \(4,\), x \(3, 2, 2, 4\) needs \(3, 2, 2\)",
        ),
    ],
)
def test_rejections(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make(Tensor(X))
