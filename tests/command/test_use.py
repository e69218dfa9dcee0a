"""``cortex --use FILE.py``: every command knows the layers and losses of the user's file."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from cortex_core.registry import LAYERS, LOSSES
from tests.conftest import Cli

MINE = '''\
import cortex
from cortex_core.losses import like, mean_of_sample

@cortex.layer("bent_for_a_test")
class Bent:
    """x + a x^2"""

    a: float = cortex.field(default=0.1, doc="how much it is bent")

    def forward(self, p, x):
        return x + self.a * x * x

@cortex.loss("quartic_for_a_test")
class Quartic:
    """(x - t)^4"""

    def per_sample(self, x, target):
        return mean_of_sample((x - like(self, x, target)) ** 4), None
'''

NET = """\
name: mine
inputs: {features: [4]}
layers:
  - dense: 3
  - bent_for_a_test: {a: 0.2}
  - dense: {units: 1, id: y}
loss:
  quartic_for_a_test: {of: y, target: target}
train: {data: data.npz, epochs: 2, batch_size: 50, optimizer: {adam: {learning_rate: 0.02}}}
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_registry: None) -> Path:
    """A folder with mine.py, which registers, and net.yaml, which uses; what is registered is gone after."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MINE)
    Path("net.yaml").write_text(NET)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 4)).astype(np.float32)
    np.savez("data.npz", features=x, target=x.sum(1))
    np.save("x.npy", x[:3])
    return tmp_path


@pytest.mark.usefixtures("files")
def test_from_a_class_to_predictions(cli: Cli) -> None:
    use = ("--use", "mine.py")
    checked = cli(*use, "check", "net.yaml")
    assert (checked.code, checked.err) == (0, "")
    assert "bent_for_a_test" in checked.out
    assert cli(*use, "train", "net.yaml", "--out", "run").code == 0
    assert json.loads(cli(*use, "evaluate", "run", "--data", "data.npz", "--json", "-").out)["loss"] > 0
    assert cli(*use, "predict", "run", "x.npy", "--out", "y.npy").code == 0
    assert np.load("y.npy").shape == (3, 1)
    assert "bent_for_a_test" in cli(*use, "profile", "net.yaml").out
    assert cli(*use, "verify", "same", "net.yaml", "--backends", "numpy,onednn").code == 0


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("name", ["layer/bent_for_a_test", "loss/quartic_for_a_test"])
def test_the_gradient_suite_knows_them(cli: Cli, name: str) -> None:
    said = cli("--use", "mine.py", "verify", "gradients", "--only", name, "--json", "-")
    assert said.code == 0
    assert all(case["passed"] for case in json.loads(said.out)["cases"])


@pytest.mark.usefixtures("files")
def test_the_schema_knows_them(cli: Cli) -> None:
    definitions = json.loads(cli("--use", "mine.py", "schema").out)["$defs"]
    layer = definitions["layer"]["anyOf"][1]["properties"]["bent_for_a_test"]
    assert layer["description"] == "x + a x^2"
    assert layer["anyOf"][0]["properties"]["a"] == {"type": "number", "description": "how much it is bent"}
    assert "quartic_for_a_test" in json.dumps(definitions["loss"])


@pytest.mark.usefixtures("files")
def test_a_model_that_needs_the_file_says_so(cli: Cli) -> None:
    assert cli("--use", "mine.py", "train", "net.yaml", "--out", "run").code == 0
    del LAYERS._classes["bent_for_a_test"], LOSSES._classes["quartic_for_a_test"]
    said = cli("predict", "run", "x.npy")
    assert said.code == 2
    assert "unknown layer 'bent_for_a_test'" in said.err
    assert "--use FILE.py" in said.err


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ("check --use mine.py net.yaml", "cortex --use mine.py check net.yaml"),
        ("check net.yaml --use mine.py", "cortex --use mine.py check net.yaml"),
        ("train net.yaml --use='my layers.py' a=1", "cortex --use 'my layers.py' train net.yaml a=1"),
        ("verify --use mine.py gradients", "cortex --use mine.py verify gradients"),
        ("verify gradients --use", "cortex --use FILE.py verify gradients"),
    ],
)
def test_use_behind_the_command(cli: Cli, given: str, right: str) -> None:
    said = cli(*shlex.split(given))
    assert (said.code, said.out) == (2, "")
    assert said.err == f"--use stands before the command: {right}\n"


@pytest.mark.usefixtures("files")
def test_two_files_that_take_one_name(cli: Cli) -> None:
    Path("other.py").write_text(MINE)
    said = cli("--use", "mine.py", "--use", "other.py", "check", "net.yaml")
    owner = "layer 'bent_for_a_test' is already registered, by cortex_use_mine.Bent"
    assert (said.code, said.err) == (2, f"other.py:4: {owner}: choose another name\n")


@pytest.mark.usefixtures("files")
def test_a_mistake_in_a_field_names_the_place(cli: Cli) -> None:
    said = cli("--use", "mine.py", "check", "net.yaml", "layers[1].bent_for_a_test.b=1")
    assert said.code == 2
    assert "layers[1].bent_for_a_test.b: unknown field" in said.err
