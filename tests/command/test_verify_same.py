"""``cortex verify same``: two backends on one description, and the first layer that departs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute import backends
from cortex_compute.numpy_backend.backend import NumpyBackend
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.primitives.pooling import MaxPool, MaxPoolGrad
from cortex_compute.protocol import Kernel, Launch, Offer, Operand, Refusal, Stream
from cortex_compute.verify.result import Result
from cortex_core.network import network
from cortex_core.verify.same import Comparison, _numbers, same
from cortex_datasets import fetch
from tests.command.conftest import EXAMPLES
from tests.conftest import Cli

NET = {
    "cortex": 1,
    "name": "net",
    "inputs": {"image": [8, 8, 1]},
    "layers": [
        {"conv2d": {"filters": 4, "kernel": 3, "id": "first"}},
        {"tanh": {"id": "bent"}},
        {"max_pool2d": {"size": 2, "id": "pooled"}},
        {"conv2d": {"filters": 4, "kernel": 2, "id": "second"}},
        "flatten",
        {"dense": {"units": 10, "id": "digit"}},
    ],
    "loss": {"softmax_cross_entropy": {"of": "digit", "target": "label"}},
    "train": {"data": "digits"},
}


class Off:
    """A kernel whose first result is a hundredth too large."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Launch:
        launch = self.kernel.bind(inputs, outputs, workspace)

        def run(stream: Stream) -> None:
            launch(stream)
            stream.launch(lambda: np.multiply(outputs[0], 1.01, out=outputs[0]))

        return run


class Broken(NumpyBackend):
    """NumPy's backend, but for the kernels of one primitive."""

    name = "broken"

    def __init__(self, primitive: type[Primitive]) -> None:
        super().__init__()
        self.primitive = primitive

    def offer(self, primitive: Primitive, operands: Sequence[Operand]) -> Offer | Refusal:
        found = super().offer(primitive, operands)
        if isinstance(found, Refusal) or type(primitive) is not self.primitive:
            return found
        return replace(found, build=lambda: Off(found.build()))


def broken_pooling() -> Broken:
    return Broken(MaxPool)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a backend known whose max pooling is off."""
    monkeypatch.setitem(backends.BUILT_IN, "broken", f"{__name__}:broken_pooling")


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without data, on which nothing may be fetched."""
    monkeypatch.delenv("CORTEX_DATA", raising=False)
    monkeypatch.setenv("CORTEX_CACHE", str(tmp_path))
    monkeypatch.setattr(fetch, "fetch", lambda *arguments: pytest.fail("data was fetched"))


def test_numpy_and_onednn_agree(cli: Cli) -> None:
    said = cli("verify", "same", EXAMPLES / "digits.yaml", "--backends", "numpy,onednn", "--json", "-")
    assert said.code == 0, said.err
    data = json.loads(said.out)
    assert (data["backend"], data["precision"], data["departs"]) == ("numpy,onednn", "float32", None)
    assert data["data"] == "batches of 8 of digits"
    names = [case["name"] for case in data["cases"]]
    assert names[:6] == [f"loss/step {i}" for i in range(1, 6)] + ["prediction/digit"]
    outputs = ["conv2d", "conv2d_2", "max_pool2d", "flatten", "dropout", "dense", "digit"]
    assert names[6:13] == [f"output/{layer}" for layer in outputs]
    backwards = ["digit", "digit/kernel", "digit/bias", "dense", "dense/kernel"]
    assert names[13:18] == [f"gradient/{name}" for name in backwards]
    assert names[-1] == "gradient/conv2d/bias"
    assert all(case["passed"] and case["value"] <= case["threshold"] for case in data["cases"])


