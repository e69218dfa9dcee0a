"""``cortex surgery``: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import cortex
from tests.conftest import Cli

TABLE = """\
         layers  numbers
-------  ------  -------  ----
kept          1       40
new           1       18  kind
removed       0        0
frozen        1       40
"""


def test_a_new_head_on_a_frozen_body(cli: Cli, iris_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "two.cortex"
    options = ("--replace-head", 2, "--freeze-until", "dense", "-o", out)
    for model in (iris_run, iris_run / "model.cortex"):
        assert cli("surgery", model, *options) == (0, f"{TABLE}{out}\n", "")
    old, made = cortex.load(iris_run), cortex.load(out)
    np.testing.assert_array_equal(made.parameters["dense/kernel"], old.parameters["dense/kernel"])
    assert made.parameters["kind/kernel"].shape == (8, 2)


def test_the_result_is_trained_on(cli: Cli, iris_run: Path, tmp_path: Path) -> None:
    """From a file with another head: what is frozen is in the run as it was in the file."""
    from sklearn.datasets import load_iris

    found = load_iris()
    rows = found.target > 0
    np.savez(tmp_path / "two.npz", features=found.data[rows].astype(np.float32), label=found.target[rows] - 1)
    two = tmp_path / "two.cortex"
    assert cli("surgery", iris_run, "--replace-head", 2, "--freeze-until", "dense", "-o", two).code == 0
    override = f"train.data={tmp_path / 'two.npz'}"
    said = cli("train", two, override, "train.epochs=2", "--out", tmp_path / "run")
    assert said.code == 0, said.err
    before, after = cortex.load(two), cortex.load(tmp_path / "run")
    for name in ("dense/kernel", "dense/bias"):
        np.testing.assert_array_equal(after.parameters[name], before.parameters[name])
    assert (after.parameters["kind/kernel"] != before.parameters["kind/kernel"]).any()


def test_json(cli: Cli, iris_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "body.cortex"
    said = cli("surgery", iris_run, "--remove", "kind", "-o", out, "--json", "-")
    assert json.loads(said.out) == {
        "model": str(out),
        "kept": {"dense/kernel": [4, 8], "dense/bias": [8]},
        "new": {},
        "removed": {"kind/kernel": [8, 3], "kind/bias": [3]},
        "frozen": {},
        "layers": {"kept": ["dense"], "new": [], "removed": ["kind"], "frozen": []},
        "notes": [
            "the loss softmax_cross_entropy is removed with 'kind'",
            "the metric accuracy is removed with 'kind'",
        ],
    }
    assert said.err.startswith("note: the loss softmax_cross_entropy is removed with 'kind'\n")


def test_an_input_of_another_size(cli: Cli, iris_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "wide.cortex"
    said = cli("surgery", iris_run, "--resize-input", "6", "-o", out)
    assert said.code == 2
    assert said.err.startswith("resize_input: 'dense/kernel' is (4, 8) and would be (6, 8)")
    assert not out.exists()
    assert cli("surgery", iris_run, "--resize-input", "6", "--drop-unfitting", "-o", out).code == 0
    assert cortex.load(out).parameters["dense/kernel"].shape == (6, 8)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "Nothing to do: expected --remove, --resize-input, --replace-head"),
        (("--remove", "dence"), "remove: there is no layer 'dence'. Did you mean 'dense'?"),
        (("--freeze-until", "kin"), "freeze: there is no layer 'kin'. Did you mean 'kind'?"),
        (("--resize-input", "8x8"), "expected whole numbers such as 64,64,3"),
        (("--head", "kind", "--remove", "dense"), "--head belongs to --replace-head"),
        (("--input", "features", "--unfreeze"), "--input belongs to --resize-input"),
        (("--freeze-until", "dense", "--drop-unfitting"), "--drop-unfitting belongs to --remove or --resize"),
        (("--freeze-until", "dense", "--seed", "5"), "--seed belongs to --replace-head or --drop-unfitting"),
        (("--resize-input", "4", "--seed", "5"), "--seed belongs to --replace-head or --drop-unfitting"),
        (("--replace-head", "0"), "Invalid value for '--replace-head': 0 is not in the range x>=1"),
        (("--replace-head", "2", "--head", "features"), "no layer with parameters comes before 'features'"),
        (("--replace-head", "2", "--head", "dense"), "replace_head: 'dense' is no head; heads are: kind"),
    ],
)
def test_what_is_refused(
    cli: Cli, iris_run: Path, tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    out = tmp_path / "out.cortex"
    said = cli("surgery", iris_run, *options, "-o", out)
    assert said.code == 2
    assert told in said.err
    assert not out.exists()


def test_the_model_that_is_read_is_not_overwritten(
    cli: Cli, iris_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, link = tmp_path / "own.cortex", tmp_path / "link.cortex"
    file.write_bytes(before := (iris_run / "model.cortex").read_bytes())
    link.symlink_to(file)
    run = tmp_path / "run"
    run.mkdir()
    (run / "model.cortex").symlink_to(file)
    monkeypatch.chdir(tmp_path)
    same = (file, "own.cortex"), (link, file), (file, link), (run, file), ("run", run / "model.cortex")
    for model, out in same:
        said = cli("surgery", model, "--replace-head", 2, "-o", out)
        assert said.code == 2
        assert f"{out} is the model that is read; give another name" in said.err
    assert file.read_bytes() == before
    assert link.is_symlink()


def test_names_of_files(cli: Cli, iris_run: Path, spec: Path, tmp_path: Path) -> None:
    said = cli("surgery", iris_run, "--unfreeze", "-o", tmp_path / "net.yaml")
    assert said.code == 2
    assert "expected a name that ends in .cortex" in said.err
    said = cli("surgery", spec, "--unfreeze", "-o", tmp_path / "net.cortex")
    assert said.code == 2
    assert "this is a description" in said.err
