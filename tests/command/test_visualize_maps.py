"""``cortex visualize tsne`` and ``pca``."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

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


def test_a_seed_repeats_the_page(cli: Cli, run: Path) -> None:
    for seed, out in ((1, "a"), (1, "b"), (2, "c")):
        assert cli("visualize", "tsne", run, "--perplexity", 5, "--seed", seed, "--out", out).code == 0
    a, b, c = (Path(f"{name}.html").read_text() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--layer", "dens"), r"iris has no layer 'dens'\. Did you mean 'dense'"),
        (("--out", "map.gif"), r"map\.gif: expected a name that ends in \.png or \.html"),
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
