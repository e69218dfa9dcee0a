"""``cortex train --folds``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Cli


@pytest.mark.slow
def test_a_table_with_mean_and_spread(cli: Cli, spec: Path, tmp_path: Path, reports: None) -> None:
    out = tmp_path / "run"
    options = ("--folds", 3, "train.epochs=2", "train.split=stratified")
    said = cli("train", spec, "--out", out, "--json", tmp_path / "x.json", *options)
    assert said.code == 0
    table = [line.split() for line in said.out.splitlines()[:6]]
    assert [row[0] for row in table] == ["fold", "1", "2", "3", "mean", "spread"]
    accuracy = [float(row[table[0].index("accuracy")]) for row in table[1:]]
    assert accuracy[3] == pytest.approx(np.mean(accuracy[:3]), abs=1e-4)
    assert accuracy[4] == pytest.approx(np.std(accuracy[:3], ddof=1), abs=1e-4)
    summary = json.loads((tmp_path / "x.json").read_text())
    assert summary == json.loads((out / "summary.json").read_text())
    assert [r["data"]["examples"]["test"] for r in summary["runs"]] == [40, 40, 40]
    assert "fold 2/3  epoch 1/2" in said.err
    assert (out / "fold-3" / "curves.png").is_file()
    again = cli("train", spec, "--resume", out, *options)
    assert again.code == 0
    assert again.out.splitlines()[:6] == said.out.splitlines()[:6]


def test_what_is_wrong_is_said(cli: Cli, spec: Path, tmp_path: Path) -> None:
    said = cli("train", "--resume", tmp_path, "--folds", 3)
    assert said.code == 2
    assert "--folds needs it beside --resume" in said.err
    assert cli("train", spec, "--folds", 1).code == 2
    said = cli("train", spec, "--out", tmp_path / "run", "--folds", 3, "train.split={grouped: {by: patient}}")
    assert said.code == 2
    assert "'patient' is no stream" in said.err
