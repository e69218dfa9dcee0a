"""``cortex import onnx``: what it writes and prints, and that it writes nothing where something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import cortex
from cortex_core.check import check
from tests.conftest import Cli
from tests.exchange.onnx.handmade import forward, node, perceptron, saved, written


def test_what_it_writes(cli: Cli, tmp_path: Path) -> None:
    model = perceptron()
    path, out = written(tmp_path, model), tmp_path / "new" / "net.cortex"
    said = cli("import", "onnx", path, "-o", out)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[-1] == f"{out}: written"
    assert sorted(p.name for p in out.parent.iterdir()) == ["net.cortex", "net.report.json", "net.yaml"]
    x = np.ones((2, 3), np.float32)
    np.testing.assert_allclose(cortex.load(out).predict(x), forward(model, x), rtol=1e-5)
    text = out.with_suffix(".yaml").read_text()
    assert text.startswith("# Imported from model.onnx (ONNX opset 17, hand).\ncortex: 1\n")
    assert check(out.with_suffix(".yaml")).problems == ()
    assert json.loads(out.with_suffix(".report.json").read_text()) == {
        "file": "model.onnx (ONNX opset 17, hand)",
        "verdict": "unproved",
        "inputs": {"x": {"id": "x", "axis_of_the_examples": 0}},
        "outputs": {"y": {"id": "out", "axis_of_the_examples": 0}},
        "notes": [],
    }


def test_a_model_that_was_exported_gets_another_head(cli: Cli, tmp_path: Path) -> None:
    """The head is a dense layer with its bias again, as it was before the export."""
    description = {
        "inputs": {"image": [8, 8, 1]},
        "layers": [
            {"conv2d": {"filters": 4, "kernel": 3, "activation": "relu"}},
            "flatten",
            {"dense": {"units": 10, "id": "digit"}},
        ],
        "loss": {"softmax_cross_entropy": {"of": "digit", "target": "label"}},
    }
    path, back, out = (tmp_path / name for name in ("net.onnx", "back.cortex", "five.cortex"))
    cortex.to_onnx(cortex.network(description), path)
    assert cli("import", "onnx", path, "-o", back).code == 0
    said = cli("surgery", back, "--replace-head", "5", "-o", out)
    assert (said.code, said.err) == (0, "")
    x = np.ones((2, 8, 8, 1), np.float32)
    np.testing.assert_allclose(cortex.load(out).predict(x).sum(-1), 1, rtol=1e-5)
    assert cortex.load(out).predict(x).shape == (2, 5)
    kinds = [layer.kind for layer in cortex.load(back).description.layers]
    assert kinds == ["conv2d", "relu", "reshape", "dense", "softmax"]


def test_the_report_on_standard_output(cli: Cli, tmp_path: Path) -> None:
    said = cli("import", "onnx", written(tmp_path, perceptron()), "-o", tmp_path / "n.cortex", "--json", "-")
    assert json.loads(said.out)["outputs"]["y"]["id"] == "out"


def test_notes_are_told(cli: Cli, tmp_path: Path) -> None:
    path = saved(tmp_path, [node("Transpose", ["x"], ["y"])], {"x": ["n", 3]}, ["y"])
    said = cli("import", "onnx", path, "-o", tmp_path / "n.cortex")
    assert said.err == "note: the output y: its examples lie along axis 1 there, and along the first here\n"


@pytest.mark.parametrize("out", ["net.yaml", "net.onnx"])
def test_names_that_end_otherwise(cli: Cli, tmp_path: Path, out: str) -> None:
    said = cli("import", "onnx", written(tmp_path, perceptron()), "-o", tmp_path / out)
    assert said.code == 2
    assert "expected a name that ends in .cortex" in said.err


def test_nothing_is_written_where_something_is_wrong(cli: Cli, tmp_path: Path) -> None:
    path = saved(tmp_path, [node("Det", ["x"], ["y"])], {"x": ["n", 3, 3]}, ["y"])
    out = tmp_path / "net.cortex"
    out.write_text("before")
    said = cli("import", "onnx", path, "-o", out)
    assert said.code == 2
    assert "(Det): this operator is not supported" in said.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx", "net.cortex"]
    assert out.read_text() == "before"
