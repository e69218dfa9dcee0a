"""``cortex train`` and what a run leaves."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cortex
from cortex_core.spec import read
from tests.conftest import Cli

FILES = {
    "description.yaml",
    "model.cortex",
    "last.cortex",
    "history.csv",
    "curves.png",
    "confusion.png",
    "report.html",
    "summary.json",
}


def test_what_a_run_leaves(iris_run: Path) -> None:
    assert {p.name for p in iris_run.iterdir()} == FILES
    with (iris_run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert read(iris_run / "description.yaml").train.epochs == 8
    for name in ("curves.png", "confusion.png"):
        with Image.open(iris_run / name) as picture:
            assert min(picture.size) > 200
            assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 20


def test_it_says_where_everything_lies(cli: Cli, spec: Path, tmp_path: Path, reports: None) -> None:
    out = tmp_path / "run"
    said = cli("train", spec, "--out", out, "train.epochs=1")
    assert said.code == 0
    for name in ("model.cortex", "history.csv", "curves.png", "confusion.png", "report.html"):
        assert str(out / name) in said.out
    assert "test" in said.out
    assert said.err.startswith("epoch 1/1")


def test_json_stands_alone(cli: Cli, spec: Path, tmp_path: Path) -> None:
    said = cli("train", spec, "--out", tmp_path / "run", "--json", "-", "train.epochs=1")
    data = json.loads(said.out)
    assert data["epochs"] == 1
    assert 0 <= data["metrics"]["test"]["accuracy"] <= 1


def test_without_matplotlib_it_says_so_and_goes_on(
    cli: Cli, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reports: None
) -> None:
    for name in [m for m in sys.modules if m.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = cli("train", spec, "--out", tmp_path / "run", "train.epochs=1")
    assert said.code == 0
    assert (tmp_path / "run" / "model.cortex").exists()
    page = (tmp_path / "run" / "report.html").read_text()
    assert "curves.png and confusion.png: matplotlib is not installed: pip install" in page


@pytest.mark.slow
def test_seed_and_override_reach_the_run(cli: Cli, spec: Path, tmp_path: Path) -> None:
    runs = {}
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert cli("train", spec, "--out", tmp_path / name, "--seed", seed, "train.epochs=1").code == 0
        runs[name] = cortex.load(tmp_path / name / "model.cortex").parameters["kind/kernel"].copy()
    np.testing.assert_array_equal(runs["a"], runs["b"])
    assert not np.array_equal(runs["a"], runs["c"])


@pytest.mark.slow
def test_resume_goes_on_with_the_same_bits(cli: Cli, spec: Path, tmp_path: Path) -> None:
    assert cli("train", spec, "--out", tmp_path / "whole", "train.epochs=4").code == 0
    assert cli("train", spec, "--out", tmp_path / "run", "train.epochs=2").code == 0
    said = cli("train", "--resume", tmp_path / "run", "train.epochs=4")
    assert said.code == 0
    assert said.err.startswith("epoch 3/4")
    whole, resumed = (cortex.load(tmp_path / name / "model.cortex").parameters for name in ("whole", "run"))
    for name in whole:
        np.testing.assert_array_equal(whole[name], resumed[name])


def test_ctrl_c_leaves_a_run_to_go_on_with(cli: Cli, spec: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "cortex", "train", str(spec), "--out", str(out), "train.epochs=100000"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while not process.stderr.readline().startswith("epoch 2/"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[1].splitlines()
    assert process.returncode == 130
    assert "Traceback" not in "".join(rest)
    assert f"--resume {out}" in rest[-1]
    with (out / "history.csv").open() as file:
        finished = len(list(csv.DictReader(file)))
    assert cli("train", "--resume", out, f"train.epochs={finished + 1}").code == 0


def test_resume_of_what_is_no_run(cli: Cli, tmp_path: Path) -> None:
    said = cli("train", "--resume", tmp_path)
    assert (said.code, said.err) == (2, f"{tmp_path}: there is no last.cortex to resume from\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train.data=irys"], "unknown data set 'irys'. Did you mean 'iris'?"),
        (["train.batch_size=1000"], "batch_size"),
        (["--backend", "nix"], "unknown backend 'nix'"),
        (["--precision", "bf16", "--backend", "numpy"], "precision bfloat16: numpy computes bfloat16"),
        (["--precision", "tf32"], "train.precision: 'tf32' is text: expected float32 or bfloat16"),
        (["layers[0].dense.units=0"], "layers[0].dense.units"),
        (["train.validation=0.999999"], "validation"),
    ],
)
def test_wrong_input_is_a_clear_error(
    cli: Cli, spec: Path, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    said = cli("train", spec, "--out", tmp_path / "run", *arguments)
    assert said.code == 2
    assert expected in said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / "run").exists()
