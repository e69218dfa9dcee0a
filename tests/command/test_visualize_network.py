"""``cortex visualize network``."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from cortex.command.main import run
from cortex_core.network import network
from cortex_viz.drawing import network_svg, plan_svg
from tests.command.conftest import EXAMPLES
from tests.conftest import Cli

LENET = EXAMPLES / "lenet.yaml"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_description(cli: Cli) -> None:
    said = cli("visualize", "network", LENET)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("lenet-network.svg: lenet: 10 layers, 431,080 parameters")
    assert Path("lenet-network.svg").read_text(encoding="utf-8") == network_svg(LENET)


def test_the_options(cli: Cli) -> None:
    residual = EXAMPLES / "residual.yaml"
    assert cli("visualize", "network", residual, "--unfold", "--out", "a.svg").code == 0
    assert Path("a.svg").read_text(encoding="utf-8") == network_svg(residual, unfold=True)
    options = ("--plan", "--backend", "numpy", "--batch-size", 8, "--purpose", "evaluate", "--out", "b.svg")
    said = cli("visualize", "network", LENET, *options)
    assert "to evaluate on batches of 8 (numpy)" in said.out
    assert Path("b.svg").read_text(encoding="utf-8") == plan_svg(LENET, "numpy", 8, "evaluate")


def test_a_terminal_of_few_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(said, "ascii", write_through=True))
    assert run(["visualize", "network", str(LENET), "--out", "fé.SVG"]) == 0
    assert said.getvalue().startswith(b"f?.SVG: lenet: 10 layers")
    assert Path("fé.SVG").is_file()


def test_overrides(cli: Cli) -> None:
    said = cli("visualize", "network", LENET, "train.batch_size=5", "--plan", "--backend", "numpy")
    assert said.out.startswith("lenet-plan.svg: lenet: 35 kernels to train on batches of 5 (numpy)")


def test_a_model_and_a_run(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    made = network(LENET)
    made.save("run/model.cortex")
    assert cli("visualize", "network", "run").out.startswith("run/network.svg: ")
    assert cli("visualize", "network", "run/model.cortex", "--out", "m.svg").code == 0
    assert Path("run/network.svg").read_text(encoding="utf-8") == Path("m.svg").read_text(encoding="utf-8")
    said = cli("visualize", "network", "run", "train.batch_size=5")
    assert said.code == 2
    assert "overrides cannot change a network that has parameters" in said.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing.yaml",), "nothing.yaml: cannot be read"),
        (("nothing.cortex",), "nothing.cortex"),
        ((".",), "there is no such model"),
        ((LENET, "--out", "a.png"), "expected a name that ends in .svg"),
        ((LENET, "--plan", "--unfold"), "leave out --plan, or --unfold"),
        ((LENET, "--plan", "--backend", "nump"), "nump"),
        (
            (LENET, "--batch-size", 7, "--backend", "numpy", "--purpose", "predict"),
            "--purpose, --batch-size, --backend: of a plan; give --plan, too",
        ),
        ((LENET, "layers[0].conv2d.filter=3"), "filter"),
    ],
)
def test_what_is_wrong(cli: Cli, arguments: tuple[object, ...], words: str) -> None:
    said = cli("visualize", "network", *arguments)
    assert said.code == 2
    assert words in said.err
    assert "Traceback" not in said.err
    assert list(Path().glob("*.svg")) == []
