"""Losses of quantities, distributions and margins, and those without a target: worked values and peers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import DataError, ShapeError, SpecError
from cortex_compute.types import TensorType, float32, int64
from cortex_core.registry import LOSSES
from cortex_core.tensor import Tensor
from tests.core.keras_in_float64 import keras_in_float64

rng = np.random.default_rng(0)
X, T = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
SHARES = rng.dirichlet(np.ones(3), 5)


def values(name: str, x: np.ndarray, *target: np.ndarray, **fields: Any) -> np.ndarray:
    """The value of each sample, of a loss without weights."""
    found, weights = LOSSES[name](**fields).per_sample(Tensor(x), *map(Tensor, target))
    assert weights is None
    return np.asarray(found)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x)
    return np.asarray(e / e.sum(-1, keepdims=True))


def test_huber_is_a_parabola_with_straight_ends() -> None:
    x = np.array([[0.0, 0.5], [2.0, -5.0]])
    np.testing.assert_allclose(values("huber", x, np.zeros((2, 2))), [0.0625, (1.5 + 4.5) / 2])
    np.testing.assert_allclose(values("huber", x, np.zeros((2, 2)), delta=4), [0.0625, (2 + 12) / 2])


@pytest.mark.parametrize("no", [-1, 0])
def test_hinge_takes_minus_one_or_zero_for_the_other_class(no: int) -> None:
    x, t = np.array([[0.3], [2.0], [-0.5], [-3.0]]), np.array([1, no, no, 1])
    np.testing.assert_allclose(values("hinge", x, t), [0.7, 3.0, 0.5, 4.0])
    np.testing.assert_allclose(values("hinge", x, t[:, None].astype(float)), [0.7, 3.0, 0.5, 4.0])


def test_hinge_refuses_other_labels() -> None:
    x = TensorType((3, 1), float32)
    hinge = LOSSES["hinge"]()
    assert hinge.wrong(x, np.array([1, -1, 0])) is None
    assert hinge.wrong(x, np.array([1, 2, 5])) == (1, "has target 2, expected -1, 0 or 1")
    assert hinge.target_type(x) == TensorType((3, 1), int64)


def test_divergence_of_a_distribution() -> None:
    """0.5 log(0.5 / 0.25) + 0.5 log(0.5 / 0.75), and log 4 where all of it is at one place."""
    x = np.log([[0.25, 0.75], [0.25, 0.75]])
    wanted = [0.5 * np.log(4 / 3), np.log(4)]
    np.testing.assert_allclose(values("kl_divergence", x, np.array([[0.5, 0.5], [1.0, 0.0]])), wanted)
    np.testing.assert_allclose(values("kl_divergence", x + 7, np.array([[0.5, 0.5], [1.0, 0.0]])), wanted)


def test_divergence_takes_the_logits_of_a_softmax_node() -> None:
    """As a loss on probabilities it would take the softmax of a softmax."""
    spec = {
        "inputs": {"x": [3]},
        "layers": [{"softmax": {"id": "p"}}],
        "loss": {"kl_divergence": {"of": "p", "target": "t"}},
    }
    program = cortex.compile(cortex.network(spec), batch_size=5, purpose="evaluate", backend="numpy")
    found = float(program.run({"x": X.astype(np.float32), "t": SHARES.astype(np.float32)})["loss"])
    assert found == pytest.approx((SHARES * np.log(SHARES / softmax(X))).sum(-1).mean(), rel=1e-5)


def test_divergence_refuses_what_is_no_distribution() -> None:
    x, loss = TensorType((2, 2), float32), LOSSES["kl_divergence"]()
    assert loss.wrong(x, np.array([[0.5, 0.5], [0.1, 0.9]], np.float32)) is None
    assert loss.wrong(x, np.array([[0.5, 0.5], [-0.5, 1.5]])) == (
        1,
        "has the number -0.5, which is no probability",
    )
    assert loss.wrong(x, np.array([[0.5, 1.0], [0.1, 0.9]])) == (
        0,
        "has numbers with the sum 1.5, those of a distribution have 1",
    )
    with pytest.raises(ShapeError, match=r"the node is \(3,\), the target is \(\): kl_divergence needs"):
        values("kl_divergence", X, np.zeros(5))


def censored(x: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, weights, and the gradient of the weighted sum."""
    node = Tensor(x, requires_grad=True)
    found, weights = LOSSES["censor_loss"]().per_sample(node, Tensor(t))
    (found * weights).sum().backward()
    assert node.grad is not None
    return found.numpy(), weights.numpy(), node.grad.numpy()


