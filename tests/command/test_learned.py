"""``cortex visualize``: what a network learned."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex.command.main import run
from tests.conftest import Cli

DIGITS = """\
cortex: 1
name: few
inputs:
  image: [8, 8, 1]
layers:
  - conv2d: {filters: 4, kernel: 3, activation: relu}
  - flatten
  - dense: {units: 6, activation: relu, id: hidden}
  - dense: {units: 10, id: digit}
loss:
  softmax_cross_entropy: {of: digit, target: label}
train: {data: digits, epochs: 1}
"""

WORDS = """\
cortex: 1
name: lines
inputs:
  text: auto
layers:
  - embedding: {tokens: 8, units: 3}
  - global_avg_pool1d
  - dense: {units: 2, id: out}
loss:
  softmax_cross_entropy: {of: out, target: label}
train:
  data: {lines: {tokens: words, files: {good: good.txt, bad: bad.txt}}}
  batch_size: 2
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on pictures."""
    folder = tmp_path_factory.mktemp("learned")
    (folder / "few.yaml").write_text(DIGITS)
    arguments = ["train", str(folder / "few.yaml"), "--out", str(folder / "run"), "--histograms"]
    assert run([*arguments, "--no-report"]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on words."""
    folder = tmp_path_factory.mktemp("words")
    (folder / "lines.yaml").write_text(WORDS)
    (folder / "good.txt").write_text("very fine\nfine\n")
    (folder / "bad.txt").write_text("very dull\ndull\n")
    arguments = ["train", str(folder / "lines.yaml"), "--out", str(folder / "run"), "--no-report"]
    assert run(arguments) == 0
    return folder / "run"


PICTURES = ("filters", "activations", "saliency", "gradcam", "maximal", "histograms")


@pytest.mark.slow
@pytest.mark.parametrize("picture", PICTURES)
def test_pictures_go_into_the_run(cli: Cli, digits: Path, picture: str) -> None:
    said = cli("visualize", picture, digits)
    assert (said.code, said.out, said.err) == (0, f"{digits / picture}.png\n", "")
    assert (digits / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize("picture", PICTURES[:-1])
def test_of_a_file_they_go_into_the_current_folder(
    cli: Cli, digits: Path, picture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("visualize", picture, digits / "model.cortex").out == f"few-{picture}.png\n"
    assert cli("visualize", picture, digits, "--out", "mine.svg").out == "mine.svg\n"
    assert {p.name for p in tmp_path.iterdir()} == {f"few-{picture}.png", "mine.svg"}


@pytest.mark.parametrize(
    ("picture", "one", "other"),
    [
        ("gradcam", ("--index", 3, "--class", 7), ("--index", 3, "--class", 3)),
        ("gradcam", ("--index", 3, "--layer", "conv2d"), ("--index", 4, "--layer", "conv2d")),
        ("saliency", ("--index", 3, "--class", 7), ("--index", 3, "--class", 3)),
        ("saliency", ("--index", 3), ("--index", 3, "--index", 0)),
        ("activations", ("--index", 3), ("--index", 4)),
        ("activations", ("--layer", "hidden"), ("--layer", "digit", "--data", "digits")),
        ("maximal", ("--count", 2), ("--count", 3)),
        ("maximal", ("--layer", "conv2d"), ("--layer", "hidden")),
        ("filters", ("--layer", "conv2d"), ("--layer", "hidden")),
        ("histograms", ("--layer", "conv2d"), ("--layer", "hidden")),
    ],
)
def test_choices_change_the_picture(
    cli: Cli, digits: Path, tmp_path: Path, picture: str, one: Any, other: Any
) -> None:
    drawn = []
    for options in (one, one, other):
        said = cli("visualize", picture, digits, *options, "--out", tmp_path / "a.png")
        assert (said.code, said.err) == (0, "")
        drawn.append((tmp_path / "a.png").read_bytes())
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_example_of_the_help_prints_json_alone(
    cli: Cli, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = cli("visualize", "dead", digits, "--data", "digits", "--out", "dead.png", "--json", "-")
    assert json.loads(said.out)["examples"] == 359
    assert said.err.endswith("dead.png\n")
    assert Path("dead.png").is_file()


@pytest.mark.parametrize("picture", ["activations", "saliency", "gradcam", "maximal", "dead"])
def test_pictures_need_no_labels(
    cli: Cli, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: str
) -> None:
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).random((5, 8, 8, 1)).astype(np.float32)
    np.savez("alone.npz", image=images)
    np.savez("labelled.npz", image=images, label=np.arange(5))
    for name in ("alone", "labelled"):
        said = cli("visualize", picture, digits, "--data", f"{name}.npz", "--out", f"{name}.png")
        assert said.code == 0, said.err
    assert Path("alone.png").read_bytes() == Path("labelled.png").read_bytes()


def test_parameters_that_are_not_finite(cli: Cli, digits: Path, tmp_path: Path) -> None:
    from cortex_core.training.checkpoint import load

    network = load(digits / "model.cortex")
    for name in network.parameters:
        network.parameters[name] = np.full(network.parameters[name].shape, np.nan)
    network.save(tmp_path / "broken.cortex")
    for picture in ("filters", "activations", "saliency", "gradcam", "maximal", "dead"):
        said = cli("visualize", picture, tmp_path / "broken.cortex", "--out", tmp_path / "a.png")
        assert (said.code, said.out) == (2, "")
        assert "finite" in said.err
        assert "Warning" not in said.err
    assert not (tmp_path / "a.png").exists()


def test_dead_units_are_counted(cli: Cli, digits: Path, tmp_path: Path) -> None:
    from cortex_core.training.checkpoint import load

    network = load(digits / "model.cortex")
    network.parameters["hidden/bias"] = np.array([-1000, 0, -1000, 0, 0, 0])
    network.save(tmp_path / "dying.cortex")
    said = cli("visualize", "dead", tmp_path / "dying.cortex", "--layer", "hidden", "--json", "-")
    found = json.loads(said.out)
    assert found["examples"] == 359
    assert {0, 2} <= set(found["layers"][0]["dead"])
    assert found["layers"][0]["units"] == 6
    table = cli("visualize", "dead", tmp_path / "dying.cortex", "--out", tmp_path / "dead.png")
    count = len(found["layers"][0]["dead"])
    assert any(line.split()[:3] == ["hidden", "6", str(count)] for line in table.out.splitlines())
    assert (tmp_path / "dead.png").is_file()


def test_neighbours_of_words(cli: Cli, words: Path) -> None:
    from cortex_core.training.checkpoint import load

    table = load(words / "model.cortex").parameters["embedding/table"].astype(np.float64)
    said = cli("visualize", "neighbours", words, "--of", "fine", "--count", 2, "--json", "-")
    found = json.loads(said.out)
    ((row,),) = (found["rows"],)
    assert (found["layer"], row["name"]) == ("embedding", "fine")
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    cosines = unit @ unit[row["row"]]
    cosines[row["row"]] = -2
    assert [x["row"] for x in row["neighbours"]] == np.argsort(-cosines)[:2].tolist()
    np.testing.assert_allclose([x["cosine"] for x in row["neighbours"]], np.sort(cosines)[:-3:-1], rtol=1e-6)
    lines = cli("visualize", "neighbours", words).out.splitlines()
    assert {line.split()[0] for line in lines} >= {"very", "fine", "dull"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("filters", "--layer", "cnv2d"), "Did you mean 'conv2d'"),
        (
            ("filters", "--layer", "flatten"),
            "'flatten' has no kernels that are pictures. Layers with such: conv2d, hidden",
        ),
        (("activations", "--layer", "nope"), "few has no layer 'nope'. Its layers are conv2d, flatten"),
        (("activations", "--index", "359"), "there is no example 359; they are 0 to 358"),
        (("saliency", "--index", "-1"), "there is no example -1"),
        (("saliency", "--class", "ten"), "there is no class 'ten'"),
        (("gradcam", "--class", "10"), "there is no class 10; the classes are 0 to 9"),
        (("gradcam", "--layer", "hidden"), "'hidden' gives [6], no maps"),
        (("gradcam", *["--index", "1"] * 9), "9 examples are too many for one picture; 8 at most"),
        (("maximal", "--layer", "nope"), "no layer 'nope'"),
        (("maximal", "--data", "iris"), "'image' is no stream of iris"),
        (
            ("dead", "--layer", "digit"),
            "'digit' does not have relu or relu6. Layers with such: conv2d, hidden",
        ),
        (("neighbours",), "it has no embedding"),
        (("histograms", "--layer", "nope"), "'nope' is no layer with parameters. Those"),
        (("filters", "--out", "a.txt"), "expected a name that ends in .png, .svg or .pdf"),
    ],
)
def test_what_cannot_be_shown(cli: Cli, digits: Path, arguments: tuple[str, ...], words: str) -> None:
    picture, *options = arguments
    said = cli("visualize", picture, digits, *options)
    assert (said.code, said.out) == (2, "")
    assert words in said.err


