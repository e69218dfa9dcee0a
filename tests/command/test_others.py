"""``verify``, ``data``, ``backends`` and ``schema``."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml

from cortex_compute.backends import get
from cortex_compute.verify.result import Result
from cortex_core.verify import trained
from cortex_core.verify.stated import stated
from tests.command.conftest import EXAMPLES
from tests.conftest import Cli

CASE_KEYS = {"name", "metric", "value", "threshold", "better", "seconds", "peak_bytes", "passed"}


@pytest.mark.parametrize(("suite", "only"), [("backend", "Gemm/"), ("gradients", "layer/dense")])
def test_a_suite_that_holds(cli: Cli, suite: str, only: str) -> None:
    said = cli("verify", suite, "--only", only, "--json", "-")
    data = json.loads(said.out)
    assert said.code == 0
    assert (data["suite"], data["backend"]) == (suite, get().name)
    assert data["cases"]
    for case in data["cases"]:
        assert set(case) == CASE_KEYS
        assert case["passed"] is True
        assert only in case["name"]


def test_a_suite_that_says_no(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    results = [Result("Gemm/good", 0.5, 0.1, 10), Result("Gemm/bad", 1.5, 0.1, 10, "it is wrong")]
    monkeypatch.setattr(import_module("cortex_compute.verify.run"), "run", lambda backend, only: results)
    said = cli("verify", "backend")
    assert said.code == 1
    assert "FAILED  Gemm/bad: error / allowed 1.5, expected <= 1" in said.out
    assert "(it is wrong)" in said.out
    assert "1 of 2 passed" in said.out


@pytest.mark.parametrize(
    ("promise", "better", "code"),
    [
        ("accuracy: at least 60.0 %", "higher", 0),
        ("accuracy: at least 100.1 %", "higher", 1),
        ("loss: at most 1.09 nats per flower", "lower", 0),
        ("loss: at most 0.001 nats per flower", "lower", 1),
    ],
)
def test_examples_are_held_to_what_they_state(
    cli: Cli, spec: Path, monkeypatch: pytest.MonkeyPatch, promise: str, better: str, code: int
) -> None:
    spec.write_text(
        f"# Three kinds of iris.\n# Test {promise}; seed 0, 1 minute, onednn.\n{spec.read_text()}"
    )
    monkeypatch.setattr(trained, "examples_folder", lambda: spec.parent)
    said = cli("verify", "examples", "--json", "-")
    assert said.code == code
    assert "iris: test " in said.err
    (case,) = json.loads(said.out)["cases"]
    assert (case["name"], case["better"], case["threshold"]) == ("iris", better, float(promise.split()[3]))
    assert case["passed"] is (code == 0)
    assert case["peak_bytes"] > 0


def test_an_example_that_states_nothing(cli: Cli, spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained, "examples_folder", lambda: spec.parent)
    said = cli("verify", "examples")
    assert said.code == 2
    assert "the second '# Test accuracy: at least" in said.err


def test_the_mnist_suite_is_that_of_the_issues() -> None:
    accuracy = {"softmax_regression": 92.0, "mlp": 98.0, "lenet": 99.0, "residual": 99.2, "row_lstm": 98.0}
    wanted = {name: ("test accuracy, %", "higher", least) for name, least in accuracy.items()}
    wanted["residual_large"] = ("test accuracy, %", "higher", 99.4)
    wanted["siamese"] = ("test nearest_neighbour, %", "higher", 97.0)
    measured = json.loads((EXAMPLES.parent / "benchmarks/results/2026-11-22-autoencoder.json").read_text())
    most = 1.05 * min(measured["means"].values())  # of the same network in PyTorch
    wanted["autoencoder"] = ("test mse, per pixel", "lower", pytest.approx(most, abs=5e-6))
    assert set(trained.MNIST) == set(wanted)
    for name, expected in wanted.items():
        promise = stated(EXAMPLES / f"{name}.yaml")
        assert (promise.told, promise.better, promise.value) == expected
        train = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())["train"]
        assert train["epochs"] <= 5
        assert round(60_000 * train["validation"]) == 5_000


def test_data_list(cli: Cli) -> None:
    sets = {x["name"]: x for x in json.loads(cli("data", "list", "--json", "-").out)}
    assert {"digits", "iris", "wine", "breast_cancer", "mnist", "fashion_mnist"} <= set(sets)
    assert sets["mnist"]["streams"]["image"]["shape"] == [28, 28, 1]


def test_data_show_draws_a_digit(cli: Cli) -> None:
    said = cli("data", "show", EXAMPLES / "digits.yaml", "--examples", 1)
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == "digits, train: 1,294 examples"
    assert any("@@" in line for line in lines)
    assert lines[-1].startswith("label: ")


@pytest.mark.parametrize(
    "arguments",
    [["fetch", "nix"], ["show", "nix.yaml"], ["describe", "nix.csv"], ["describe", __file__]],
)
def test_data_that_is_not_there(cli: Cli, arguments: list[str]) -> None:
    said = cli("data", *arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err.count("\n") == 1


def test_backends(cli: Cli) -> None:
    said = cli("backends", "--json", "-")
    rows = {row["name"]: row for row in json.loads(said.out)}
    assert rows["numpy"]["present"] is True
    assert rows["numpy"]["facts"]["version"] == np.__version__
    assert f"{get().name} (what 'auto' takes)" in said.err


def test_the_schema_accepts_the_examples_and_rejects_a_mistake(cli: Cli) -> None:
    schema = json.loads(cli("schema").out)
    validator = jsonschema.Draft202012Validator(schema)
    for path in EXAMPLES.glob("*.yaml"):
        data = yaml.safe_load(path.read_text())
        assert list(validator.iter_errors(data)) == []
        data["layers"][-1] = {"dense": {"unit": 10}}
        assert list(validator.iter_errors(data))


def test_a_suite_without_a_case_of_that_name_says_so(cli: Cli) -> None:
    done = cli("verify", "gradients", "--only", "nosuch")
    assert (done.code, "no case of gradients has 'nosuch'" in done.err) == (2, True)
