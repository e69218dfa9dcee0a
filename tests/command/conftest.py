from __future__ import annotations

from pathlib import Path

import pytest

from cortex.command.main import run
from tests.conftest import drawing

EXAMPLES = Path(__file__).parents[2] / "examples"

IRIS = """\
cortex: 1
name: iris
inputs:
  features: [4]
layers:
  - dense: {units: 8, activation: tanh}
  - dense: {units: 3, id: kind}
loss:
  softmax_cross_entropy: {of: kind, target: label}
train:
  data: iris
  validation: 0.2
  optimizer: {adam: {learning_rate: 0.02}}
  batch_size: 16
  epochs: 8
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A description that trains in a blink, on data that comes with scikit-learn."""
    path = tmp_path / "iris.yaml"
    path.write_text(IRIS)
    return path


@pytest.fixture(scope="session")
def iris_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "iris.yaml").write_text(IRIS)
    with drawing():
        assert run(["train", str(folder / "iris.yaml"), "--out", str(folder / "iris")]) == 0
    return folder / "iris"
