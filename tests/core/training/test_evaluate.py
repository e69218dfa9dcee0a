"""What `evaluate` gives, against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from cortex_compute.errors import DataError, SpecError
from cortex_core.network import network
from cortex_core.training.evaluate import evaluate
from tests.core.training.networks import blobs, description, line, plain, states


@pytest.mark.parametrize("batch_size", [7, 50, 256])
def test_loss_accuracy_and_confusion(batch_size: int) -> None:
    made, data = network(description()), blobs()
    before = states(made)
    found = evaluate(made, data, batch_size=batch_size)
    p = made.predict(data["x"]).astype(float)
    said, true = p.argmax(axis=1), data["label"]
    confusion = np.zeros((3, 3))
    np.add.at(confusion, (true, said), 1)
    assert found["loss"] == pytest.approx(-np.log(p[np.arange(50), true]).mean(), rel=1e-5)
    assert found["accuracy"] == pytest.approx((said == true).mean())
    np.testing.assert_array_equal(found["confusion_matrix"], confusion)
    assert made.description.train.metrics == ()  # what was added is not kept
    assert {k: v for k, v in states(made).items() if k in before} == before


def test_a_focal_loss_compares_classes_as_a_cross_entropy_does() -> None:
    data, found = blobs(), {}
    for kind in ("softmax_cross_entropy", "focal"):
        layers = [{"dense": {"units": 3, "id": "k"}}]
        made = network({"inputs": {"x": [4]}, "layers": layers, "loss": {kind: {"target": "label"}}})
        found[kind] = evaluate(made, {"x": np.resize(data["x"], (50, 4)), "label": data["label"]})
    plain, focal = found.values()
    assert focal["accuracy"] == plain["accuracy"]
    np.testing.assert_array_equal(focal["confusion_matrix"], plain["confusion_matrix"])
    yes = {"loss": {"binary_focal": {"target": "label", "from_logits": True}}}
    made = network({"inputs": {"x": [4]}, "layers": [{"dense": 1}], **yes})
    x, labels = np.resize(data["x"], (50, 4)), data["label"] > 0
    assert evaluate(made, {"x": x, "label": labels})["accuracy"] == pytest.approx(
        np.mean((made.predict(x)[:, 0] >= 0.5) == labels)
    )


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5]])
def test_places_that_the_loss_ignores_are_in_no_metric(weights: list[float] | None) -> None:
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(40, 5, 4)).astype(np.float32), "y": rng.integers(0, 3, (40, 5))}
    data["y"][rng.uniform(size=(40, 5)) < 0.4] = -1
    loss = {"of": "k", "target": "y", "ignore_index": -1, "class_weights": weights}
    spec = {
        "inputs": {"x": [5, 4]},
        "layers": [{"dense": {"units": 3, "id": "k"}}],
        "loss": {"softmax_cross_entropy": {name: x for name, x in loss.items() if x is not None}},
    }
    made = network(spec)
    found = evaluate(made, data)
    said, true = made.predict(data["x"]).argmax(-1), data["y"]
    w = np.zeros((40, 5))  # each place by the mean weight of the places of its sample that count
    for i, kept in enumerate(true >= 0):
        w[i, kept] = 1 if weights is None else np.mean(np.take(weights, true[i, kept])) if kept.any() else 0
    confusion = np.zeros((3, 3))
    np.add.at(confusion, (true[true >= 0], said[true >= 0]), w[true >= 0])
    np.testing.assert_allclose(found["confusion_matrix"], confusion)
    assert found["accuracy"] == pytest.approx(np.trace(confusion) / confusion.sum())


def test_a_regression() -> None:
    made, data = network(plain(metrics=["mae"])), line()
    error = made.predict(data["x"]).astype(float) - data["t"]
    found = evaluate(made, data)
    assert found == {
        "loss": pytest.approx((error**2).mean(), rel=1e-5),
        "mae": pytest.approx(abs(error).mean(), rel=1e-5),
    }


def test_a_description_without_train_can_be_evaluated() -> None:
    spec = plain()
    del spec["train"]
    assert set(evaluate(network(spec), line())) == {"loss"}


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="no part 'valid'; it has train, test"):
        evaluate(network(description()), "iris", "valid")
    with pytest.raises(DataError, match="'x' is no stream of"):
        evaluate(network(description()), "iris")
    with pytest.raises(DataError, match="label 5"):
        evaluate(network(description()), blobs() | {"label": np.full(50, 5)})
    with pytest.raises(DataError, match="no examples"):
        evaluate(network(description()), blobs(0))
    spec = description()
    del spec["loss"], spec["train"]
    with pytest.raises(SpecError, match="no loss"):
        evaluate(network(spec), blobs())
