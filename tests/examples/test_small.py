"""What the small networks of the examples are made of, and scikit-learn's word on the smallest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import cortex
from cortex_core.network import Network
from cortex_core.training import source
from cortex_core.training.run import Run
from cortex_datasets.named import breast_cancer
from tests.examples import made

EXAMPLES = Path(__file__).parents[2] / "examples"

Train = Callable[..., Run]


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Trains an example, on small data in place of MNIST, with some options changed."""
    for name, data in made.pictures().items():
        monkeypatch.setitem(source._registered, name, data)

    def call(name: str, *overrides: str) -> Run:
        path = str(EXAMPLES / f"{name}.yaml")
        return cortex.train(path, overrides=overrides, out=tmp_path / "run", progress=False, threads=1)

    return call


def parameters(network: Network) -> dict[str, np.ndarray]:
    return {name: np.array(value) for name, value in network.parameters.items()}


def test_logistic_regression_is_that_of_scikit_learn(train: Train) -> None:
    """The same optimum: C = 1 weighs the squares by 1 / (2 C n), which is the penalty of the description.

    With twice or half the penalty the objective would end 2.6 % and 3.1 % above the smallest.
    """
    linear = pytest.importorskip("sklearn.linear_model")
    data = breast_cancer.load("train")
    x, y = np.empty((len(data), 30), np.float32), np.empty(len(data), np.int64)
    data.gather(np.arange(len(data)), {"features": x, "label": y})
    x = x.astype(np.float64)

    def objective(kernel: np.ndarray, bias: float) -> float:
        margin = (x @ kernel + bias) * (2 * y - 1)
        return float(np.logaddexp(0, -margin).mean() + 0.0011 * (kernel**2).sum())

    best = linear.LogisticRegression(C=1 / (2 * 0.0011 * len(x)), tol=1e-10).fit(x, y)
    ours = parameters(train("logistic_regression").network)
    found = objective(ours["benign/kernel"][:, 0].astype(np.float64), float(ours["benign/bias"][0]))
    assert found == pytest.approx(objective(best.coef_[0], best.intercept_[0]), rel=2e-3)
    assert 1 / (2 * len(x)) == pytest.approx(0.0011, rel=5e-3)


def test_multi_input_learns_both_targets(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who learned for long earns; of the hours nothing is known but their mean."""
    made.write_tables(tmp_path / "data")
    monkeypatch.setenv("CORTEX_DATA", str(tmp_path / "data"))
    run = train("multi_input", "layers[0].embedding.tokens=3")
    assert run.metrics["test"]["accuracy"] > 0.9
    assert {"softmax_cross_entropy", "mse", "r2"} < set(run.metrics["test"])
    found = run.network.predict(tmp_path / "data/tabular/adult-test.csv")
    assert found["earns"].shape == (100, 2)
    assert found["worked"].mean() == pytest.approx(43, abs=4)  # hours, as they stand in the file


def test_the_towers_of_the_siamese_network_are_one(train: Train) -> None:
    network = train("siamese", "train.epochs=1").network
    assert {name.partition("/")[0] for name in network.parameters} == {"left"}
    source = made.Mnist().load("test")
    images = source.arrays["image"]
    found = network.predict({"image": images, "other": images[::-1]})
    np.testing.assert_allclose(found["left/code"], found["right/code"][::-1], atol=1e-6)
    assert np.ptp(found["left/code"]) > 0.1


def test_the_variational_autoencoder_has_the_bound_of_the_paper(train: Train) -> None:
    """-log p(x|z) summed over the pixels, and Kingma and Welling's equation 10, for z the mean."""
    network = train("variational_autoencoder", "train.epochs=2").network
    images = made.Mnist().load("test").arrays["image"]
    p = parameters(network)
    layers = ("seen", "log_variance", "mean", "dense", "dense_2")
    kernels = {name: (p[f"{name}/kernel"].astype(float), p[f"{name}/bias"].astype(float)) for name in layers}

    def dense(name: str, x: np.ndarray) -> np.ndarray:
        kernel, bias = kernels[name]
        return x @ kernel + bias

    x = images.reshape(len(images), -1).astype(float)
    seen = np.maximum(dense("seen", x), 0)
    mean, log_variance = dense("mean", seen), dense("log_variance", seen)
    q = 1 / (1 + np.exp(-dense("dense_2", np.maximum(dense("dense", mean), 0))))
    likelihood = (x * np.log(q) + (1 - x) * np.log1p(-q)).sum(1)
    divergence = -0.5 * (1 + log_variance - mean**2 - np.exp(log_variance)).sum(1)
    found = cortex.evaluate(network)
    assert found["loss"] == pytest.approx((divergence - likelihood).mean(), rel=1e-5)
    shown = network.predict(images)
    np.testing.assert_allclose(shown["again"].reshape(len(x), -1), q, atol=1e-5)
    np.testing.assert_allclose(shown["mean"], mean, atol=1e-4)
