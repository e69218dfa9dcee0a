"""Softmax and cross entropies: values against SciPy, gradients against central differences and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.special

from cortex_compute.errors import DTypeError, ShapeError
from cortex_compute.primitives.softmax import (
    LogSoftmax,
    Softmax,
    SoftmaxCrossEntropy,
    SoftmaxCrossEntropyGrad,
)
from cortex_core.ops.apply import apply
from cortex_core.ops.differentiate import DECOMPOSITIONS
from cortex_core.ops.softmax import (
    binary_cross_entropy_with_logits,
    log_softmax,
    logsumexp,
    softmax,
    softmax_cross_entropy,
)
from cortex_core.tensor import Tensor
from tests.core.ops.gradients import check_gradients

RNG = np.random.default_rng(7)
X = RNG.standard_normal((4, 3, 5)) * 2
LABELS = RNG.integers(0, 5, (4, 3))
TARGETS = scipy.special.softmax(RNG.standard_normal((4, 3, 5)), -1)
AXES = [-1, 0, 1, 2]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(
    ("ours", "scipys"),
    [
        (softmax, scipy.special.softmax),
        (log_softmax, scipy.special.log_softmax),
        (logsumexp, scipy.special.logsumexp),
    ],
)
def test_values_are_scipys(ours: Any, scipys: Any, axis: int) -> None:
    np.testing.assert_allclose(ours(Tensor(X), axis).data, scipys(X, axis), rtol=1e-14)


def test_logsumexp_neither_overflows_nor_hides_minus_infinity() -> None:
    x = np.array([[1000.0, 1000.0], [-np.inf, -np.inf], [-np.inf, 3.0], [np.inf, 0.0]])
    wanted = [[1000 + np.log(2)], [-np.inf], [3.0], [np.inf]]
    np.testing.assert_allclose(logsumexp(Tensor(x), keepdims=True).data, wanted, rtol=1e-15)


def test_log_softmax_keeps_what_softmax_rounds_to_nothing() -> None:
    y = log_softmax(Tensor(np.array([[0.0, -1000.0]], np.float32)))
    np.testing.assert_array_equal(y.data, [[0.0, -1000.0]])


def test_cross_entropy_of_a_worked_example() -> None:
    """Logits log 1, log 2, log 5: probabilities 1/8, 1/4, 5/8."""
    logits = Tensor(np.log([[1.0, 2.0, 5.0], [1.0, 2.0, 5.0]]), requires_grad=True)
    loss = softmax_cross_entropy(logits, np.array([2, 0]))
    np.testing.assert_allclose(loss.data, np.log([8 / 5, 8.0]), rtol=1e-15)
    loss.sum().backward()
    assert logits.grad is not None
    wanted = [[1 / 8, 1 / 4, -3 / 8], [-7 / 8, 1 / 4, 5 / 8]]
    np.testing.assert_allclose(logits.grad.data, wanted, rtol=1e-14)


def test_smoothed_indices_are_smoothed_probabilities() -> None:
    by_index = softmax_cross_entropy(Tensor(X), LABELS, 0.2)
    by_target = softmax_cross_entropy(Tensor(X), np.eye(5)[LABELS], 0.2)
    np.testing.assert_allclose(by_index.data, by_target.data, rtol=1e-14)
    terms = (0.8 * np.eye(5)[LABELS] + 0.04) * -scipy.special.log_softmax(X, -1)
    np.testing.assert_allclose(by_index.data, terms.sum(-1), rtol=1e-14)


def test_an_impossible_class_costs_nothing_unless_it_is_the_target() -> None:
    logits = np.array([[0.0, -np.inf], [0.0, -np.inf]])
    np.testing.assert_array_equal(softmax_cross_entropy(Tensor(logits), np.array([0, 1])).data, [0, np.inf])


def test_binary_cross_entropy_is_exact_far_out() -> None:
    x = Tensor(np.array([0.0, 50.0, -50.0, 800.0, -800.0, 800.0], np.float64))
    t = np.array([0.5, 1.0, 0.0, 0.0, 1.0, 1.0])
    small = np.log1p(np.exp(-50.0))
    wanted = [np.log(2), small, small, 800.0, 800.0, 0.0]
    np.testing.assert_allclose(binary_cross_entropy_with_logits(x, t).data, wanted, rtol=1e-15, atol=0)


def test_binary_cross_entropy_weighs_the_positive() -> None:
    x, t = X[:, :, 0], TARGETS[:, :, 0]
    p = scipy.special.expit(x)
    wanted = -(3 * t * np.log(p) + (1 - t) * np.log(1 - p))
    found = binary_cross_entropy_with_logits(Tensor(x), t, positive_weight=3.0)
    np.testing.assert_allclose(found.data, wanted, rtol=1e-13)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("f", [softmax, log_softmax, logsumexp])
def test_gradients_along_an_axis(f: Any, axis: int) -> None:
    check_gradients(lambda x: f(x, axis), X[:2])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gradients_of_cross_entropy(smoothing: float) -> None:
    check_gradients(lambda x: softmax_cross_entropy(x, LABELS[:2], smoothing), X[:2])
    check_gradients(lambda x, t: softmax_cross_entropy(x, t, smoothing), X[:2], TARGETS[:2])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gradients_through_the_probabilities(smoothing: float) -> None:
    check_gradients(lambda x: apply(SoftmaxCrossEntropy(smoothing), x, LABELS[:2]), X[:2])
    check_gradients(lambda x: apply(SoftmaxCrossEntropy(smoothing), x, LABELS[:2])[1], X[:2])


def test_gradients_of_binary_cross_entropy_also_at_zero() -> None:
    x, t = X[0].copy(), TARGETS[0]
    check_gradients(lambda x, t: binary_cross_entropy_with_logits(x, t, positive_weight=2.0), x, t)
    x[:] = 0  # where a last layer of zeros begins
    zero = Tensor(x, requires_grad=True)
    binary_cross_entropy_with_logits(zero, t).sum().backward()
    assert zero.grad is not None
    np.testing.assert_allclose(zero.grad.data, 0.5 - t, rtol=1e-15)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_decompositions_are_their_primitives(smoothing: float) -> None:
    labels = Tensor(np.array([[0, 4, 9], [-2, 1, 3], [2, 2, 2], [3, 0, 1]]))
    g = Tensor(RNG.standard_normal((4, 3)))
    for p, operands in [
        (Softmax(), [Tensor(X)]),
        (LogSoftmax(), [Tensor(X)]),
        (SoftmaxCrossEntropy(smoothing), [Tensor(X), labels]),
        (SoftmaxCrossEntropyGrad(smoothing), [Tensor(TARGETS), labels, g]),
    ]:
        found, wanted = DECOMPOSITIONS[type(p)](p, *operands), apply(p, *operands)
        pairs = zip(found, wanted) if isinstance(found, tuple) else [(found, wanted)]
        for a, b in pairs:
            np.testing.assert_allclose(a.data, b.data, rtol=1e-13, atol=1e-15)


@pytest.mark.peers
def test_values_and_gradients_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    flat = X.reshape(12, 5)
    labels, targets = torch.tensor(LABELS.reshape(-1)), torch.tensor(TARGETS.reshape(12, 5))
    binary = torch.tensor((X > 0).astype(float).reshape(12, 5))
    cases = [
        (lambda x: softmax(x, 0), lambda x: F.softmax(x, 0)),
        (lambda x: log_softmax(x, 1), lambda x: F.log_softmax(x, 1)),
        (lambda x: logsumexp(x, 0), lambda x: torch.logsumexp(x, 0)),
        (
            lambda x: softmax_cross_entropy(x, LABELS.reshape(-1), 0.1),
            lambda x: F.cross_entropy(x, labels, label_smoothing=0.1, reduction="none"),
        ),
        (
            lambda x: softmax_cross_entropy(x, targets.numpy(), 0.1),
            lambda x: F.cross_entropy(x, targets, label_smoothing=0.1, reduction="none"),
        ),
        (
            lambda x: binary_cross_entropy_with_logits(x, binary.numpy(), positive_weight=3.0),
            lambda x: F.binary_cross_entropy_with_logits(
                x, binary, reduction="none", pos_weight=torch.tensor(3.0, dtype=torch.float64)
            ),
        ),
    ]
    for ours, theirs in cases:
        a = Tensor(flat, requires_grad=True)
        b = torch.tensor(flat, requires_grad=True)
        y, z = ours(a), theirs(b)
        (y * y).sum().backward()
        (z * z).sum().backward()
        np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-12)
        assert a.grad is not None
        np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda x: softmax(x, 3), ShapeError, "Softmax: axis 3"),
        (lambda x: softmax(Tensor(LABELS)), DTypeError, "Softmax: x is int64; needs a floating type"),
        (lambda x: log_softmax(Tensor(np.float64(3))), ShapeError, "LogSoftmax: axis -1"),
        (
            lambda x: softmax_cross_entropy(x, LABELS[:2]),
            ShapeError,
            r"labels have shape \(2, 3\).*\(4, 3, 5\)",
        ),
        (lambda x: softmax_cross_entropy(x, TARGETS[:2]), ShapeError, r"\(2, 3, 5\), logits \(4, 3, 5\)"),
        (lambda x: softmax_cross_entropy(x[..., :0], LABELS), ShapeError, "at least one class"),
        (lambda x: softmax_cross_entropy(x, LABELS, 1.5), ShapeError, "label_smoothing is 1.5"),
        (
            lambda x: apply(SoftmaxCrossEntropyGrad(), x, LABELS, np.zeros((4, 3), np.float32)),
            DTypeError,
            "g is float32",
        ),
        (
            lambda x: apply(SoftmaxCrossEntropyGrad(), x, LABELS, np.zeros(4)),
            ShapeError,
            r"g has shape \(4,\), labels have \(4, 3\)",
        ),
        (lambda x: apply(SoftmaxCrossEntropy(), x, TARGETS), DTypeError, "labels is float64; needs integers"),
    ],
)
def test_rejections(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make(Tensor(X))