def test_the_layer_that_departs_is_named(cli: Cli, broken: None, tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_text(json.dumps(NET))
    said = cli("verify", "same", path, "--backends", "numpy,broken", "--steps", 2, "--json", tmp_path / "out")
    assert said.code == 1
    lines = said.out.splitlines()
    assert lines[0] == "numpy and broken, float32, batches of 8 of digits"
    verdicts = {line.split("  ")[0]: line.split()[-1] for line in lines[2:-2]}
    assert (verdicts["output/bent"], verdicts["output/pooled"]) == ("ok", "DEPARTS")
    assert "the first is the output of layer 'pooled' (max_pool2d, " in lines[-1]
    data = json.loads((tmp_path / "out").read_text())
    assert data["departs"] == "output/pooled"
    assert sum(c["name"].startswith("loss/") for c in data["cases"]) == 2


def test_a_gradient_that_departs_is_named_with_the_layer_that_makes_it() -> None:
    found = same(NET, NumpyBackend(), Broken(MaxPoolGrad))
    assert found.departure is not None
    assert found.departure.name == "gradient/bent"
    assert "layer 'bent'" in found.departure.detail
    assert found.departure.detail.endswith("which the backward of 'pooled' makes")
    assert all(r.passed for r in found.results if r.name.startswith("output/"))
    behind = [r for r in found.results if r.name.startswith(("gradient/second", "gradient/digit"))]
    assert behind
    assert all(r.passed for r in behind)


def test_numbers_that_are_not_finite_depart() -> None:
    class Nan(Off):
        def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Launch:
            launch = self.kernel.bind(inputs, outputs, workspace)

            def run(stream: Stream) -> None:
                launch(stream)
                stream.launch(lambda: outputs[0].reshape(-1)[:1].fill(np.nan))

            return run

    class Sick(Broken):
        def offer(self, primitive: Primitive, operands: Sequence[Operand]) -> Offer | Refusal:
            found = NumpyBackend.offer(self, primitive, operands)
            if isinstance(found, Refusal) or type(primitive) is not self.primitive:
                return found
            return replace(found, build=lambda: Nan(found.build()))

    found = same(NET, NumpyBackend(), Sick(MaxPool), steps=1).departure
    assert found is not None
    assert found.name == "output/pooled"
    assert found.detail.endswith("which is not finite on broken")


def test_a_loss_alone_is_named_last() -> None:
    def result(name: str, value: float) -> Result:
        return Result(name, value, 0.0, 0, threshold=1.0)

    good = (result("output/a", 0.5), result("gradient/a", 1.0))
    assert Comparison(good, "", "float32").departure is None
    late = (result("loss/step 1", 0.0), result("loss/step 2", 2.0), *good)
    assert Comparison(late, "", "float32").departure == late[1]
    both = (*late, result("gradient/b", 2.0))
    assert Comparison(both, "", "float32").departure == both[-1]


def test_what_is_compared_are_the_layers_and_their_gradients() -> None:
    """Beside a linear layer's formulas: y = x W + b, and the mean of (y - t)^2."""
    described = {
        "cortex": 1,
        "inputs": {"x": [3]},
        "layers": [{"dense": {"units": 2, "id": "y"}}],
        "loss": {"mse": {"of": "y", "target": "t"}},
    }
    rng = np.random.default_rng(0)
    x, t = (rng.standard_normal((4, n)).astype(np.float32) for n in (3, 2))
    made = network(described)
    w = made.parameters["y/kernel"].copy()
    found = _numbers(made, NumpyBackend(), [{"x": x, "t": t}])
    y = x.astype(np.float64) @ w
    g = 2 * (y - t) / y.size
    expected = {
        "output/y": y,
        "gradient/y": g,
        "gradient/y/kernel": x.T @ g,
        "gradient/y/bias": g.sum(0),
        "loss/step 1": np.mean((y - t) ** 2),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6, err_msg=name)
    assert set(found) == {*expected, "prediction/y"}


def test_in_bfloat16(cli: Cli) -> None:
    """NumPy would not be asked to train in it, but it can say what comes out."""
    arguments = (
        "verify",
        "same",
        EXAMPLES / "digits.yaml",
        "--backends",
        "numpy,onednn",
        "--precision",
        "bf16",
    )
    said = cli(*arguments, "--json", "-")
    assert said.code == 0, said.err
    data = json.loads(said.out)
    assert data["precision"] == "bfloat16"
    wide = json.loads(cli(*arguments[:-2], "--json", "-").out)
    allowed = [{c["name"]: c["threshold"] for c in d["cases"]}["output/conv2d"] for d in (data, wide)]
    assert allowed[0] > 10 * allowed[1]


def test_data_that_is_not_here_is_made_up_and_not_fetched(cli: Cli, elsewhere: None) -> None:
    said = cli(
        "verify", "same", EXAMPLES / "softmax_regression.yaml", "--backends", "numpy,onednn", "--steps", 1
    )
    assert said.code == 0
    first = "numpy and onednn, float32, a made-up batch of 8: mnist is not on this machine"
    assert said.out.splitlines()[0] == first


def test_a_network_without_a_loss_has_its_outputs_compared() -> None:
    bare = {key: NET[key] for key in ("cortex", "inputs", "layers")}
    found = same(bare, NumpyBackend(), Broken(Elementwise))
    assert {r.name.partition("/")[0] for r in found.results} == {"output", "prediction"}
    assert found.data == "a made-up batch of 8: the description names no data"
    assert found.departure is not None
    assert found.departure.name in ("output/first", "output/bent")  # where the bias is added, or tanh taken


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("numpy", "expected two names"),
        ("numpy,", "expected two names"),
        ("numpy,onednn,numpy", "expected two names"),
        ("numpy,numpy", "both are numpy"),
        ("numpy,nix", "unknown backend 'nix'"),
    ],
)
def test_two_different_backends_are_wanted(cli: Cli, names: str, told: str) -> None:
    said = cli("verify", "same", EXAMPLES / "digits.yaml", "--backends", names)
    assert (said.code, said.out) == (2, "")
    assert told in said.err


@pytest.mark.parametrize("arguments", [["--steps", "0"], ["--precision", "float3"]])
def test_wrong_options(cli: Cli, arguments: list[str]) -> None:
    backends = ("--backends", "numpy,onednn")
    assert cli("verify", "same", EXAMPLES / "digits.yaml", *backends, *arguments).code == 2


CANCELS = {
    "cortex": 1,
    "name": "cancels",
    "inputs": {"x": [6, 6, 2]},
    "layers": [
        {"conv2d": {"filters": 4, "kernel": 3}},
        "batch_norm",
        "relu",
        {"dropout": 0.5},
        "flatten",
        {"dense": {"units": 3, "id": "y"}},
    ],
    "loss": {"mse": {"of": "y", "target": "t"}},
}


@pytest.mark.parametrize("names", [("numpy", "onednn"), ("onednn", "numpy")])
def test_a_gradient_that_is_only_rounding_does_not_depart(names: tuple[str, str]) -> None:
    """That of a bias before batch norm is 0 but for rounding, of which one backend has more."""
    assert same(CANCELS, *map(backends.get, names), steps=1).departure is None


def test_an_unknown_data_set_is_an_error(cli: Cli, tmp_path: Path) -> None:
    spec = tmp_path / "net.yaml"
    text = (EXAMPLES / "digits.yaml").read_text().replace("data: digits", "data: digist")
    spec.write_text(text)
    said = cli("verify", "same", spec, "--backends", "numpy,onednn")
    assert said.code == 2
    assert "Did you mean 'digits'" in said.err
