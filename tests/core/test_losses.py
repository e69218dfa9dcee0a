"""Losses against formulas written out, and PyTorch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import DTypeError, ShapeError
from cortex_compute.types import TensorType, float32, int64
from cortex_core import losses as _losses  # noqa: F401  (registers them)
from cortex_core.registry import LOSSES
from cortex_core.tensor import Tensor

rng = np.random.default_rng(0)
LOGITS = 3 * rng.normal(size=(6, 4))
LABELS = np.array([0, 3, 1, 1, 2, 0])
SEQUENCE = 2 * rng.normal(size=(3, 5, 4))
PLACES = rng.integers(0, 4, (3, 5))


def loss(name: str, **fields: Any) -> Any:
    return LOSSES[name](**fields)


def mean(loss: Any, x: np.ndarray, target: np.ndarray) -> float:
    """The mean as a step takes it."""
    values, weights = loss.per_sample(Tensor(x), Tensor(target))
    assert values.shape == x.shape[:1]
    if weights is None:
        return float(values.numpy().mean())
    assert weights.shape == x.shape[:1]
    w = weights.numpy()
    return float((values.numpy() * w).sum() / w.sum())


def log_softmax(x: np.ndarray) -> np.ndarray:
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def test_cross_entropy_of_indices_and_of_probabilities() -> None:
    logs = log_softmax(LOGITS)
    values, weights = loss("softmax_cross_entropy").per_sample(Tensor(LOGITS), Tensor(LABELS))
    assert weights is None
    np.testing.assert_allclose(values.numpy(), -logs[range(6), LABELS], rtol=1e-12)
    hot = np.eye(4)[LABELS]
    assert mean(loss("softmax_cross_entropy"), LOGITS, hot) == pytest.approx(-(hot * logs).sum(-1).mean())
    assert mean(loss("softmax_cross_entropy"), LOGITS, hot.astype(int)) == pytest.approx(
        -(hot * logs).sum(-1).mean()
    )


def test_label_smoothing() -> None:
    smooth = loss("softmax_cross_entropy", label_smoothing=0.2)
    target = 0.8 * np.eye(4)[LABELS] + 0.05
    wanted = -(target * log_softmax(LOGITS)).sum(-1).mean()
    assert mean(smooth, LOGITS, LABELS) == pytest.approx(wanted)
    assert mean(smooth, LOGITS, np.eye(4)[LABELS]) == pytest.approx(wanted)


def test_class_weights_weigh_the_mean() -> None:
    weights = np.array([1, 2, 0, 5.0])
    weighted = loss("softmax_cross_entropy", class_weights=[1, 2, 0, 5])
    each, w = -log_softmax(LOGITS)[range(6), LABELS], weights[LABELS]
    assert mean(weighted, LOGITS, LABELS) == pytest.approx((each * w).sum() / w.sum())
    assert mean(weighted, LOGITS, np.eye(4)[LABELS]) == pytest.approx((each * w).sum() / w.sum())


def test_ignored_samples_do_not_count() -> None:
    ignoring = loss("softmax_cross_entropy", ignore_index=-100)
    target = np.where(LABELS == 1, -100, LABELS)
    kept = LABELS != 1
    each = -log_softmax(LOGITS)[range(6), LABELS]
    assert mean(ignoring, LOGITS, target) == pytest.approx(each[kept].mean())
    _, weights = ignoring.per_sample(Tensor(LOGITS), Tensor(target))
    assert weights.numpy().tolist() == kept.tolist()


def test_a_sequence_is_the_mean_of_its_places() -> None:
    each = -np.take_along_axis(log_softmax(SEQUENCE), PLACES[..., None], -1)[..., 0]
    values, weights = loss("softmax_cross_entropy").per_sample(Tensor(SEQUENCE), Tensor(PLACES))
    assert weights is None
    np.testing.assert_allclose(values.numpy(), each.mean(1), rtol=1e-12)


def test_ignored_places_do_not_count_and_an_ignored_sample_weighs_nothing() -> None:
    target = PLACES.copy()
    target[0, 2:], target[1] = -1, -1
    ignoring = loss("softmax_cross_entropy", ignore_index=-1)
    values, weights = ignoring.per_sample(Tensor(SEQUENCE), Tensor(target))
    each = -np.take_along_axis(log_softmax(SEQUENCE), PLACES[..., None], -1)[..., 0]
    np.testing.assert_allclose(values.numpy(), [each[0, :2].mean(), 0, each[2].mean()], rtol=1e-12)
    np.testing.assert_allclose(weights.numpy(), [0.4, 0, 1])
    kept = target >= 0
    assert mean(ignoring, SEQUENCE, target) == pytest.approx(each[kept].mean())


def test_ignored_places_have_no_gradient() -> None:
    x = Tensor(SEQUENCE, requires_grad=True)
    target = np.full((3, 5), -1)
    values, weights = loss("softmax_cross_entropy", ignore_index=-1).per_sample(x, Tensor(target))
    (values * weights).sum().backward()
    assert x.grad is not None
    assert not x.grad.numpy().any()


def test_cross_entropy_far_out_is_finite() -> None:
    x = Tensor(np.array([[1e4, -1e4], [-1e4, 1e4]]), requires_grad=True)
    values, _ = loss("softmax_cross_entropy").per_sample(x, Tensor(np.array([0, 0])))
    np.testing.assert_allclose(values.numpy(), [0, 2e4])
    values.sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), [[0, 0], [-1, 1]])


def test_binary_cross_entropy() -> None:
    p, t = rng.uniform(0.01, 0.99, (5, 3)), rng.uniform(size=(5, 3))
    each = -(t * np.log(p) + (1 - t) * np.log(1 - p))
    assert mean(loss("binary_cross_entropy"), p, t) == pytest.approx(each.mean())
    logits = np.log(p / (1 - p))
    assert mean(loss("binary_cross_entropy", from_logits=True), logits, t) == pytest.approx(each.mean())


def test_binary_cross_entropy_weighs_and_smooths() -> None:
    p, t = rng.uniform(0.01, 0.99, (5, 3)), rng.integers(0, 2, (5, 3))
    s = 0.8 * t + 0.1
    each = -(4 * s * np.log(p) + (1 - s) * np.log(1 - p))
    fields = {"positive_weight": 4, "label_smoothing": 0.2}
    assert mean(loss("binary_cross_entropy", **fields), p, t) == pytest.approx(each.mean())
    logits = np.log(p / (1 - p))
    assert mean(loss("binary_cross_entropy", from_logits=True, **fields), logits, t) == pytest.approx(
        each.mean()
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_binary_cross_entropy_of_certainty_is_finite(dtype: str) -> None:
    p = Tensor(np.array([[0.0], [1.0], [0.0], [1.0]], dtype), requires_grad=True)
    values, _ = loss("binary_cross_entropy").per_sample(p, Tensor(np.array([[0], [1], [1], [0]])))
    limit = -math.log(1.1754943508222875e-38)
    np.testing.assert_allclose(values.numpy(), [0, 0, limit, limit], rtol=1e-6)
    values.sum().backward()
    assert p.grad is not None
    assert np.isfinite(p.grad.numpy()).all()
    x = Tensor(np.array([[-1e4], [1e4]], dtype), requires_grad=True)
    values, _ = loss("binary_cross_entropy", from_logits=True).per_sample(x, Tensor(np.array([[1], [0]])))
    np.testing.assert_allclose(values.numpy(), [1e4, 1e4])


def test_differences() -> None:
    x, t = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    assert mean(loss("mse"), x, t) == pytest.approx(((x - t) ** 2).mean())
    assert mean(loss("mae"), x, t) == pytest.approx(np.abs(x - t).mean())
    values, _ = loss("mse").per_sample(Tensor(x), Tensor(t))
    np.testing.assert_allclose(values.numpy(), ((x - t) ** 2).mean(1))


@pytest.mark.parametrize("name", ["mse", "mae", "binary_cross_entropy"])
def test_one_unit_takes_a_flat_target_and_whole_numbers(name: str) -> None:
    p, t = rng.uniform(0.1, 0.9, (5, 1)).astype(np.float32), np.array([0, 1, 1, 0, 1])
    flat = loss(name).per_sample(Tensor(p), Tensor(t))[0].numpy()
    assert flat.dtype == np.float32
    np.testing.assert_array_equal(flat, loss(name).per_sample(Tensor(p), Tensor(t[:, None]))[0].numpy())


def test_what_does_not_fit() -> None:
    def per_sample(name: str, x: tuple[int, ...], target: Any, **fields: Any) -> None:
        loss(name, **fields).per_sample(Tensor(np.zeros(x)), Tensor(target))

    with pytest.raises(ShapeError, match=r"the node is \(3,\), the target is \(4,\): mse needs"):
        per_sample("mse", (2, 3), np.zeros((2, 4)))
    with pytest.raises(ShapeError, match=r"mae needs a target of the node's shape"):
        per_sample("mae", (2, 3), np.zeros(2))
    with pytest.raises(
        ShapeError, match=r"the target is \(4,\): .* class indices \(\) or probabilities \(3,\)"
    ):
        per_sample("softmax_cross_entropy", (2, 3), np.zeros((2, 4)))
    with pytest.raises(ShapeError, match="at least two classes"):
        per_sample("softmax_cross_entropy", (2, 1), np.zeros(2, int))
    with pytest.raises(ShapeError, match=r"the node is \(3,\).* as many classes as class_weights, 2"):
        per_sample("softmax_cross_entropy", (2, 3), np.zeros(2, int), class_weights=[1, 2])
    with pytest.raises(DTypeError, match="whole class indices, the target is float64"):
        per_sample("softmax_cross_entropy", (2, 3), np.zeros(2))
    with pytest.raises(DTypeError, match="ignore_index needs class indices"):
        per_sample("softmax_cross_entropy", (2, 3), np.zeros((2, 3)), ignore_index=0)


def test_target_types_and_predictions() -> None:
    x = TensorType((8, 10), float32)
    assert loss("softmax_cross_entropy").target_type(x) == TensorType((8,), int64)
    for name in ("mse", "mae", "binary_cross_entropy"):
        assert loss(name).target_type(x) == x
    logits = Tensor(LOGITS)
    np.testing.assert_allclose(
        loss("softmax_cross_entropy").prediction(logits).numpy(), np.exp(log_softmax(LOGITS)), rtol=1e-12
    )
    assert loss("mse").prediction(logits) is logits
    assert loss("binary_cross_entropy").prediction(logits) is logits
    shown = loss("binary_cross_entropy", from_logits=True).prediction(logits).numpy()
    np.testing.assert_allclose(shown, 1 / (1 + np.exp(-LOGITS)), rtol=1e-12)


@pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_focal"])
def test_what_is_no_yes_or_no(name: str) -> None:
    x, told = TensorType((3, 1), float32), "expected 0, 1, or a probability between them"
    for bad in (-1, 255, 1.5):
        assert loss(name).wrong(x, np.array([0, 1, bad])) == (2, f"has target {bad}, {told}")
    assert loss(name).wrong(x, np.array([0, 1, 1])) is None
    assert loss(name).wrong(x, np.array([[0.0], [0.3], [1 + 1e-6]])) is None


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "focal"])
def test_a_probability_below_nothing(name: str) -> None:
    x = TensorType((2, 3), float32)
    bad = np.array([[0.2, 0.3, 0.5], [2.0, -1.0, 0.0]])
    assert loss(name).wrong(x, bad) == (1, "has the number -1.0, which is no probability")
    assert loss(name).wrong(x, abs(bad)) is None
    assert loss(name).wrong(x, np.eye(3, dtype=int)[:2]) is None


@pytest.mark.peers
def test_cross_entropies_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    w = [1.0, 2.0, 0.5, 3.0]
    target = np.where(PLACES == 2, -100, PLACES)
    x, t = torch.tensor(SEQUENCE), torch.tensor(target)
    theirs = f.cross_entropy(x.permute(0, 2, 1), t, weight=torch.tensor(w, dtype=x.dtype), ignore_index=-100)
    ours = loss("softmax_cross_entropy", class_weights=w, ignore_index=-100)
    assert mean(ours, SEQUENCE, target) == pytest.approx(float(theirs), rel=1e-12)
    theirs = f.cross_entropy(torch.tensor(LOGITS), torch.tensor(LABELS), label_smoothing=0.1)
    assert mean(loss("softmax_cross_entropy", label_smoothing=0.1), LOGITS, LABELS) == pytest.approx(
        float(theirs)
    )
    y = rng.uniform(size=LOGITS.shape)
    theirs = f.binary_cross_entropy_with_logits(
        torch.tensor(LOGITS), torch.tensor(y), pos_weight=torch.tensor(3.0)
    )
    ours = loss("binary_cross_entropy", from_logits=True, positive_weight=3)
    assert mean(ours, LOGITS, y) == pytest.approx(float(theirs), rel=1e-12)


@pytest.mark.peers
@pytest.mark.parametrize("name", ["softmax_cross_entropy", "binary_cross_entropy", "mse", "mae"])
def test_gradients_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    peers = {
        "softmax_cross_entropy": f.cross_entropy,
        "binary_cross_entropy": f.binary_cross_entropy,
        "mse": f.mse_loss,
        "mae": f.l1_loss,
    }
    target = LABELS if name == "softmax_cross_entropy" else rng.uniform(size=LOGITS.shape)
    x = 1 / (1 + np.exp(-LOGITS)) if name == "binary_cross_entropy" else LOGITS
    theirs, ours = torch.tensor(x, requires_grad=True), Tensor(x, requires_grad=True)
    peers[name](theirs, torch.tensor(target)).backward()
    loss(name).per_sample(ours, Tensor(target))[0].mean().backward()
    assert ours.grad is not None
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-10, atol=1e-15)
