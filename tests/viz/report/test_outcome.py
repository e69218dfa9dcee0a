"""What a network says of examples: numbers of outside, whatever it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cortex_compute.errors import DataError
from cortex_core.network import Network, network
from cortex_core.training.data import open_data
from cortex_core.training.evaluate import evaluate
from cortex_core.training.source import Arrays, find
from cortex_core.training.train import train
from cortex_viz.report import outcome as outcomes
from cortex_viz.report.collect import shown_of
from cortex_viz.report.outcome import outcome_of

RNG = np.random.default_rng(5)


def made(layers: list[Any], loss: dict[str, Any], **inputs: Any) -> Network:
    return network({"cortex": 1, "inputs": inputs or {"x": [4]}, "layers": layers, "loss": loss})


def data(n: int = 30, **more: Any) -> Arrays:
    return Arrays({"x": RNG.normal(size=(n, 4)).astype(np.float32), **more})


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x.astype(np.float64))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def raw(model: Network, source: Arrays) -> np.ndarray:
    return np.asarray(model.predict(source.arrays["x"], raw=True))


def test_classes_by_softmax() -> None:
    model = made([{"dense": {"units": 3, "id": "y"}}], {"softmax_cross_entropy": {"of": "y", "target": "t"}})
    source = data(t=np.arange(30) % 3)
    found = outcome_of(model, source, "test")
    p = softmax(raw(model, source))
    assert found.classes is not None
    np.testing.assert_allclose(found.classes.probabilities, p, rtol=1e-5)
    np.testing.assert_array_equal(found.classes.labels, np.arange(30) % 3)
    np.testing.assert_allclose(found.losses, -np.log(p[np.arange(30), np.arange(30) % 3]), rtol=1e-5)
    assert found.losses.mean() == pytest.approx(evaluate(model, source)["loss"], rel=1e-5)
    assert found.classes.names == ("0", "1", "2")
    assert (found.part, found.whole, len(found)) == ("test", 30, 30)


def test_outputs_beyond_the_classes_of_the_data_are_numbered() -> None:
    layers = [{"dense": {"units": 5, "id": "y"}}]
    model = made(layers, {"softmax_cross_entropy": {"of": "y", "target": "label"}}, features=[4])
    found = outcome_of(model, find("iris").load("test"), "test").classes
    assert found is not None
    assert found.names == ("setosa", "versicolor", "virginica", "3", "4")


def test_classes_given_as_probabilities() -> None:
    model = made([{"dense": {"units": 3, "id": "y"}}], {"softmax_cross_entropy": {"of": "y", "target": "t"}})
    targets = softmax(RNG.normal(size=(30, 3))).astype(np.float32)
    found = outcome_of(model, data(t=targets), "test").classes
    assert found is not None
    np.testing.assert_array_equal(found.labels, targets.argmax(axis=1))


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("column", [False, True])
def test_one_probability_counts_as_two_classes(from_logits: bool, column: bool) -> None:
    layer = {"units": 1, "id": "y"} | ({} if from_logits else {"activation": "sigmoid"})
    loss = {"of": "y", "target": "t"} | ({"from_logits": True} if from_logits else {})
    model = made([{"dense": layer}], {"binary_cross_entropy": loss})
    labels = (np.arange(30) % 2).astype(np.int64)
    source = data(t=labels[:, None] if column else labels)
    found = outcome_of(model, source, "test")
    given = raw(model, source).reshape(-1).astype(np.float64)
    p = 1 / (1 + np.exp(-given)) if from_logits else given
    assert found.classes is not None
    np.testing.assert_allclose(found.classes.probabilities, np.stack([1 - p, p], axis=1), rtol=1e-5)
    np.testing.assert_array_equal(found.classes.labels, labels)
    np.testing.assert_allclose(found.losses, -np.log(np.where(labels, p, 1 - p)), rtol=1e-4)


def test_one_half_counts_as_the_second_class() -> None:
    layer = {"units": 1, "id": "y", "activation": "sigmoid", "kernel_initializer": "zeros"}
    model = made([{"dense": layer}], {"binary_cross_entropy": {"of": "y", "target": "t"}})
    source = data(t=np.arange(30) % 3 > 0)
    found = outcome_of(model, source, "test").classes
    assert found is not None
    assert found.predicted.tolist() == [1] * 30
    assert (found.predicted == found.labels).mean() == evaluate(model, source)["accuracy"]


def test_ignored_labels_do_not_count() -> None:
    loss = {"of": "y", "target": "t", "ignore_index": 2}
    model = made([{"dense": {"units": 3, "id": "y"}}], {"softmax_cross_entropy": loss})
    found = outcome_of(model, data(t=np.arange(30) % 3), "test")
    assert found.classes is not None
    np.testing.assert_array_equal(found.classes.rows % 3, np.arange(20) % 2)
    assert np.isnan(found.losses[2::3]).all()
    assert np.isfinite(found.losses[::3]).all()
    assert found.classes.of(2) is None
    told = found.classes.of(3)
    assert told is not None
    assert told[0] == "0"


def test_the_losses_of_several_are_weighted() -> None:
    layers = [{"dense": {"units": 2, "id": "a"}}, {"dense": {"units": 1, "id": "b", "from": "x"}}]
    losses = {
        "mse": {"of": "b", "target": "v", "weight": 3},
        "softmax_cross_entropy": {"of": "a", "target": "t"},
    }
    model = made(layers, losses)
    source = data(t=np.arange(30) % 2, v=RNG.normal(size=30))
    found = outcome_of(model, source, "test")
    outputs = model.predict(source.arrays["x"], raw=True)
    p = softmax(outputs["a"])[np.arange(30), np.arange(30) % 2]
    far = (outputs["b"][:, 0] - source.arrays["v"]) ** 2
    np.testing.assert_allclose(found.losses, -np.log(p) + 3 * far, rtol=1e-4)
    assert found.classes is not None
    assert found.numbers is not None


def test_numbers_are_in_the_unit_of_the_target(tmp_path: Path) -> None:
    x = RNG.normal(size=60)
    table = pd.DataFrame({"x": x, "grams": 4000 + 500 * x})
    spec = {
        "cortex": 1,
        "inputs": {"features": "auto"},
        "layers": [{"dense": {"units": 1, "id": "mass"}}],
        "loss": {"mse": {"of": "mass", "target": "grams"}},
        "train": {"epochs": 2, "batch_size": 8, "test": 0.25, "split": "random"},
    }
    run = train(spec, data=table, out=tmp_path, progress=False)
    found_data = open_data(run.network.description, table, encoding=run.network.encoding)
    part, shown = shown_of(run.network, found_data)
    found = outcome_of(run.network, shown.source, part, shown)
    rows = found_data.rows["test"]
    assert found.numbers is not None
    assert part == "test"
    np.testing.assert_allclose(found.numbers.actual[:, 0], table["grams"][rows], rtol=1e-4)
    np.testing.assert_allclose(found.numbers.predicted, run.network.predict(table.iloc[rows]), rtol=1e-4)


def test_what_has_neither_classes_nor_numbers_says_why() -> None:
    auto = made([{"dense": {"units": 4, "id": "y"}}], {"mse": {"of": "y", "target": "x"}})
    found = outcome_of(auto, data(), "test")
    assert (found.classes, found.numbers) == (None, None)
    assert found.why == "'y' is compared with the input 'x'"
    letters = made(
        [{"dense": {"units": 3, "id": "y"}}],
        {"softmax_cross_entropy": {"of": "y", "target": "t"}},
        x=[5, 4],
    )
    arrays = Arrays({"x": RNG.normal(size=(6, 5, 4)), "t": RNG.integers(0, 3, (6, 5))})
    found = outcome_of(letters, arrays, "test")
    assert found.why == "'y' has [5, 3] answers for each example, not one class"
    assert found.losses.mean() == pytest.approx(evaluate(letters, arrays)["loss"], rel=1e-5)


def test_of_many_examples_some_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "MOST", 10)
    model = made([{"dense": {"units": 3, "id": "y"}}], {"softmax_cross_entropy": {"of": "y", "target": "t"}})
    found = outcome_of(model, data(91, t=np.arange(91) % 3), "validation")
    assert (len(found), found.whole) == (10, 91)
    assert found.classes is not None
    np.testing.assert_array_equal(found.classes.labels, np.arange(0, 91, 10) % 3)
    chosen = outcome_of(model, data(91, t=np.arange(91) % 3), "train", rows=np.array([5, 4]))
    assert chosen.classes is not None
    assert chosen.classes.labels.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [({"test": 0.2, "validation": 0.2}, "test"), ({"validation": 0.2}, "validation"), ({}, "train")],
)
def test_which_examples(parts: dict[str, float], expected: str) -> None:
    spec = {
        "cortex": 1,
        "inputs": {"x": [4]},
        "layers": [{"dense": {"units": 3, "id": "y"}}],
        "loss": {"softmax_cross_entropy": {"of": "y", "target": "t"}},
        "train": {"split": "random", **parts},
    }
    model = network(spec)
    found = open_data(model.description, data(50, t=np.arange(50) % 3))
    part, shown = shown_of(model, found)
    assert (part, len(shown.source)) == (expected, len(found.rows[expected]))
    assert shown_of(model, found, "train")[0] == "train"
    with pytest.raises(DataError, match="the data has no part 'more'; it has"):
        shown_of(model, found, "more")
