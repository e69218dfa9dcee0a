"""Losses of embeddings: worked values, loops written out, PyTorch, and centres that move in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import DTypeError, ShapeError
from cortex_compute.types import TensorType, float32, int64
from cortex_core.layers.scope import Scope
from cortex_core.registry import LOSSES
from cortex_core.tensor import Tensor

rng = np.random.default_rng(2)
X, NEAR, OTHER = rng.normal(size=(3, 7, 4))
LABELS = np.array([0, 1, 0, 2, 1, 0, 3])


def test_contrast_of_pairs() -> None:
    """Distances 0.5 and 2, margin 1: same pairs cost d² / 2, different ones that are near (1 - d)² / 2."""
    x = np.zeros((4, 2))
    other = np.array([[0.3, 0.4], [0, 2], [0.3, 0.4], [0, 2]])
    loss = LOSSES["contrastive"](other="b")
    found, weights = loss.per_sample(Tensor(x), Tensor(np.array([1, 1, 0, 0])), other=Tensor(other))
    assert weights is None
    np.testing.assert_allclose(found.numpy(), [0.125, 2, 0.125, 0])
    wide = LOSSES["contrastive"](other="b", margin=3)
    found, _ = wide.per_sample(Tensor(x), Tensor(np.array([[1], [1], [0], [0]])), other=Tensor(other))
    np.testing.assert_allclose(found.numpy(), [0.125, 2, 2.5**2 / 2, 0.5])


def test_equal_embeddings_have_a_finite_gradient() -> None:
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    loss = LOSSES["contrastive"](other="b")
    found, _ = loss.per_sample(x, Tensor(np.array([0, 1])), other=Tensor(np.ones((2, 3))))
    found.sum().backward()
    assert x.grad is not None
    assert np.isfinite(x.grad.numpy()).all()


def hard(x: np.ndarray, labels: np.ndarray, margin: float) -> tuple[list[float], list[int]]:
    """Hermans et al., equation 5, in loops."""
    values, counts = [], []
    for a in range(len(x)):
        away = [float(np.linalg.norm(x[a] - x[b])) for b in range(len(x))]
        same = [away[b] for b in range(len(x)) if b != a and labels[b] == labels[a]]
        others = [away[b] for b in range(len(x)) if labels[b] != labels[a]]
        counts.append(int(bool(same and others)))
        values.append(max(0.0, margin + max(same) - min(others)) if same and others else 0.0)
    return values, counts


@pytest.mark.parametrize("labels", [LABELS, np.zeros(7, int), np.arange(7)])
def test_the_hardest_of_a_batch(labels: np.ndarray) -> None:
    node = Tensor(X, requires_grad=True)
    found, weights = LOSSES["batch_hard_triplet"](margin=0.5).per_sample(node, Tensor(labels))
    values, counts = hard(X, labels, 0.5)
    assert weights.numpy().tolist() == counts
    np.testing.assert_allclose(found.numpy() * counts, values, rtol=1e-10)
    (found * weights).sum().backward()
    assert node.grad is not None
    assert np.isfinite(node.grad.numpy()).all()
    assert node.grad.numpy().any() == any(counts)


def moved(centers: np.ndarray, x: np.ndarray, labels: np.ndarray, alpha: float) -> np.ndarray:
    """Wen et al., equation 4 and the update of algorithm 1, in loops."""
    new = centers.copy()
    for j in range(len(centers)):
        mine = [x[i] for i in range(len(x)) if labels[i] == j]
        new[j] -= alpha * sum((centers[j] - one for one in mine), np.zeros(x.shape[1])) / (1 + len(mine))
    return new


def center_loss(centers: np.ndarray, training: bool = True, **fields: Any) -> tuple[np.ndarray, Any]:
    updates: dict[str, Any] = {}
    p = Scope({"centers": Tensor(centers)}, training, "center_loss", on_update=updates.__setitem__)
    loss = LOSSES["center_loss"](classes=len(centers), **fields)
    found, weights = loss.per_sample(Tensor(X), Tensor(LABELS), p=p)
    assert weights is None
    return found.numpy(), updates.get("centers")


def test_centers_move_to_their_features() -> None:
    centers = rng.normal(size=(5, 4))
    found, new = center_loss(centers, alpha=0.3)
    np.testing.assert_allclose(found, ((X - centers[LABELS]) ** 2).sum(1) / 2)
    np.testing.assert_allclose(new.numpy(), moved(centers, X, LABELS, 0.3))
    np.testing.assert_array_equal(new.numpy()[4], centers[4])  # of a class that the batch has not
    assert center_loss(centers, training=False)[1] is None


def test_centers_on_a_sphere() -> None:
    _, new = center_loss(np.zeros((5, 4)), radius=2)
    lengths = np.linalg.norm(new.numpy(), axis=1)
    np.testing.assert_allclose(lengths, [2, 2, 2, 2, 0])
    free = moved(np.zeros((5, 4)), X, LABELS, 0.5)[:4]
    np.testing.assert_allclose(new.numpy()[:4], 2 * free / np.linalg.norm(free, axis=1, keepdims=True))


def embedded(**fields: Any) -> dict[str, Any]:
    return {
        "inputs": {"x": [4]},
        "layers": [{"linear": {"id": "z"}}, {"dense": {"units": 4, "id": "y"}}],
        "loss": [
            {"softmax_cross_entropy": {"of": "y", "target": "label"}},
            {"center_loss": {"of": "z", "target": "label", "classes": 4, "weight": 0.1, **fields}},
        ],
        "train": {"optimizer": {"sgd": 0.1}},
    }


def test_a_program_keeps_its_centers_and_evaluation_does_not_move_them() -> None:
    network = cortex.network(embedded())
    batch = {"x": X.astype(np.float32), "label": LABELS}
    program = cortex.compile(network, batch_size=7, backend="numpy")
    expected = np.zeros((4, 4))
    for _ in range(3):
        float(program.run(batch)["loss"])
        expected = moved(expected, X, LABELS, 0.5)
    np.testing.assert_allclose(network.variables["center_loss/centers"], expected, rtol=1e-4, atol=1e-6)
    measured = cortex.compile(network, batch_size=7, backend="numpy", purpose="evaluate").run(batch)
    float(measured["loss"])
    np.testing.assert_allclose(network.variables["center_loss/centers"], expected, rtol=1e-4, atol=1e-6)


def test_target_types_and_labels_that_there_are_not() -> None:
    x = TensorType((3, 8), float32)
    for name, fields in (
        ("center_loss", {"classes": 2}),
        ("contrastive", {"other": "b"}),
        ("batch_hard_triplet", {}),
    ):
        assert LOSSES[name](**fields).target_type(x) == TensorType((3,), int64)
    wrong = LOSSES["center_loss"](classes=2).wrong(x, np.array([0, 1, 2]))
    assert wrong == (2, "has label 2, the classes are 0 to 1")
    wrong = LOSSES["contrastive"](other="b").wrong(x, np.array([0, -1, 1]))
    assert wrong == (1, "has target -1, expected 0 or 1")


def test_what_does_not_fit() -> None:
    pair, triple = LOSSES["contrastive"](other="b"), LOSSES["triplet"](positive="p", negative="n")
    with pytest.raises(ShapeError, match=r"contrastive needs other to be \(4,\) too, and it is \(3,\)"):
        pair.per_sample(Tensor(X), Tensor(LABELS), other=Tensor(X[:, :3]))
    with pytest.raises(ShapeError, match=r"contrastive needs one number for each sample"):
        pair.per_sample(Tensor(X), Tensor(X), other=Tensor(X))
    with pytest.raises(ShapeError, match=r"triplet needs negative to be \(4,\) too, and it is \(4, 1\)"):
        triple.per_sample(Tensor(X), positive=Tensor(X), negative=Tensor(X[..., None]))
    with pytest.raises(ShapeError, match=r"the node is \(4, 1\): batch_hard_triplet needs a vector"):
        LOSSES["batch_hard_triplet"]().per_sample(Tensor(X[..., None]), Tensor(LABELS))
    with pytest.raises(
        DTypeError, match="batch_hard_triplet needs whole class indices, the target is float64"
    ):
        LOSSES["batch_hard_triplet"]().per_sample(Tensor(X), Tensor(LABELS / 1))
    with pytest.raises(ShapeError, match=r"the node is \(2, 2\): center_loss needs a vector"):
        list(LOSSES["center_loss"](classes=2).parameters(TensorType((3, 2, 2), float32)))


@pytest.mark.peers
def test_triplets_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    loss = LOSSES["triplet"](positive="p", negative="n", margin=0.7)
    nodes = [Tensor(a, requires_grad=True) for a in (X, NEAR, OTHER)]
    ours, weights = loss.per_sample(nodes[0], positive=nodes[1], negative=nodes[2])
    assert weights is None
    given = [torch.tensor(a, requires_grad=True) for a in (X, NEAR, OTHER)]
    theirs = torch.nn.functional.triplet_margin_loss(*given, margin=0.7, eps=0, reduction="none")
    np.testing.assert_allclose(ours.numpy(), theirs.detach(), rtol=1e-12)
    ours.sum().backward()
    theirs.sum().backward()
    for mine, peer in zip(nodes, given):
        assert mine.grad is not None
        np.testing.assert_allclose(mine.grad.numpy(), peer.grad, rtol=1e-10, atol=1e-12)
