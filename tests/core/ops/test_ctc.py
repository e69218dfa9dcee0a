"""Connectionist temporal classification against sums over all alignments, and PyTorch."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.special

from cortex_compute.errors import ArgumentError, DTypeError, ShapeError
from cortex_core import nn
from cortex_core.nn import functional as F
from cortex_core.ops.ctc import ctc
from cortex_core.ops.softmax import log_softmax
from cortex_core.tensor import Tensor
from tests.core.ops.gradients import check_gradients

RNG = np.random.default_rng(3)


def logs(*shape: int) -> np.ndarray:
    found: np.ndarray = scipy.special.log_softmax(2 * RNG.normal(size=shape), -1)
    return found


def over_all_alignments(x: np.ndarray, label: list[int], blank: int) -> float:
    """Equation 3 of Graves et al. as it stands: the sum over every path that collapses to the labels."""
    total = 0.0
    for path in itertools.product(range(x.shape[1]), repeat=x.shape[0]):
        merged = [c for c, _ in itertools.groupby(path)]
        if [c for c in merged if c != blank] == label:
            total += float(np.exp(sum(x[t, c] for t, c in enumerate(path))))
    return -float(np.log(total)) if total else float("inf")


LABELS = [[1, 1], [2], [2, 1], [], [1, 2], [2, 2, 2]]


@pytest.mark.parametrize("blank", [0, 2])
def test_the_sum_over_all_alignments(blank: int) -> None:
    swap = {0: blank, blank: 0}
    x = logs(len(LABELS), 5, 3)
    labels = [[swap.get(c, c) for c in label] for label in LABELS]
    frames = [5, 4, 3, 2, 2, 4]  # the last one is too short for three equal labels
    padded = np.array([label + [blank] * (3 - len(label)) for label in labels])
    found = ctc(Tensor(x), Tensor(padded), Tensor(np.array(frames)), blank=blank).numpy()
    wanted = [over_all_alignments(x[i, : frames[i]], labels[i], blank) for i in range(len(LABELS))]
    assert np.isinf(wanted[-1])
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_padding_and_lengths_say_the_same() -> None:
    x = logs(3, 6, 4)
    padded = np.array([[1, 2, 3], [3, -1, -1], [2, 2, 0]])
    counted = np.array([[1, 2, 3], [3, 1, 1], [2, 2, 3]])
    by_padding = ctc(Tensor(x), Tensor(padded)).numpy()
    by_length = ctc(Tensor(x), Tensor(counted), lengths=Tensor(np.array([3, 1, 2]))).numpy()
    np.testing.assert_array_equal(by_padding, by_length)


def test_derivatives() -> None:
    labels, frames = np.array([[1, 1], [2, -1], [2, 1]]), np.array([4, 3, 2])
    check_gradients(
        lambda x: ctc(log_softmax(x, -1), Tensor(labels), Tensor(frames)), RNG.normal(size=(3, 4, 3))
    )


def test_what_cannot_be_has_no_gradient() -> None:
    """Two equal labels need three frames; a class of probability 0 makes only its own example infinite."""
    x = RNG.normal(size=(3, 2, 3))
    x[1, :, 1] = -np.inf
    given = Tensor(x, requires_grad=True)
    values = ctc(log_softmax(given, -1), Tensor(np.array([[1, 1], [1, 0], [1, 2]])))
    values.backward(Tensor(np.ones(3)))
    assert np.isinf(values.numpy()).tolist() == [True, True, False]
    gradient = given.grad.numpy()
    assert np.isfinite(gradient).all()
    assert gradient.any((1, 2)).tolist() == [False, False, True]


def test_nan_stays_nan() -> None:
    x = logs(2, 3, 3)
    x[0, 1] = np.nan
    assert np.isnan(ctc(Tensor(x), Tensor(np.array([[1], [1]]))).numpy()).tolist() == [True, False]


def test_long_sequences_do_not_underflow() -> None:
    """In float32, where the probability itself would be 0; beside float64."""
    x, labels = logs(2, 200, 30), RNG.integers(1, 30, (2, 40))
    narrow = ctc(Tensor(x.astype(np.float32)), Tensor(labels)).numpy()
    np.testing.assert_allclose(narrow, ctc(Tensor(x), Tensor(labels)).numpy(), rtol=1e-5)
    assert narrow.min() > 200


def test_misfits_are_refused() -> None:
    with pytest.raises(ShapeError, match="ctc needs log-probabilities"):
        ctc(Tensor(logs(2, 3)), Tensor(np.ones((2, 1), int)))
    with pytest.raises(DTypeError, match="class indices"):
        ctc(Tensor(logs(2, 3, 4)), Tensor(np.ones((2, 1))))


def functional(targets: Any, inputs: Any, lengths: Any, **options: Any) -> Any:
    return F.ctc_loss(Tensor(logs(6, 2, 4)), Tensor(np.array(targets)), inputs, lengths, **options)


@pytest.mark.parametrize(
    ("error", "match", "given"),
    [
        (ArgumentError, "input_lengths holds 7; needs 1 to 6", ([[1], [1]], [7, 6], [1, 1])),
        (ArgumentError, "target_lengths holds 2; needs 0 to 1", ([[1], [1]], [6, 6], [2, 1])),
        (ArgumentError, "targets hold 4; needs 0 to 3 without the blank, 0", ([[1], [4]], [6, 6], [1, 1])),
        (ArgumentError, "targets hold 0;", ([[0], [1]], [6, 6], [1, 1])),
        (ShapeError, "one for each of 2 examples", ([[1], [1]], [6], [1, 1])),
        (ShapeError, "as long as the lengths together", ([1, 1, 2], [6, 6], [1, 1])),
    ],
)
def test_the_functions_arguments_are_checked(error: Any, match: str, given: Any) -> None:
    with pytest.raises(error, match=match):
        functional(*given)


@pytest.mark.peers
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("joined", [False, True], ids=["rows", "one after the other"])
@pytest.mark.parametrize("blank", [0, 3])
def test_pytorch(reduction: str, joined: bool, blank: int) -> None:
    torch = pytest.importorskip("torch")
    x = RNG.normal(size=(12, 4, 6))
    labels = RNG.integers(0, 5, (4, 5))
    labels = labels + (labels >= blank)
    labels[0, :3] = labels[0, 0]
    frames, lengths = [12, 9, 7, 12], [5, 3, 1, 4]
    rows = np.concatenate([row[:n] for row, n in zip(labels, lengths)]) if joined else labels
    mine, other = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y = nn.CTCLoss(blank, reduction)(log_softmax(mine, -1), Tensor(rows), frames, lengths)
    z = torch.nn.CTCLoss(blank, reduction)(
        other.log_softmax(-1), torch.tensor(rows), torch.tensor(frames), torch.tensor(lengths)
    )
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-10)
    weights = RNG.normal(size=y.shape)
    (y * Tensor(weights)).sum().backward()
    (z * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.peers
def test_pytorch_where_nothing_fits_and_of_one_example() -> None:
    torch = pytest.importorskip("torch")
    x, targets = RNG.normal(size=(3, 2, 4)), [[1, 1, 1], [1, 2, 3]]
    mine, other = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y = nn.CTCLoss(zero_infinity=True)(log_softmax(mine, -1), Tensor(np.array(targets)), [3, 3], [3, 3])
    z = torch.nn.CTCLoss(zero_infinity=True)(
        other.log_softmax(-1), torch.tensor(targets), torch.tensor([3, 3]), torch.tensor([3, 3])
    )
    y.backward()
    z.backward()
    np.testing.assert_allclose(float(y), float(z.detach()), rtol=1e-10)
    np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=1e-10, atol=1e-10)
    one = F.ctc_loss(Tensor(logs(3, 4)), Tensor(np.array([1, 2])), [3], [2], reduction="none")
    assert one.shape == ()