def test_models_without_pictures(cli: Cli, iris_run: Path) -> None:
    for picture in ("saliency", "gradcam", "maximal"):
        said = cli("visualize", picture, iris_run)
        assert said.code == 2
        assert "needs a picture input (height, width, channels); its inputs are 'features' [4]" in said.err
    assert "no layer has kernels that are pictures" in cli("visualize", "filters", iris_run).err


def test_runs_without_histograms_and_folders_without_runs(cli: Cli, iris_run: Path, tmp_path: Path) -> None:
    said = cli("visualize", "histograms", iris_run)
    assert said.code == 2
    assert f"{iris_run} has no histograms.jsonl: train with `cortex train SPEC --histograms`" in said.err
    said = cli("visualize", "histograms", iris_run / "model.cortex")
    assert said.err == f"{iris_run}/model.cortex is no folder; expected that of a run\n"
    for picture in (*PICTURES, "dead", "neighbours"):
        said = cli("visualize", picture, tmp_path)
        assert said.code == 2
        wanted = "histograms.jsonl" if picture == "histograms" else "a .cortex file or the folder of a run"
        assert wanted in said.err


def test_words_that_are_not_there(cli: Cli, words: Path) -> None:
    said = cli("visualize", "neighbours", words, "--of", "fin")
    assert said.code == 2
    assert "Did you mean 'fine'" in said.err


def test_without_matplotlib(cli: Cli, digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*(m for m in sys.modules if m.startswith("matplotlib")), "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    said = cli("visualize", "filters", digits)
    assert (said.code, said.out) == (2, "")
    assert "matplotlib is not installed: pip install 'cortex-nn[viz]'" in said.err
    assert cli("visualize", "dead", digits).code == 0


@pytest.mark.parametrize("picture", [*PICTURES, "dead", "neighbours"])
def test_help_shows_an_example(cli: Cli, picture: str) -> None:
    assert f"cortex visualize {picture} runs/" in cli("visualize", picture, "--help").out
