"""``cortex export safetensors`` and ``cortex import safetensors``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import cortex
from cortex_core.exchange.safetensors import load_safetensors, save_safetensors
from tests.conftest import Cli

NET = {
    "inputs": {"x": [3]},
    "layers": [{"dense": {"units": 2, "id": "a"}}, {"dense": {"units": 1, "id": "b"}}],
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.cortex"
    cortex.network(NET, seed=5).save(path)
    return path


def test_there_and_back(cli: Cli, model: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "new" / "net.safetensors", tmp_path / "again.cortex"
    assert cli("export", "safetensors", model, "-o", file) == (0, f"{file}\n", "")
    assert cli("import", "safetensors", file, "-o", out) == (0, f"{out}\n", "")
    old, made = cortex.load(model), cortex.load(out)
    assert made.description.canonical == old.description.canonical
    for name, array in old.parameters.items():
        np.testing.assert_array_equal(made.parameters[name], array, strict=True)
    assert made.summary().endswith("imported from net.safetensors: every name and shape fits")


def test_a_run(cli: Cli, iris_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "iris.safetensors"
    assert cli("export", "safetensors", iris_run, "--out", file).code == 0
    assert set(load_safetensors(file)) == set(cortex.load(iris_run).parameters)
    told = json.loads(cli("export", "safetensors", iris_run, "--out", file, "--json", "-").out)
    assert told == {"model": str(file), "notes": []}


def test_a_description_and_what_was_rounded(cli: Cli, tmp_path: Path) -> None:
    file, spec, out = tmp_path / "w.safetensors", tmp_path / "net.yaml", tmp_path / "net.cortex"
    spec.write_text(json.dumps(NET))
    arrays = {"a/kernel": np.full((3, 2), 0.1), "b/kernel": np.ones((2, 1), np.float16)}
    arrays |= {"a/bias": np.zeros(2, np.float32), "b/bias": np.zeros(1, np.float32)}
    save_safetensors(file, arrays)
    said = cli("import", "safetensors", file, spec, "-o", out)
    assert said == (0, f"{out}\n", "note: float64 is rounded to float32: a/kernel\n")
    assert cortex.load(out).parameters["a/kernel"][0, 0] == np.float32(0.1)


REFUSED = """\
{}: its arrays do not fit the description; nothing was loaded:
  missing: a/kernel (3, 2)
  missing: b/bias (1,)
  unknown: 'a/kernels' (3, 2). Did you mean 'a/kernel'?
  b/kernel is (1, 2) in the file, (2, 1) in the description
"""


def test_what_does_not_fit_is_told_and_nothing_is_written(cli: Cli, model: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "w.safetensors", tmp_path / "out.cortex"
    shapes = {"a/kernels": (3, 2), "a/bias": (2,), "b/kernel": (1, 2)}
    save_safetensors(file, {name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
    assert cli("import", "safetensors", file, model, "-o", out) == (2, "", REFUSED.format(file))
    assert not out.exists()
    old = b"what was there"
    out.write_bytes(old)
    assert cli("import", "safetensors", file, model, "-o", out).code == 2
    assert out.read_bytes() == old


def test_files_of_other_kinds(cli: Cli, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.cortex"
    torch = tmp_path / "model.pt"
    torch.write_bytes(b"PK\x03\x04" + bytes(100))
    cut = tmp_path / "cut.safetensors"
    cli("export", "safetensors", model, "-o", cut)
    cut.write_bytes(cut.read_bytes()[:-1])
    for file, told in (
        (torch, "write safetensors.torch.save_file(model.state_dict(), path) in Python"),
        (model, "an HDF5 file"),
        (cut, "'end': the arrays take 44 bytes, the file has 43 for them"),
        (tmp_path / "nowhere", "nowhere: No such file or directory"),
    ):
        said = cli("import", "safetensors", file, "-o", out)
        assert (said.code, said.out) == (2, "")
        assert told in said.err
    assert not out.exists()


@pytest.mark.parametrize(
    ("command", "out", "told"),
    [
        ("export", "net.pt", "expected a name that ends in .safetensors"),
        ("import", "net.safetensors", "expected a name that ends in .cortex"),
    ],
)
def test_the_names_of_the_results(
    cli: Cli, model: Path, tmp_path: Path, command: str, out: str, told: str
) -> None:
    said = cli(command, "safetensors", model, "-o", tmp_path / out)
    assert (said.code, [p.name for p in tmp_path.iterdir()]) == (2, ["net.cortex"])
    assert told in said.err
    assert "Missing option '-o'" in cli(command, "safetensors", model).err
