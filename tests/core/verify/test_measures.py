"""What examples state beside metrics, against the plain formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import SpecError
from cortex_core.network import Network
from cortex_core.training import source
from cortex_core.verify.measures import ROWS, denoised_mse, nearest, nearest_neighbour, sampled_loss
from tests.examples.made import Mnist

PICTURE: dict[str, Any] = {"inputs": {"image": [28, 28, 1]}, "train": {"data": "mnist"}}


@pytest.fixture(autouse=True)
def _mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(source._registered, "mnist", Mnist())


def everything(split: str) -> dict[str, np.ndarray]:
    return dict(Mnist().load(split).arrays)


def test_the_nearest_of_each() -> None:
    """By all distances, also where there are more queries than fit one piece."""
    rng = np.random.default_rng(0)
    queries, points = rng.normal(size=(ROWS + 3, 4)), rng.normal(size=(70, 4))
    distances = ((queries[:, None] - points[None]) ** 2).sum(-1)
    np.testing.assert_array_equal(nearest(queries, points), distances.argmin(1))


def test_nearest_neighbour_in_the_output_of_a_layer() -> None:
    layers = ["flatten", {"dense": {"units": 1, "id": "code"}}, {"relu": {"id": "other"}}]
    network = cortex.network(PICTURE | {"layers": layers, "loss": {"mse": {"of": "code", "target": "label"}}})
    kernel = np.asarray(network.parameters["code/kernel"])
    train, test = everything("train"), everything("test")
    codes = [x["image"].reshape(len(x["image"]), -1) @ kernel for x in (train, test)]
    distances = ((codes[1][:, None] - codes[0][None]) ** 2).sum(-1)
    right = train["label"][distances.argmin(1)] == test["label"]
    assert 0.1 < right.mean() < 1  # else anything would do
    assert nearest_neighbour(network, "test") == right.mean()


def copying(*layers: Any) -> Network:
    return cortex.network(PICTURE | {"layers": layers, "loss": {"mse": {"of": "linear", "target": "image"}}})


def test_denoised_mse_is_that_of_noisy_pictures() -> None:
    """A network that only passes on what it is given errs by the noise alone: its variance."""
    layers = [{"gaussian_noise": 0.3}, "linear"]
    network = cortex.network(
        PICTURE | {"layers": layers, "loss": {"mse": {"of": "linear", "target": "image"}}}
    )
    assert cortex.evaluate(network)["loss"] == 0  # in evaluation the noise rests
    assert denoised_mse(network, "test") == pytest.approx(0.3**2, rel=0.02)


def test_what_takes_no_noise() -> None:
    network = cortex.network(
        PICTURE | {"layers": ["relu"], "loss": {"mse": {"of": "relu", "target": "image"}}}
    )
    with pytest.raises(SpecError, match="has no gaussian_noise; state its mse"):
        denoised_mse(network, "test")


def test_the_sampled_loss_of_a_draw() -> None:
    """The squared distance of N(x, v) from x is v; the mean itself, as evaluation takes it, has none."""
    constant = {"kernel_initializer": "zeros", "bias_initializer": {"constant": -1.0}}
    layers = [
        {"dense": {"units": 1, "id": "spread"} | constant},
        {"sampling": {"log_variance": "spread", "from": "image", "id": "linear"}},
    ]
    network = copying(*layers)
    assert cortex.evaluate(network)["loss"] == 0
    assert sampled_loss(network, "test") == pytest.approx(np.exp(-1), rel=0.02)
