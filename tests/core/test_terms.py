"""Losses of nodes, parameters and streams, with weights; what is shared or constrained: against formulas."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import DataError, ShapeError, SpecError

rng = np.random.default_rng(0)
BATCH = 6


def network(layers: list[Any], loss: Any, inputs: dict[str, Any] | None = None, **train: Any) -> Any:
    described = {"inputs": inputs or {"x": [4]}, "layers": layers, "loss": loss, "train": train}
    return cortex.network(described)


def loss_of(net: Any, **streams: np.ndarray) -> float:
    program = cortex.compile(net, backend="numpy", batch_size=BATCH, purpose="evaluate")
    return float(program.run(streams)["loss"])


def softmax_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(1, keepdims=True)
    return np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]


X = rng.normal(size=(BATCH, 4)).astype(np.float32)
LABELS = np.array([0, 1, 2, 2, 1, 2])


def test_a_target_made_of_another_stream() -> None:
    net = network([{"dense": 3}], {"softmax_cross_entropy": {"target": {"index": "scores"}}})
    scores = np.eye(3, dtype=np.float32)[LABELS]
    expected = softmax_cross_entropy(net.predict(X, raw=True).astype(np.float64), LABELS).mean()
    assert loss_of(net, x=X, scores=scores) == pytest.approx(expected, rel=1e-6)


def test_a_target_made_one_hot() -> None:
    net = network([{"dense": 3}], {"mse": {"target": {"one_hot": {"of": "label", "classes": 3}}}})
    expected = np.mean((net.predict(X, raw=True) - np.eye(3)[LABELS]) ** 2)
    assert loss_of(net, x=X, label=LABELS) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("made", [False, True])
def test_weights_of_examples(made: bool) -> None:
    used: Any = {"inverse_counts": "label"} if made else "weight"
    loss = {"softmax_cross_entropy": {"target": "label", "sample_weight": used}}
    net = network([{"dense": 3}], loss)
    weights = np.array([1, 1 / 2, 1 / 3, 1 / 3, 1 / 2, 1 / 3]) if made else rng.random(BATCH)
    values = softmax_cross_entropy(net.predict(X, raw=True).astype(np.float64), LABELS)
    given = {} if made else {"weight": weights.astype(np.float32)}
    expected = (values * weights).sum() / weights.sum()
    assert loss_of(net, x=X, label=LABELS, **given) == pytest.approx(expected, rel=1e-6)


def test_weights_of_another_shape_are_refused() -> None:
    net = network([{"dense": 3}], {"softmax_cross_entropy": {"target": "label", "sample_weight": "weight"}})
    with pytest.raises(ShapeError, match="expected one weight for each example"):
        loss_of(net, x=X, label=LABELS, weight=np.ones((BATCH, 2), np.float32))


def test_losses_on_a_parameter_and_on_a_node_add_up() -> None:
    layers = [{"dense": {"units": 5, "id": "hidden"}}, {"dense": {"units": 1, "id": "out"}}]
    losses = [
        {"mse": {"of": "out", "target": "y"}},
        {"l2": {"of": "hidden/kernel", "weight": 0.1, "name": "decay"}},
        {"l1": {"of": "hidden", "weight": 0.01}},
    ]
    net, y = network(layers, losses), rng.normal(size=(BATCH, 1)).astype(np.float32)
    w, v = (net.parameters[f"{name}/kernel"].astype(np.float64) for name in ("hidden", "out"))
    hidden = X.astype(np.float64) @ w
    expected = ((hidden @ v - y) ** 2).mean() + 0.1 * (w**2).sum() + 0.01 * abs(hidden).sum(1).mean()
    assert loss_of(net, x=X, y=y) == pytest.approx(expected, rel=1e-6)


def test_shared_parameters_get_the_sum_of_the_gradients() -> None:
    """One step of sgd over two towers: the update is that of both."""
    layers = [
        {"dense": {"units": 2, "id": "a", "from": "x"}},
        {"dense": {"units": 2, "id": "b", "from": "z", "share": "a"}},
        {"add": {"from": ["a", "b"]}},
    ]
    optimizer = {"sgd": {"learning_rate": 0.5, "momentum": 0}}
    inputs = {"x": [4], "z": [4]}
    net = network(layers, {"mse": {"target": "y"}}, inputs, optimizer=optimizer)
    assert list(net.parameters) == ["a/kernel", "a/bias"]
    w, b = (net.parameters[name].astype(np.float64) for name in ("a/kernel", "a/bias"))
    z, y = (rng.normal(size=(BATCH, n)).astype(np.float32) for n in (4, 2))
    difference = (X + z) @ w + 2 * b - y
    g = 2 * difference / y.size
    cortex.compile(net, backend="numpy", batch_size=BATCH).run({"x": X, "z": z, "y": y})
    np.testing.assert_allclose(net.parameters["a/kernel"], w - 0.5 * (X + z).T @ g, rtol=1e-5)
    np.testing.assert_allclose(net.parameters["a/bias"], b - 0.5 * 2 * g.sum(0), rtol=1e-5)


def test_shared_moving_statistics_see_both_batches() -> None:
    layers = [
        {"batch_norm": {"id": "a", "from": "x", "momentum": 0.5}},
        {"batch_norm": {"id": "b", "from": "z", "momentum": 0.5, "share": "a"}},
        {"add": {"from": ["a", "b"]}},
    ]
    net = network(layers, {"mse": {"target": "y"}}, {"x": [4], "z": [4]})
    z, y = (rng.normal(size=(BATCH, 4)).astype(np.float32) for _ in range(2))
    cortex.compile(net, backend="numpy", batch_size=BATCH).run({"x": X, "z": z, "y": y})
    assert list(net.variables) == ["a/moving_mean", "a/moving_variance"]
    np.testing.assert_allclose(net.variables["a/moving_mean"], 0.25 * X.mean(0) + 0.5 * z.mean(0), rtol=1e-5)


@pytest.mark.parametrize("backend", ["numpy", "auto"])
@pytest.mark.parametrize("rule", ["max_norm", "unit_norm", "non_negative"])
def test_constraints_hold_after_each_step(rule: str, backend: str) -> None:
    fields = {"max_norm": {"value": 0.7}}.get(rule, {})
    dense = {"units": 3, "constraint": {"kernel": {rule: fields}}}
    optimizer = {"sgd": {"learning_rate": 0.3, "momentum": 0}}
    net = network([{"dense": dense}], {"mse": {"target": "y"}}, optimizer=optimizer)
    w = net.parameters["dense/kernel"].astype(np.float64)
    y = rng.normal(size=(BATCH, 3)).astype(np.float32)
    free = w - 0.3 * X.T @ (2 * (X @ w - y) / y.size)
    norms = np.linalg.norm(free, axis=0)
    expected = {
        "max_norm": free * np.minimum(1, 0.7 / norms), "unit_norm": free / norms,
        "non_negative": np.maximum(free, 0),
    }[rule]  # fmt: skip
    program = cortex.compile(net, backend=backend, batch_size=BATCH)
    program.run({"x": X, "y": y})
    np.testing.assert_allclose(net.parameters["dense/kernel"], expected, rtol=1e-5, atol=1e-7)
    for _ in range(3):
        program.run({"x": X, "y": y})
    norms = np.linalg.norm(net.parameters["dense/kernel"], axis=0)
    assert {"max_norm": norms.max() < 0.7001, "unit_norm": np.allclose(norms, 1, rtol=1e-5)}.get(
        rule, net.parameters["dense/kernel"].min() >= 0
    )


def test_a_network_with_constraints_is_saved_and_goes_on_with_its_moments(tmp_path: Any) -> None:
    dense = {"units": 3, "constraint": {"kernel": {"max_norm": 1.0}}}
    net = network([{"dense": dense}], {"mse": {"target": "y"}}, optimizer="adam")
    y = rng.normal(size=(BATCH, 3)).astype(np.float32)
    cortex.compile(net, backend="numpy", batch_size=BATCH).run({"x": X, "y": y})
    net.save(tmp_path / "net.cortex")
    again = cortex.load(tmp_path / "net.cortex")
    np.testing.assert_array_equal(again.parameters["dense/kernel"], net.parameters["dense/kernel"])
    assert np.abs(again.parameters["dense/kernel"]).max() > 0


def test_a_loss_that_keeps_values() -> None:
    loss = {"center_loss": {"target": "label", "classes": 3, "alpha": 0.5}}
    net = network([{"dense": {"units": 2, "id": "features"}}], loss)
    assert list(net.variables) == ["center_loss/centers"]
    features = net.predict(X, raw=True).astype(np.float64)
    program = cortex.compile(net, backend="numpy", batch_size=BATCH)
    program.run({"x": X, "label": LABELS})
    expected = np.zeros((3, 2))
    for j in range(3):  # Wen et al., 2016, equation 4
        mine = features[j == LABELS]
        expected[j] -= 0.5 * (0 - mine).sum(0) / (1 + len(mine))
    np.testing.assert_allclose(net.variables["center_loss/centers"], expected, rtol=1e-5)


def test_a_loss_that_keeps_values_has_a_name_of_its_own() -> None:
    loss = {"center_loss": {"target": "label", "classes": 3, "name": "features"}}
    with pytest.raises(SpecError, match="'features' keeps values, and a layer has this id: expected another"):
        network([{"dense": {"units": 2, "id": "features"}}], loss)


def test_all_labels_missing_is_told_before_training(tmp_path: Any) -> None:
    net = {"inputs": {"x": [4]}, "layers": [{"dense": 1}], "loss": {"censor_loss": {"target": "y"}}}
    data = {"x": X, "y": np.full((BATCH, 1), np.nan, np.float32)}
    with pytest.raises(DataError, match="'y': all are missing"):
        cortex.train(net, data=data, batch_size=2, out=tmp_path)


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        ({"l2": {"target": "y"}}, r"loss\[0\].l2.target: l2 compares with nothing: expected no target"),
        ({"mse": {}}, "'target' is missing"),
        ({"mse": {"of": "dense/kernel", "target": "y"}}, "'dense/kernel' is a parameter"),
        ({"l2": {"of": "dense/kernle"}}, "no parameter 'kernle'. Did you mean 'kernel'?"),
        ({"mse": {"target": {"indx": "y"}}}, "unknown stream 'indx'. Did you mean 'index'?"),
        ({"mse": {"target": ["y"]}}, "unknown stream 'y'"),
        ({"mse": {"target": {"one_hot": "y"}}}, "'classes' is missing"),
        ({"triplet": {"positive": "dense", "negative": "dens"}}, "there is no 'dens'. Did you mean 'dense'?"),
        (
            {"l2": {"of": "dense/kernel", "sample_weight": "w"}},
            "'dense/kernel' is a parameter, which has no ex",
        ),
        ({"l2": {"of": "relu/kernel"}}, "'relu' has no parameter 'kernel': it has none"),
        (
            {"center_loss": {"of": "x", "target": "y", "classes": 2}},
            r"'x' is \(4, 2\): center_loss needs a v",
        ),
    ],
)
def test_what_a_loss_cannot_be(loss: Any, told: str) -> None:
    from cortex_core.check import check

    described = {"inputs": {"x": [4, 2]}, "layers": ["relu", {"dense": 3}], "loss": [loss]}
    (found,) = check(described).problems
    assert re.search(told, str(found))
    with pytest.raises(SpecError):
        cortex.network(described)


def test_a_loss_in_a_block_names_its_neighbours() -> None:
    contrastive = {"contrastive": {"target": "same", "other": "one"}}
    inner = [
        {"dense": {"units": 2, "id": "one", "from": "input"}},
        {"dense": {"units": 2, "id": "two", "from": "input", "loss": contrastive}},
        {"add": {"from": ["one", "two"]}},
    ]
    described = {
        "inputs": {"x": [4]},
        "blocks": {"pair": {"layers": inner}},
        "layers": [{"pair": {"id": "p"}}],
    }
    net = cortex.network({**described, "loss": {"mse": {"of": "p", "target": "y"}}})
    assert net.description.losses[1].sources == ("p/two", "p/one")


def test_a_metric_measures_the_target_that_the_loss_makes() -> None:
    loss = {"mse": {"target": {"one_hot": {"of": "label", "classes": 3}}}}
    net = network([{"dense": 3}], loss, metrics=["mae"])
    found = cortex.evaluate(net, {"x": X, "label": LABELS}, backend="numpy")
    expected = np.abs(net.predict(X, raw=True) - np.eye(3)[LABELS]).mean()
    assert found["mae"] == pytest.approx(expected, rel=1e-6)
    again = cortex.network(net.description.canonical)
    assert again.description.hash == net.description.hash


def test_a_metric_may_say_what_its_target_is_made_of() -> None:
    metric = {"accuracy": {"of": "dense", "target": {"index": "scores"}}}
    net = network([{"dense": 3}], {"mse": {"target": "scores"}}, metrics=[metric])
    scores = np.eye(3, dtype=np.float32)[LABELS]
    found = cortex.evaluate(net, {"x": X, "scores": scores}, backend="numpy")
    assert found["accuracy"] == pytest.approx((net.predict(X).argmax(1) == LABELS).mean())


@pytest.mark.parametrize("activation", ["linear", "softmax"])
def test_a_metric_has_the_weights_of_its_loss(activation: str) -> None:
    """Also where the loss takes the logits of the layer that the metric names."""
    loss = {"softmax_cross_entropy": {"target": "label", "sample_weight": "weight"}}
    net = network([{"dense": {"units": 3, "activation": activation}}], loss, metrics=["accuracy"])
    weights = np.array([1, 2, 4, 8, 16, 32], np.float32)
    found = cortex.evaluate(net, {"x": X, "label": LABELS, "weight": weights}, backend="numpy")
    right = net.predict(X).argmax(1) == LABELS
    assert 0 < right.sum() < BATCH
    assert found["accuracy"] == pytest.approx((right * weights).sum() / weights.sum())


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        ({"target": {"index": "label"}}, "'label' is one number: index needs scores"),
        (
            {"target": "label", "sample_weight": {"inverse_counts": "scores"}},
            r"'scores' is \(3,\): inverse_counts needs one label for each example",
        ),
    ],
)
def test_streams_of_which_nothing_can_be_made(loss: Any, told: str) -> None:
    net = network([{"dense": 3}], {"softmax_cross_entropy": loss})
    streams = {"x": X, "label": LABELS, "scores": np.eye(3, dtype=np.float32)[LABELS]}
    named = {name: streams[name] for name in ("x", *net.description.loss_streams)}
    with pytest.raises(ShapeError, match=told):
        loss_of(net, **named)
