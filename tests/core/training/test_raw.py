"""Raw examples: predicted and measured by what the network learned of its data."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import DataError
from cortex_core.training.run import Run
from tests.core.training.points import fitting, lines, save, telling


def train(spec: Any, **options: Any) -> Run:
    return cortex.train(spec, out="run", progress=False, **options)


def by_hand(run: Run, xs: Any, unit: bool) -> np.ndarray[Any, Any]:
    """The line of a regression in float64, with scales of the forty points."""
    rows = lines(Path("points.dots"))
    x, y = (np.array([row[name] for row in rows]) for name in ("x", "y"))
    kernel, bias = (run.network.parameters[f"out/{name}"].astype(float).item() for name in ("kernel", "bias"))
    scaled = kernel * (np.asarray(xs) - x.mean()) / x.std() + bias
    return np.asarray(scaled * y.std() + y.mean() if unit else scaled)


def test_a_scaled_target_comes_back_in_its_unit(points: Path) -> None:
    run = train(fitting(epochs=60, optimizer={"sgd": {"learning_rate": 0.2}}))
    xs = [-3.5, 0.25, 12.0]
    rows = [{"x": x} for x in xs]
    found = run.network.predict(rows)
    np.testing.assert_allclose(found[:, 0], by_hand(run, xs, unit=True), rtol=1e-5)
    np.testing.assert_allclose(found[:, 0], 100 * (3 * np.array(xs) + 1), rtol=1e-3)  # as the file was made
    np.testing.assert_allclose(
        run.network.predict(rows, raw=True)[:, 0], by_hand(run, xs, unit=False), rtol=1e-4, atol=1e-6
    )


def test_arrays_are_taken_as_they_are(points: Path) -> None:
    """They are what the encoding makes; only the answer is in its unit."""
    run = train(fitting(epochs=5))
    centre, spread = run.network.encoding.scales["x"]  # type: ignore[union-attr]
    rows = [{"x": -1.0}, {"x": 2.0}]
    encoded = np.array([[(row["x"] - centre) / spread] for row in rows], np.float32)
    expected = run.network.predict(rows)
    np.testing.assert_allclose(run.network.predict(encoded), expected, rtol=1e-5)
    np.testing.assert_allclose(run.network.predict({"x": encoded}), expected, rtol=1e-5)


def test_probabilities_have_no_unit(points: Path) -> None:
    run = train(telling(epochs=5))
    found = run.network.predict([{"x": -1.0}, {"x": 1.0}])
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    logits = run.network.predict([{"x": -1.0}, {"x": 1.0}], raw=True)
    np.testing.assert_allclose(np.diff(np.log(found)), np.diff(logits), rtol=1e-4)


def test_two_outputs_each_in_its_own(points: Path) -> None:
    spec = fitting(epochs=2)
    spec["layers"] += [{"dense": {"units": 2, "id": "tell", "from": "x"}}]
    spec["loss"] = [spec["loss"], {"softmax_cross_entropy": {"of": "tell", "target": "kind"}}]
    run = train(spec)
    found = run.network.predict([{"x": 1.5}])
    assert set(found) == {"out", "tell"}
    np.testing.assert_allclose(found["out"].ravel(), by_hand(run, [1.5], unit=True), rtol=1e-5)
    assert found["tell"].sum() == pytest.approx(1)


def test_files_and_rows_are_one(points: Path) -> None:
    run = train(fitting(epochs=2))
    rows = save(points / "new.dots", 7, seed=4)
    expected = run.network.predict(rows)
    assert expected.shape == (7, 1)
    for given in ("new.dots", points / "new.dots"):
        np.testing.assert_array_equal(run.network.predict(given), expected)
    np.testing.assert_array_equal(run.network.predict(rows, batch_size=3), expected)
    with pytest.raises(DataError, match=r"there is no data file 'nowhere\.dots'"):
        run.network.predict("nowhere.dots")


def test_what_was_counted_is_a_warning_where_the_caller_stands(points: Path) -> None:
    run = train(fitting())
    with pytest.warns(UserWarning, match="2 numbers far away") as caught:
        run.network.predict([{"x": 1e6}, {"x": 0.0}, {"x": -1e6}])
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.network.predict([{"x": 1.0}])


@pytest.mark.parametrize("given", ["points.dots", Path("points.dots"), [{"x": 1.0}], ["red"], None])
def test_raw_examples_need_a_network_that_learned_of_such(given: Any) -> None:
    made = cortex.network({"inputs": {"x": [1]}, "layers": [{"dense": 1}]})
    with pytest.raises(DataError, match=r"input 'x' is a \w+ without numbers; .* others take arrays"):
        made.predict(given)


def test_a_table_is_not_measured_by_a_network_of_arrays(tmp_path: Path) -> None:
    made = cortex.network({**fitting(None), "inputs": {"x": [1]}})
    (tmp_path / "t.csv").write_text("x,y\n1,2\n")
    with pytest.raises(DataError, match="learned nothing of such files"):
        cortex.evaluate(made, str(tmp_path / "t.csv"))


def test_its_own_data_are_measured_by_default(points: Path) -> None:
    run = train(telling(test=0.25, split="stratified", epochs=3))
    own = cortex.evaluate(run.network)
    assert own["accuracy"] == run.metrics["test"]["accuracy"]
    assert own["loss"] == pytest.approx(run.metrics["test"]["loss"], rel=1e-6)
    assert own["confusion_matrix"].sum() == 10
    train_part = cortex.evaluate(cortex.load("run/model.cortex"), split="train")
    assert train_part["confusion_matrix"].sum() == 30
    with pytest.raises(DataError, match="no part 'validation'; it has train, test"):
        cortex.evaluate(run.network, split="validation")


def test_other_rows_are_measured_by_what_was_learned(points: Path) -> None:
    run = train(fitting(epochs=3))
    rows = save(points / "new.dots", 7, seed=4, scale=30.0)
    y = np.array([row["y"] for row in lines(points / "points.dots")])
    true = (np.array([row["y"] for row in rows]) - y.mean()) / y.std()
    expected = np.mean((by_hand(run, [row["x"] for row in rows], unit=False) - true) ** 2)
    for given in (rows, "new.dots", points / "new.dots"):
        assert cortex.evaluate(run.network, given)["loss"] == pytest.approx(expected, rel=1e-4)


def test_what_an_evaluation_counts_is_a_warning(points: Path) -> None:
    run = train(fitting())
    with pytest.warns(UserWarning, match="1 numbers far away") as caught:
        cortex.evaluate(run.network, [{"x": 1e6, "y": 1.0}])
    assert caught[0].filename == __file__


def test_rows_without_their_target(points: Path) -> None:
    run = train(fitting())
    with pytest.raises(DataError, match="the points have no column 'y'"):
        cortex.evaluate(run.network, [{"x": 1.0, "kind": "red"}])
    assert run.network.predict([{"x": 1.0}]).shape == (1, 1)


def test_a_named_set_is_measured_by_a_network_of_its_streams(points: Path) -> None:
    run = train(telling())
    with pytest.raises(DataError, match="'x' is no stream of"):
        cortex.evaluate(run.network, "iris")
    with pytest.raises(DataError, match="unknown data set 'irys'"):
        cortex.evaluate(run.network, "irys")
