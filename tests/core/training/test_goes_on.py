"""The state of an imported optimiser: files keep it, and the next training starts from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex

SPEC: dict[str, Any] = {
    "cortex": 1,
    "name": "net",
    "inputs": {"x": [3]},
    "layers": [{"dense": {"units": 1, "id": "y"}}],
    "loss": {"mse": {"of": "y", "target": "t"}},
    "train": {"optimizer": {"adam": {"learning_rate": 0.01}}, "batch_size": 8},
}
X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
T = X.sum(1, keepdims=True)


@pytest.fixture
def network() -> cortex.Network:
    """As it comes from an import after 3 steps of Adam."""
    made = cortex.network(SPEC)
    program = cortex.compile(made, batch_size=8)
    for _ in range(3):
        program.run({"x": X, "t": T})
    made.goes_on = "adam"
    return made


def kernel_after_a_step(network: cortex.Network, out: Path, *overrides: str) -> np.ndarray:
    """What a training of one batch makes of the kernel."""
    run = cortex.train(network, {"x": X, "t": T}, 1, out=out, progress=False, overrides=overrides)
    return np.array(run.network.parameters["y/kernel"])


def test_a_file_keeps_it(network: cortex.Network, tmp_path: Path) -> None:
    network.save(tmp_path / "net.cortex")
    loaded = cortex.load(tmp_path / "net.cortex")
    assert (loaded.goes_on, loaded.step) == ("adam", 3)
    for moment in ("m", "v"):
        found = loaded.store.array("y/kernel", moment)
        np.testing.assert_array_equal(found, network.store.array("y/kernel", moment))
        assert (found != 0).all()


def test_the_next_training_starts_from_it(network: cortex.Network, tmp_path: Path) -> None:
    """One batch of it is the fourth step; where it is forgotten, it is a first one."""
    network.save(tmp_path / "net.cortex")
    cortex.compile(network, batch_size=8).run({"x": X, "t": T})
    expected = np.array(network.parameters["y/kernel"])
    loaded = cortex.load(tmp_path / "net.cortex")
    np.testing.assert_allclose(kernel_after_a_step(loaded, tmp_path / "run"), expected, rtol=1e-6)
    assert loaded.goes_on == ""
    assert cortex.load(tmp_path / "run").goes_on == ""
    forgetful = cortex.load(tmp_path / "net.cortex")
    forgetful.goes_on = ""
    assert np.abs(kernel_after_a_step(forgetful, tmp_path / "other") - expected).max() > 1e-4


def test_another_optimiser_begins_anew(network: cortex.Network, tmp_path: Path) -> None:
    network.save(tmp_path / "net.cortex")
    begun = []
    for goes_on in ("adam", ""):
        loaded = cortex.load(tmp_path / "net.cortex")
        loaded.goes_on = goes_on
        begun.append(kernel_after_a_step(loaded, tmp_path / f"run{goes_on}", "train.optimizer=adamw"))
    np.testing.assert_array_equal(*begun)
