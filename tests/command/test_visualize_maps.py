"""``cortex visualize tsne`` and ``pca``."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from cortex.command import main
from cortex_core.network import network
from cortex_viz import embed
from tests.conftest import Cli


@pytest.fixture
def run(iris_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose network has one hidden layer of 8 units; its test part holds 30 flowers."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(iris_run, "run"))


def test_into_the_folder_of_the_run(cli: Cli, run: Path) -> None:
    said = cli("visualize", "tsne", run, "--json", "found.json")
    assert (said.code, said.err) == (0, "")
    found = json.loads(Path("found.json").read_text())
    assert (found["layer"], found["width"], found["examples"]) == ("dense", 8, 30)
    assert found["files"] == ["run/tsne.png", "run/tsne.html"]
    assert all(Path(file).exists() for file in found["files"])
    assert 0.8 < found["trustworthiness"] <= 1
    assert found["seconds"]["total"] >= found["seconds"]["points"]
    assert re.search(rf"^trust +{found['trustworthiness']:.4f} ", said.out, re.M)
    assert embed.library() in said.out
    assert "setosa" in Path("run/tsne.html").read_text()


def test_options_are_heeded(cli: Cli, run: Path) -> None:
    options = ("--layer", "features", "--split", "train", "--count", 40, "--out", "mine.png", "--json", "-")
    said = cli("visualize", "pca", run / "model.cortex", "--data", "iris", *options)
    found = json.loads(said.out)
    assert (said.code, found["layer"], found["width"], found["examples"]) == (0, "features", 4, 40)
    assert found["method"] == "principal components"
    assert found["files"] == ["mine.png", "mine.html"]
    assert "principal components" in said.err
    first, second = found["explained_variance"]
    assert 1 > first > second > 0
    assert f"explained   {first:.1%} + {second:.1%} of the variance" in said.err


def test_a_seed_repeats_the_page(cli: Cli, run: Path) -> None:
    for seed, out in ((1, "a"), (1, "b"), (2, "c")):
        assert cli("visualize", "tsne", run, "--perplexity", 5, "--seed", seed, "--out", out).code == 0
    a, b, c = (Path(f"{name}.html").read_text() for name in "abc")
    assert a == b != c


def test_dots_in_names(cli: Cli, run: Path) -> None:
    layers = [{"dense": {"units": 3, "id": "kind"}}]
    loss = {"softmax_cross_entropy": {"of": "kind", "target": "label"}}
    made = network({"name": "big-v1.5", "inputs": {"features": [4]}, "layers": layers, "loss": loss})
    made.save("big.cortex")
    said = cli("visualize", "pca", "big.cortex", "--data", "iris", "--layer", "features", "--json", "-")
    assert json.loads(said.out)["files"] == ["big-v1.5-pca.png", "big-v1.5-pca.html"]
    said = cli("visualize", "pca", run, "--out", "map-v1.6", "--json", "-")
    assert json.loads(said.out)["files"] == ["map-v1.6.png", "map-v1.6.html"]
    assert all(Path(f"{stem}.html").is_file() for stem in ("big-v1.5-pca", "map-v1.6"))


def test_examples_without_labels(cli: Cli, run: Path) -> None:
    features = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    np.savez("alone.npz", features=features)
    np.savez("wrong.npz", features=features[:, :3])
    said = cli("visualize", "pca", run, "--data", "alone.npz", "--out", "alone")
    assert said.code == 0
    assert re.search("^note: without classes: .*'label'", said.err)
    assert "setosa" not in Path("alone.html").read_text()
    said = cli("visualize", "pca", run, "--data", "wrong.npz", "--out", "wrong")
    assert said.code == 2
    assert "this input is [4]" in said.err


def test_other_import_errors_are_not_hidden(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise ImportError("cannot import name 'a' from 'b'", name="b")

    monkeypatch.setattr(embed, "pca", broken)
    with pytest.raises(ImportError, match="cannot import name"):
        main.run(["visualize", "pca", str(run)])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--layer", "dens"), r"iris has no layer 'dens'\. Did you mean 'dense'"),
        (("--split", "train", "--data", "run/history.csv"), r"--split is a part of a data set; .* is a file"),
        (("--split", "exam"), r"has no part 'exam'; it has train, test"),
        (
            ("--perplexity", "30"),
            r"expected 1 to 9\.66667, a third of the others of 30; 30 needs 91 examples",
        ),
        (("--count", "3"), "Invalid value for '--count'"),
        (("--data", "absent"), "unknown data set 'absent'"),
    ],
)
def test_mistakes(cli: Cli, run: Path, options: tuple[str, ...], told: str) -> None:
    said = cli("visualize", "tsne", run, *options)
    assert said.code == 2
    assert re.search(told, said.err)
    assert not (run / "tsne.png").exists()


def test_without_scikit_learn(cli: Cli, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*arguments: object) -> None:
        raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")

    monkeypatch.setattr(embed, "pca", absent)
    said = cli("visualize", "pca", run)
    assert said.code == 2
    assert "sklearn is not installed: pip install 'cortex-nn[viz]'" in said.err


@pytest.mark.parametrize(
    ("broken", "told"),
    [("raise ImportError('no')", "no"), ("import absent_from_here", "No module named 'absent_from_here'")],
)
def test_a_package_that_is_broken(
    broken: str, told: str, cli: Cli, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = Path("packages/matplotlib/__init__.py")
    package.parent.mkdir(parents=True)
    monkeypatch.syspath_prepend(package.parents[1].absolute())
    for name in [m for m in sys.modules if m.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    package.write_text(broken)
    said = cli("visualize", "pca", run)
    assert said.code == 2
    assert said.err.endswith(f"matplotlib cannot be imported: {told}\n")
