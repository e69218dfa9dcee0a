"""``cortex check``: mistakes, the table, the JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cortex_core.spec import read
from tests.command.conftest import EXAMPLES
from tests.conftest import Cli

MISTAKES = """\
inputs:
  image: [28, 28]
layers:
  - dense: {unit: 3, id: a}
  - dense: {units: 4, from: image, id: b}
  - add: {from: [a, b]}
  - conv2d: {filters: 8, kernel: 3, from: image}
  - flatten
  - dense: {units: 5, id: digit}
loss:
  softmax_cross_entropy: {of: digit, target: labl}
train:
  data: mnist
"""


def test_every_mistake_is_one_line_with_its_place(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(MISTAKES)
    said = cli("check", path)
    assert (said.code, said.out) == (2, "")
    lines = [line.removeprefix(f"{path}:") for line in said.err.splitlines()]
    assert len(lines) == 3  # that conv2d cannot take the image follows from its wrong shape
    assert lines[0].startswith("2:3: inputs.image: ")
    assert "[28, 28, 1]" in lines[0]
    assert lines[1].startswith("4:13: layers[0].dense.unit: unknown field")
    assert "Did you mean 'units'?" in lines[1]
    assert "Did you mean 'label'?" in lines[2]


def test_an_unknown_data_set_is_named_at_its_place(cli: Cli, tmp_path: Path, spec: Path) -> None:
    spec.write_text(spec.read_text().replace("data: iris", "data: irys"))
    said = cli("check", spec)
    assert said.code == 2
    assert said.err.startswith(f"{spec}:11:9: train.data: unknown data set 'irys'. Did you mean 'iris'?")
    assert said.err.count("\n") == 1


def test_errors_as_json(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(MISTAKES)
    said = cli("check", path, "--json", "-")
    assert said.code == 2
    errors = json.loads(said.out)["errors"]
    assert [e["line"] for e in errors] == [2, 4, 11]
    assert set(errors[0]) == {"file", "line", "column", "path", "found", "expected", "hint"}
    assert errors[0]["file"] == str(path)


def test_layers_and_memory_as_json(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "check.json"
    said = cli("check", EXAMPLES / "lenet.yaml", "--batch-size", 32, "--json", out)
    assert said.code == 0
    assert "431,080 parameters" in said.out  # 520 + 25,050 + 400,500 + 5,010: LeNet as Caffe has it
    data = json.loads(out.read_text())
    assert data["errors"] == []
    assert data["batch_size"] == 32
    assert data["layers"][0] == {
        "id": "conv2d",
        "kind": "conv2d",
        "from": ["image"],
        "output": [24, 24, 20],
        "parameters": 520,
        "trainable": True,
        "flops": 24 * 24 * 20 * (2 * 25 + 1),
    }
    memory = data["memory"]
    parts = ("parameters", "gradients", "moments", "activations", "workspace")
    assert memory["total"] == sum(memory[part] for part in parts)
    assert memory["gradients"] >= 4 * 431_080
    assert memory["moments"] == 2 * memory["gradients"]


def test_json_on_standard_output_stands_alone(cli: Cli) -> None:
    said = cli("check", EXAMPLES / "mlp.yaml", "--json", "-")
    assert json.loads(said.out)["layers"]
    assert "parameters" in said.err


def test_canonical_reads_back_to_the_same(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "canonical.yaml"
    path.write_text(cli("check", EXAMPLES / "residual.yaml", "--canonical").out)
    assert read(path).hash == read(EXAMPLES / "residual.yaml").hash


def test_overrides(cli: Cli) -> None:
    said = cli("check", EXAMPLES / "digits.yaml", "train.batch_size=7", "--canonical")
    assert "batch_size: 7" in said.out
    said = cli("check", EXAMPLES / "digits.yaml", "train.batch_sice=7")
    assert said.code == 2
    assert "Did you mean 'batch_size'?" in said.err


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda p: p.stem)
def test_the_examples_are_right(cli: Cli, path: Path) -> None:
    said = cli("check", path)
    if "there is no data file" in said.err:  # whose columns it needs to know
        pytest.skip(said.err)
    assert said.code == 0


def test_no_data_no_trainer_no_heavy_library_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys; from cortex.command.main import run; code = run(sys.argv[1:]);"
        "heavy = {'sklearn', 'pandas', 'matplotlib', 'PIL', 'h5py', 'pooch', 'tqdm'} & set(sys.modules);"
        "trainer = {'cortex_core.training.trainer', 'cortex_core.training.train'} & set(sys.modules);"
        "sys.exit(f'{code} {heavy} {trainer}' if code or heavy or trainer else 0)"
    )
    spec = str(EXAMPLES / "digits.yaml")
    done = subprocess.run(
        [sys.executable, "-c", code, "check", spec], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("inputs: {x: [3]}\nlayers: [dense: 4]\n", 0),
        ("inputs: {x: [3]}\nlayers: [dense: 1000000000000]\n", None),
        ("a: &a [x, x]\nb: [*a, *a]\n", 2),
        ("!!python/object/apply:os.system ['true']\n", 2),
        ("[" * 5000, 2),
        ("", 2),
    ],
)
def test_hostile_files_end_soon_without_a_traceback(
    cli: Cli, tmp_path: Path, text: str, expected: int | None
) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(text)
    said = cli("check", path)
    assert said.code in ((expected,) if expected is not None else (0, 2))
    assert "Traceback" not in said.err
