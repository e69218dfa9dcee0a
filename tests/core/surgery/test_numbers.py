"""Which numbers stay, and what is learned with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cortex
from cortex import surgery
from cortex_compute.errors import SpecError
from tests.core.surgery.networks import DIGITS, RESIDUAL, numbers


def trained_on(low: int, high: int) -> dict[str, np.ndarray]:
    """scikit-learn's digits from ``low`` up to ``high``, counted from 0."""
    from sklearn.datasets import load_digits

    found = load_digits()
    rows = (found.target >= low) & (found.target < high)
    image = (found.images[rows] / 16).astype(np.float32)[..., None]
    return {"image": image, "label": found.target[rows] - low}


@pytest.fixture(scope="module")
def low_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that tells 0 to 4 apart."""
    folder = tmp_path_factory.mktemp("low") / "run"
    run = cortex.train(DIGITS, data=trained_on(0, 5), validation=0.2, out=folder, progress=False)
    assert run.metrics["validation"]["accuracy"] > 0.9
    return folder


def test_a_frozen_body_learns_other_classes(low_digits: Path, tmp_path: Path) -> None:
    """Trained on 0 to 4, it tells 5 to 9 apart with a new head; what is frozen keeps its bits."""
    old = cortex.load(low_digits)
    made = surgery.freeze(surgery.replace_head(low_digits, 5), until="max_pool2d")
    before = numbers(made)
    assert all(before[name] == x for name, x in numbers(old).items() if not name.startswith("digit/"))
    assert before["digit/kernel"] != numbers(old)["digit/kernel"]
    made.save(tmp_path / "high.cortex")
    run = cortex.train(
        tmp_path / "high.cortex", data=trained_on(5, 10), validation=0.2, out=tmp_path / "run", progress=False
    )
    after = numbers(run.network)
    kept = {name for name in after if after[name] == before[name]}
    assert kept == {"conv2d/kernel", "conv2d/bias"}
    assert run.metrics["validation"]["accuracy"] > 0.85
    assert numbers(old) == numbers(cortex.load(low_digits))


def test_the_report_is_made_of_the_numbers(low_digits: Path) -> None:
    old = cortex.load(low_digits)
    made = surgery.freeze(surgery.remove(surgery.replace_head(old, 3), "dropout"), "conv2d")
    found = surgery.report(old, made)
    assert found.kept == {
        "conv2d/kernel": (3, 3, 1, 6),
        "conv2d/bias": (6,),
        "dense/kernel": (96, 24),
        "dense/bias": (24,),
    }
    assert found.new == {"digit/kernel": (24, 3), "digit/bias": (3,)}
    assert found.removed == {}
    assert found.frozen == {"conv2d/kernel": (3, 3, 1, 6), "conv2d/bias": (6,)}
    assert found.layers["removed"] == ("dropout",)
    assert found.layers["new"] == ("digit",)
    rows = [line.split() for line in str(found).splitlines()[2:]]
    assert rows == [
        ["kept", "4", "2,388"],
        ["new", "1", "75", "digit"],
        ["removed", "1", "0", "dropout"],
        ["frozen", "1", "60"],
    ]


def test_a_smaller_network_computes_what_is_left(low_digits: Path) -> None:
    """Without its head a network gives the features: the first layers by hand, in float64."""
    old = cortex.load(low_digits)
    body = surgery.remove(surgery.remove(old, "digit"), "dropout")
    x = trained_on(0, 5)["image"][:3]
    p = {name: np.asarray(value, np.float64) for name, value in old.parameters.items()}
    around = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), axis=(1, 2))  # (B, 8, 8, 1, 3, 3)
    maps = np.maximum(np.einsum("bhwcij,ijco->bhwo", windows, p["conv2d/kernel"]) + p["conv2d/bias"], 0)
    pooled = maps.reshape(3, 4, 2, 4, 2, 6).max((2, 4)).reshape(3, -1)
    features = np.maximum(pooled @ p["dense/kernel"] + p["dense/bias"], 0)
    np.testing.assert_allclose(body.predict(x), features, rtol=1e-4, atol=1e-5)


def test_running_statistics_stay_and_values_of_classes_do_not(tmp_path: Path) -> None:
    net = {
        "inputs": {"x": [6]},
        "layers": [{"dense": 4}, "batch_norm", "relu", {"dense": {"units": 3, "id": "kind"}}],
        "loss": [
            {"softmax_cross_entropy": {"of": "kind", "target": "y"}},
            {"center_loss": {"of": "relu", "target": "y", "classes": 3}},
        ],
    }
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(64, 6)).astype(np.float32), "y": rng.integers(0, 3, 64)}
    old = cortex.train(net, data=data, epochs=2, out=tmp_path / "run", progress=False).network
    made = surgery.replace_head(old, 3)
    assert numbers(made)["batch_norm/moving_mean"] == numbers(old)["batch_norm/moving_mean"]
    assert np.asarray(old.variables["center_loss/centers"]).any()
    assert not np.asarray(made.variables["center_loss/centers"]).any()
    wider = surgery.replace_head(old, 5)
    assert wider.variables["center_loss/centers"].shape == (5, 4)


def test_input_of_another_size() -> None:
    pooled = cortex.network(RESIDUAL)
    larger = surgery.resize_input(pooled, (9, 7, 2))
    assert numbers(larger) == numbers(pooled)
    assert larger.predict(np.ones((2, 9, 7, 2), np.float32)).shape == (2, 3)
    flat = cortex.network(DIGITS)
    with pytest.raises(
        SpecError, match=r"resize_input: 'dense/kernel' is \(96, 24\) and would be \(216, 24\)"
    ):
        surgery.resize_input(flat, (12, 12, 1))
    made = surgery.resize_input(flat, [12, 12, 1], drop_unfitting=True)
    found = surgery.report(flat, made)
    assert found.new == {"dense/kernel": (216, 24)}
    assert found.layers["new"] == ("dense",)


def test_seeds_of_new_weights() -> None:
    old = cortex.network(DIGITS)
    first, again, other = (numbers(surgery.replace_head(old, 4, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert {name for name in first if first[name] != other[name]} == {"digit/kernel"}