def test_missing_labels_do_not_count() -> None:
    t = T.copy()
    t[0, 1:], t[1], t[2, 0] = np.nan, np.nan, np.nan
    found, weights, gradient = censored(X, t)
    np.testing.assert_allclose(weights, [1 / 3, 0, 2 / 3, 1, 1])
    there = ~np.isnan(t)
    squares = np.where(there, (X - np.nan_to_num(t)) ** 2, 0)
    np.testing.assert_allclose(found, squares.sum(1) / np.maximum(1, there.sum(1)))
    assert (found * weights).sum() / weights.sum() == pytest.approx(squares.sum() / there.sum())
    np.testing.assert_allclose(gradient, np.where(there, 2 * (X - np.nan_to_num(t)), 0) / 3)


def test_with_every_label_censor_loss_is_mse() -> None:
    found, weights, _ = censored(X, T)
    np.testing.assert_array_equal(found, values("mse", X, T))
    assert weights.tolist() == [1] * 5


def labelled() -> dict[str, Any]:
    return {
        "inputs": {"x": [3]},
        "layers": [{"dense": {"units": 2, "id": "y"}}],
        "loss": {"censor_loss": {"of": "y", "target": "t"}},
        "train": {"epochs": 2, "batch_size": 4, "validation": 0.25, "optimizer": {"sgd": 0.1}},
    }


def test_training_goes_on_over_a_batch_without_labels() -> None:
    """Whose loss is 0; and only data without any label are refused."""
    x, t = rng.normal(size=(16, 3)).astype(np.float32), rng.normal(size=(16, 2)).astype(np.float32)
    network = cortex.network(labelled())
    program = cortex.compile(network, batch_size=4, backend="numpy")
    before = network.parameters["y/kernel"].copy()
    nothing = np.full((4, 2), np.nan, np.float32)
    assert float(program.run({"x": x[:4], "t": nothing})["loss"]) == 0
    np.testing.assert_array_equal(network.parameters["y/kernel"], before)
    t[:12:2] = np.nan
    run = cortex.train(labelled(), data={"x": x, "t": t}, backend="numpy", progress=False)
    assert all(np.isfinite(row["loss"]) for row in run.history)
    with pytest.raises(DataError, match="no example of the data has a 't': all are missing"):
        cortex.train(
            labelled(), data={"x": x, "t": np.full((16, 2), np.nan)}, backend="numpy", progress=False
        )


@pytest.mark.parametrize("also", ["input", "loss", "metric"])
def test_only_a_target_of_censor_loss_may_hold_nan(also: str) -> None:
    spec = labelled()
    x, t = np.ones((16, 3)), np.ones((16, 2))
    (x if also == "input" else t)[5] = np.nan
    if also == "loss":
        spec["loss"] = [spec["loss"], {"mse": {"of": "y", "target": "t"}}]
    if also == "metric":
        spec["train"]["metrics"] = [{"mae": {"of": "y", "target": "t"}}]
    with pytest.raises(DataError, match="example 5 holds nan, which is not finite"):
        cortex.train(spec, data={"x": x, "t": t}, backend="numpy", progress=False)


def test_infinity_is_no_missing_label() -> None:
    t = np.ones((16, 2))
    t[3] = np.inf
    with pytest.raises(DataError, match="example 3 holds inf, which is not finite"):
        cortex.train(labelled(), data={"x": np.ones((16, 3)), "t": t}, backend="numpy", progress=False)


