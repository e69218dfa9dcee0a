"""Focal losses and dice: worked values, what they reduce to, and Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import DTypeError, ShapeError
from cortex_compute.types import TensorType, float32, int64
from cortex_core.registry import LOSSES
from cortex_core.tensor import Tensor
from tests.core.keras_in_float64 import keras_in_float64

rng = np.random.default_rng(1)
LOGITS, LABELS = 2 * rng.normal(size=(6, 3)), np.array([0, 2, 1, 1, 2, 0])
YES = rng.integers(0, 2, (6, 3))
MASKS, AREAS = rng.integers(0, 2, (2, 4, 3, 1)), rng.uniform(0.05, 0.95, (2, 4, 3, 1))


def values(name: str, x: np.ndarray, target: np.ndarray, **fields: Any) -> np.ndarray:
    found, weights = LOSSES[name](**fields).per_sample(Tensor(x), Tensor(target))
    assert weights is None
    return np.asarray(found)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x)
    return np.asarray(e / e.sum(-1, keepdims=True))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def test_a_well_known_example_counts_a_hundredth() -> None:
    """Lin et al., section 3.2: with gamma 2 a loss of p 0.9 is 100 times lower, of p 0.968 1000 times."""
    for p, ratio in ((0.9, 100), (0.968, 1000)):
        x = np.log([[p, 1 - p]])
        entropy = values("softmax_cross_entropy", x, np.array([0]))
        assert values("focal", x, np.array([0])) == pytest.approx(entropy * (1 - p) ** 2)
        assert entropy / values("focal", x, np.array([0])) == pytest.approx(ratio, rel=0.03)


def test_without_gamma_they_are_cross_entropies() -> None:
    plain = values("softmax_cross_entropy", LOGITS, LABELS)
    np.testing.assert_allclose(values("focal", LOGITS, LABELS, gamma=0), plain, rtol=1e-12)
    for logits in (False, True):
        x = LOGITS if logits else sigmoid(LOGITS)
        plain = values("binary_cross_entropy", x, YES, from_logits=logits)
        found = values("binary_focal", x, YES, from_logits=logits, gamma=0, alpha=None)
        np.testing.assert_allclose(found, plain, rtol=1e-12)


@pytest.mark.parametrize("logits", [False, True])
def test_each_yes_or_no_of_binary_focal(logits: bool) -> None:
    p = sigmoid(LOGITS)
    wanted = np.where(YES, -0.3 * (1 - p) ** 1.7 * np.log(p), -0.7 * p**1.7 * np.log(1 - p))
    found = values("binary_focal", LOGITS if logits else p, YES, from_logits=logits, gamma=1.7, alpha=0.3)
    np.testing.assert_allclose(found, wanted.mean(1), rtol=1e-10)


def test_focal_of_indices_and_of_probabilities() -> None:
    p = softmax(LOGITS)[range(6), LABELS]
    alpha = np.array([1, 0.5, 3])
    wanted = -alpha[LABELS] * (1 - p) ** 1.5 * np.log(p)
    fields = {"gamma": 1.5, "alpha": [1, 0.5, 3]}
    np.testing.assert_allclose(values("focal", LOGITS, LABELS, **fields), wanted, rtol=1e-10)
    np.testing.assert_allclose(values("focal", LOGITS, np.eye(3)[LABELS], **fields), wanted, rtol=1e-10)
    places = values("focal", LOGITS.reshape(2, 3, 3), LABELS.reshape(2, 3), **fields)
    np.testing.assert_allclose(places, wanted.reshape(2, 3).mean(1), rtol=1e-10)


@pytest.mark.parametrize("gamma", [0, 0.5, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_certainty_has_a_finite_gradient(gamma: float, dtype: str) -> None:
    far = np.array([[1e4, -1e4], [-1e4, 1e4]], dtype)
    for x, t, fields in (
        (far, np.array([0, 0]), {}),
        (far, np.array([[1, 0], [0, 1]], dtype), {}),
        (far, np.array([[1, 1], [1, 0]]), {"from_logits": True}),
        (np.array([[0.0, 1.0], [1.0, 0.0]], dtype), np.array([[1, 1], [1, 0]]), {"from_logits": False}),
    ):
        node = Tensor(x, requires_grad=True)
        made = LOSSES["binary_focal" if fields else "focal"](gamma=gamma, **fields)
        found, _ = made.per_sample(node, Tensor(t))
        assert np.isfinite(found.numpy()).all()
        found.sum().backward()
        assert node.grad is not None
        assert np.isfinite(node.grad.numpy()).all()


def test_dice_of_whole_empty_and_half_areas() -> None:
    """Of areas of 2 and 3 pixels with 2 in common: 1 - (4 + s) / (5 + s); an empty one that is found: 0."""
    p = np.array([[1.0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0]])[..., None]
    t = np.array([[1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 1, 1]])
    np.testing.assert_allclose(values("dice", p, t), [1 - 5 / 6, 0, 1 - 1 / 5])
    np.testing.assert_allclose(values("dice", p, t[..., None], smooth=1e-9), [1 - 4 / 5, 0, 1], atol=1e-8)


def test_dice_counts_each_class_the_same() -> None:
    x, labels = rng.normal(size=(2, 4, 3, 3)), rng.integers(0, 3, (2, 4, 3))
    p, t = softmax(x), np.eye(3)[labels]
    space = (1, 2)
    each = 1 - (2 * (p * t).sum(space) + 1) / (p.sum(space) + t.sum(space) + 1)
    np.testing.assert_allclose(values("dice", p, labels), each.mean(1), rtol=1e-12)
    np.testing.assert_allclose(values("dice", x, t, from_logits=True), each.mean(1), rtol=1e-12)
    squares = 1 - (2 * (p * t).sum(space) + 1) / ((p**2).sum(space) + (t**2).sum(space) + 1)
    np.testing.assert_allclose(values("dice", p, labels, squared=True), squares.mean(1), rtol=1e-12)


def test_predictions_and_target_types() -> None:
    x = Tensor(LOGITS)
    np.testing.assert_allclose(LOSSES["focal"]().prediction(x).numpy(), softmax(LOGITS))
    assert LOSSES["binary_focal"]().prediction(x) is x
    shown = LOSSES["binary_focal"](from_logits=True).prediction(x)
    np.testing.assert_allclose(shown.numpy(), sigmoid(LOGITS))
    one = Tensor(LOGITS[..., None])
    np.testing.assert_allclose(LOSSES["dice"](from_logits=True).prediction(one).numpy(), sigmoid(one.numpy()))
    np.testing.assert_allclose(LOSSES["dice"](from_logits=True).prediction(x).numpy(), softmax(LOGITS))
    assert LOSSES["dice"]().prediction(x) is x
    image, mask = TensorType((2, 4, 4, 3), float32), TensorType((2, 4, 4, 1), float32)
    assert LOSSES["dice"]().target_type(mask) == mask
    for name in ("dice", "focal"):
        assert LOSSES[name]().target_type(image) == TensorType((2, 4, 4), int64)
        assert LOSSES[name]().wrong(image, np.full((2, 4, 4), 2)) is None
        wrong = LOSSES[name]().wrong(image, np.full((2, 4, 4), 3))
        assert wrong == (0, "has label 3, the classes are 0 to 2")
    assert LOSSES["dice"]().wrong(mask, np.ones((2, 4, 4), int)) is None
    told = "has target 255, expected 0, 1, or a probability between them"
    assert LOSSES["dice"]().wrong(mask, np.full((2, 4, 4), 255)) == (0, told)
    assert LOSSES["dice"]().wrong(image, np.full((2, 4, 4, 3), 255)) == (0, told)


def test_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"focal needs as many classes as alpha has factors, 2"):
        values("focal", LOGITS, LABELS, alpha=[1, 2])
    with pytest.raises(ShapeError, match="focal needs a node of at least two classes"):
        values("focal", LOGITS[:, :1], LABELS)
    with pytest.raises(DTypeError, match="focal needs whole class indices"):
        values("focal", LOGITS, LABELS / 2)
    with pytest.raises(ShapeError, match=r"focal needs class indices \(\) or probabilities \(3,\)"):
        values("focal", LOGITS, YES[:, :2])
    with pytest.raises(ShapeError, match="dice needs a node with axes of space"):
        values("dice", LOGITS, YES)
    with pytest.raises(ShapeError, match="dice needs a target of the node's shape"):
        values("dice", AREAS, MASKS[:, 1:])


@pytest.mark.peers
def test_focal_losses_are_keras() -> None:
    keras = keras_in_float64()
    hot = np.eye(3)[LABELS]
    theirs = keras.losses.CategoricalFocalCrossentropy(
        alpha=[0.5, 2.0, 1.0], gamma=1.7, from_logits=True, reduction=None
    )(hot, LOGITS)
    ours = values("focal", LOGITS, LABELS, alpha=[0.5, 2, 1], gamma=1.7)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    for logits in (False, True):
        theirs = keras.losses.BinaryFocalCrossentropy(
            apply_class_balancing=True, alpha=0.3, gamma=1.7, from_logits=logits, reduction=None
        )(YES.astype(float), LOGITS if logits else sigmoid(LOGITS))
        x = LOGITS if logits else sigmoid(LOGITS)
        ours = values("binary_focal", x, YES, alpha=0.3, gamma=1.7, from_logits=logits)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.peers
def test_dice_is_keras() -> None:
    """Which sums over the batch too, unless it is told the axes."""
    keras = keras_in_float64()
    theirs = keras.losses.Dice(axis=(1, 2, 3), reduction=None)(MASKS.astype(float), AREAS)
    np.testing.assert_allclose(values("dice", AREAS, MASKS, smooth=1e-7), theirs, rtol=1e-6)
