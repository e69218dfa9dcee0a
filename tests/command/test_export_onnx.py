"""``cortex export onnx``: what it writes and prints, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cortex
from tests.conftest import Cli


def test_a_run_is_written(cli: Cli, iris_run: Path, tmp_path: Path) -> None:
    onnx, reference = pytest.importorskip("onnx"), pytest.importorskip("onnx.reference")
    out = tmp_path / "iris.onnx"
    said = cli("export", "onnx", iris_run, "-o", out)
    assert said == (0, f"takes features: batch x 4\ngives kind: batch x 3\n{out}\n", "")
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    network = cortex.load(iris_run)
    for options, raw in (((), False), (("--raw",), True)):
        assert cli("export", "onnx", iris_run / "model.cortex", *options, "-o", out).code == 0
        model = onnx.load(out)
        onnx.checker.check_model(model, full_check=True)
        (found,) = reference.ReferenceEvaluator(model).run(None, {"features": x})
        np.testing.assert_allclose(found, network.predict(x, raw=raw), rtol=1e-5, atol=1e-6)
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(told["cortex.classes"]) == {"kind": ["setosa", "versicolor", "virginica"]}


def test_another_suffix_is_refused(cli: Cli, iris_run: Path, tmp_path: Path) -> None:
    said = cli("export", "onnx", iris_run, "-o", tmp_path / "iris.pb")
    assert said.code == 2
    assert "expected a name that ends in .onnx" in said.err
    assert not list(tmp_path.iterdir())


def test_no_model(cli: Cli, tmp_path: Path) -> None:
    said = cli("export", "onnx", tmp_path / "nothing.cortex", "-o", tmp_path / "net.onnx")
    assert (said.code, said.out) == (2, "")
    assert "there is no such model" in said.err


def test_the_result_as_json(cli: Cli, iris_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    out = tmp_path / "iris.onnx"
    said = cli("export", "onnx", iris_run, "-o", out, "--json", "-")
    assert json.loads(said.out) == {
        "model": str(out),
        "takes": {"features": ["batch", 4]},
        "gives": {"kind": ["batch", 3]},
    }
    assert said.err.endswith(f"{out}\n")
    said = cli("export", "onnx", iris_run, "-o", out, "--json", out)
    assert (said.code, said.out) == (2, "")
    assert "would be written twice: give --json another name" in said.err


def test_a_terminal_that_lacks_the_letters_of_a_file(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    model = tmp_path / "net.cortex"
    cortex.network({"inputs": {"x": [2]}, "layers": [{"dense": {"units": 1, "id": "y"}}]}).save(model)
    command = [sys.executable, "-m", "cortex", "export", "onnx", str(model), "-o", "wärme.onnx"]
    ran = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "takes x: batch x 2\ngives y: batch x 1\nw?rme.onnx\n"