def test_penalties_of_a_node() -> None:
    x = np.array([[[1.0, -2.0]], [[0.0, 3.0]]])
    np.testing.assert_allclose(values("l1", x), [3, 3])
    np.testing.assert_allclose(values("l2", x), [5, 9])
    np.testing.assert_allclose(values("l1", X[:, 0]), abs(X[:, 0]))


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_a_loss_on_a_parameter_is_the_penalty_of_its_layer(kind: str) -> None:
    def trained(layer: dict[str, Any], *losses: Any) -> tuple[float, np.ndarray]:
        spec = {
            "inputs": {"x": [3]},
            "layers": [{"dense": {"units": 2, "id": "y", **layer}}],
            "loss": [{"mse": {"of": "y", "target": "t"}}, *losses],
            "train": {"optimizer": {"sgd": 0.1}},
        }
        network = cortex.network(spec)
        program = cortex.compile(network, batch_size=5, backend="numpy", seed=3)
        found = program.run({"x": X.astype(np.float32), "t": T[:, :2].astype(np.float32)})
        return float(found["loss"]), network.parameters["y/kernel"]

    own = trained({}, {kind: {"of": "y/kernel", "weight": 0.3}})
    penalty = trained({"penalty": {kind: 0.3}})
    assert own[0] == pytest.approx(penalty[0], rel=1e-6)
    np.testing.assert_allclose(own[1], penalty[1], rtol=1e-5)
    assert abs(trained({})[1] - own[1]).max() > 1e-3


def test_gaussian_kl_of_a_standard_normal_is_nothing() -> None:
    loss = LOSSES["gaussian_kl"](log_variance="v")
    zero = Tensor(np.zeros((2, 3)))
    assert loss.per_sample(zero, log_variance=zero)[0].numpy().tolist() == [0, 0]
    found = loss.per_sample(Tensor(np.ones((2, 3))), log_variance=Tensor(np.full((2, 3), np.log(4))))[0]
    np.testing.assert_allclose(found.numpy(), [3 * (1 + 4 - 1 - np.log(4)) / 2] * 2)
    with pytest.raises(
        ShapeError, match=r"gaussian_kl needs log_variance to be \(3,\) too, and it is \(1,\)"
    ):
        loss.per_sample(zero, log_variance=Tensor(np.zeros((2, 1))))


def test_fields_have_limits() -> None:
    with pytest.raises(SpecError, match=r"delta.*above 0"):
        LOSSES["huber"](delta=0)


@pytest.mark.peers
def test_they_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    f, x, t = torch.nn.functional, torch.tensor(X), torch.tensor(T)
    theirs = f.huber_loss(x, t, reduction="none", delta=0.6).mean(1)
    np.testing.assert_allclose(values("huber", X, T, delta=0.6), theirs, rtol=1e-12)
    theirs = f.kl_div(f.log_softmax(x, -1), torch.tensor(SHARES), reduction="none").sum(1)
    np.testing.assert_allclose(values("kl_divergence", X, SHARES), theirs, rtol=1e-10)
    normal, kl = torch.distributions.Normal, torch.distributions.kl_divergence
    theirs = kl(normal(x, (t / 2).exp()), normal(0.0, 1.0)).sum(1)
    ours = LOSSES["gaussian_kl"](log_variance="v").per_sample(Tensor(X), log_variance=Tensor(T))[0]
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-10)


@pytest.mark.peers
@pytest.mark.parametrize("no", [-1, 0])
def test_hinge_and_divergence_are_keras(no: int) -> None:
    keras = keras_in_float64()
    signs = np.where(T > 0, 1, no)
    theirs = keras.losses.Hinge(reduction=None)(signs.astype(float), X)
    np.testing.assert_allclose(values("hinge", X, signs), theirs, rtol=1e-12)
    theirs = keras.losses.KLDivergence(reduction=None)(SHARES, softmax(X))
    np.testing.assert_allclose(values("kl_divergence", X, SHARES), theirs, rtol=1e-6)
