"""``cortex descend``: what it prints and writes, and what it says to mistakes."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cortex_core.descent import FUNCTIONS, named_function
from tests.conftest import Cli


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder; functions that a test adds are gone after it."""
    before = dict(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    FUNCTIONS.clear()
    FUNCTIONS.update(before)


def test_the_example_of_the_help(cli: Cli, here: Path) -> None:
    said = cli("descend", "rosenbrock", "--optimizer", "adam:learning_rate=0.05", "--optimizer", "lbfgs")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == "rosenbrock of 2 coordinates from (-1.2, 1)"
    columns = "optimizer steps f gradients seconds value gradient norm distance stopped"
    assert lines[1].split() == columns.split()
    assert lines[2].startswith("adam(learning_rate=0.05)")
    assert lines[2].endswith("200 steps")
    assert lines[3].startswith("lbfgs")
    assert lines[4].startswith("Still on its way: adam(learning_rate=0.05)")
    assert lines[5:] == ["rosenbrock.png", "rosenbrock.html"]
    with Image.open("rosenbrock.png") as picture:
        assert len(picture.convert("RGB").getcolors(1 << 24) or ()) > 50
    html = Path("rosenbrock.html").read_text("utf-8")
    assert "adam(learning_rate=0.05)" in html
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")


def test_the_numbers_are_those_of_the_function(cli: Cli) -> None:
    """Gradient descent on x² + y²: each step is a multiplication by 1 - 2 · rate."""
    words = ("descend", "sphere", "--optimizer", "sgd:learning_rate=0.1", "--from", "3,4", "--steps", "5")
    said = cli(*words, "--json", "-", "--out", "s.png")
    found = json.loads(said.out)
    (row,) = found["optimizers"]
    shrunk = 0.8**5
    assert row["steps"] == 5
    assert (row["f_calls"], row["gradient_calls"]) == (6, 6)
    np.testing.assert_allclose(row["x"], [3 * shrunk, 4 * shrunk])
    np.testing.assert_allclose(row["xs"], [[3 * 0.8**k, 4 * 0.8**k] for k in range(6)])
    assert row["value"] == pytest.approx(25 * shrunk**2)
    assert row["gradient_norm"] == pytest.approx(10 * shrunk)
    assert row["distance"] == pytest.approx(5 * shrunk)
    assert row["stopped"] == "5 steps"
    assert found["files"] == ["s.png", "s.html"]
    assert "sgd(learning_rate=0.1)" in said.err  # what is for people stands aside


def test_a_descent_that_arrives_stops(cli: Cli) -> None:
    words = ("descend", "booth", "--optimizer", "lbfgs", "--optimizer", "scipy:BFGS:gtol=1e-10")
    rows = json.loads(cli(*words, "--json", "-").out)["optimizers"]
    for row in rows:
        assert row["steps"] < 30
        assert row["gradient_norm"] < 1e-7
        np.testing.assert_allclose(row["x"], [1, 3], atol=1e-7)
    assert [row["optimizer"] for row in rows] == ["lbfgs", "scipy:BFGS(gtol=1e-10)"]


def test_divergence_is_told_not_fatal(cli: Cli) -> None:
    said = cli("descend", "rosenbrock", "--optimizer", "sgd:learning_rate=1", "--out", "far.png")
    assert said.code == 0
    assert Path("far.png").stat().st_size > 10_000
    assert "leaves the picture at step 1." in Path("far.html").read_text("utf-8")
    assert "at step" in said.out.splitlines()[2]  # why it stopped


@pytest.mark.slow
def test_each_function_is_descended_from_its_default_start(cli: Cli) -> None:
    for name in FUNCTIONS:
        rows = json.loads(cli("descend", name, "--steps", "3", "--json", "-").out)["optimizers"]
        assert [row["optimizer"] for row in rows] == ["adam", "lbfgs"]
        for row in rows:
            assert row["steps"] > 0
            assert row["value"] < row["values"][0]


def test_what_does_not_move_is_told(cli: Cli) -> None:
    said = cli("descend", "easom", "--from", "30,-50", "--optimizer", "adam")
    assert "Made no step: adam: another --from may lead on" in said.out
    assert "Still on its way" not in said.out


def test_what_arrives_at_the_last_step_has_arrived(cli: Cli) -> None:
    words = ("descend", "rosenbrock", "--optimizer", "lbfgs")
    steps = json.loads(cli(*words, "--json", "-").out)["optimizers"][0]["steps"]
    assert "Still on its way" not in cli(*words, "--steps", str(steps)).out
    assert "Still on its way: lbfgs" in cli(*words, "--steps", str(steps - 1)).out


def test_a_start_outside_of_the_domain_is_told(cli: Cli) -> None:
    said = cli("descend", "branin", "--from", "30,20", "--optimizer", "lbfgs")
    assert said.out.splitlines()[0] == "branin of 2 coordinates from (30, 20), outside of its usual domain"


def test_dimensions_axes_and_seeds(cli: Cli) -> None:
    words = ("descend", "ackley", "--dimensions", "5", "--axes", "2,5", "--optimizer", "adam", "--steps", "3")
    starts = [json.loads(cli(*words, "--seed", seed, "--json", "-").out)["from"] for seed in (1, 1, 2)]
    assert len(starts[0]) == 5
    assert starts[0] == starts[1] != starts[2]
    html = Path("ackley.html").read_text("utf-8")
    assert "x2 and x5 of 5 coordinates" in html


def test_the_list(cli: Cli) -> None:
    said = cli("descend", "--list")
    for name in FUNCTIONS:
        assert f"  {name} " in said.out
    for name in ("adam", "lbfgs", "scipy:Nelder-Mead"):
        assert f"  {name}\n" in said.out
    found = json.loads(cli("descend", "--list", "--json", "-").out)
    branin = next(f for f in found["functions"] if f["name"] == "branin")
    assert branin["dimensions"] == "2"
    assert branin["domain"] == "-5 to 10, 0 to 15"
    assert branin["minimum"] == pytest.approx(0.397887, abs=1e-6)


def test_a_function_of_ones_own(cli: Cli, here: Path) -> None:
    (here / "mine.py").write_text(
        "from cortex_core.descent import named_function\n"
        "@named_function((-3.0, 3.0), minima=[[0.0, 0.0]], fewest=2, most=2)\n"
        "def tilted(x):\n"
        "    a, b = x[..., 0], x[..., 1]\n"
        "    return a * a + 10 * b * b + a * b\n"
    )
    said = cli("--use", "mine.py", "descend", "tilted", "--optimizer", "lbfgs", "--json", "-")
    assert json.loads(said.out)["optimizers"][0]["value"] < 1e-12


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "cortex descend --list"),
        (["rosenbrok"], "rosenbrock"),
        (["rosenbrock", "--optimizer", "adma"], "adam"),
        (["rosenbrock", "--optimizer", "adam:learning_rat=1"], "learning_rate"),
        (["rosenbrock", "--optimizer", "adam:learning_rate=fast"], "learning_rate"),
        (["rosenbrock", "--optimizer", "adam:learning_rate"], "no OPTION=VALUE"),
        (["rosenbrock", "--optimizer", "adam:beta1=0.1,beta1=0.2"], "beta1 is given twice"),
        (["rosenbrock", "--optimizer", "scipy:BFGX"], "scipy:BFGS"),
        (["rosenbrock", "--optimizer", "scipy:BFGS:gtoll=1"], "gtol"),
        (["rosenbrock", "--from", "1,a"], "--from 1,a: expected numbers"),
        (["rosenbrock", "--from", "1,nan"], "finite"),
        (["rosenbrock", "--from", "1,2,3", "--dimensions", "2"], "--from has 3 numbers, expected 2"),
        (["rosenbrock", "--from", "1,2", "--seed", "3"], "one of the two"),
        (["branin", "--dimensions", "3"], "branin takes 2"),
        (["branin", "--from", "1,2,3"], "branin takes 2"),
        (["michalewicz", "--dimensions", "11"], "1 to 10"),
        (["sphere", "--dimensions", "1"], "--dimensions 2 or more"),
        (["sphere", "--axes", "1,3"], "coordinates of 1 to 2"),
        (["sphere", "--axes", "1,1"], "coordinates of 1 to 2"),
        (["sphere", "--axes", "1,1.5"], "coordinates of 1 to 2"),
        (["sphere", "--out", "a.jpg"], "a.jpg: expected a name that ends in .png"),
        (["sphere", "--out", "a.html"], "expected a name that ends in .png"),
        (["sphere", "--steps", "0"], "--steps"),
    ],
)
def test_mistakes(cli: Cli, here: Path, words: list[str], told: str) -> None:
    said = cli("descend", *words)
    assert said.code == 2
    assert told in said.err
    assert "Traceback" not in said.err
    assert list(here.iterdir()) == []  # nothing is written


def test_a_mistake_in_the_last_optimizer_is_told_before_the_first_runs(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("a study ran")

    monkeypatch.setattr("cortex_core.descent.study", never)
    assert cli("descend", "sphere", "--optimizer", "adam", "--optimizer", "adma").code == 2


def test_what_was_interrupted_is_drawn(cli: Cli) -> None:
    @named_function((-1.0, 1.0), minima=[[0.0, 0.0]], fewest=2)
    def tiring(x: Any) -> Any:
        calls.append(x)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return (x * x).sum(-1)

    calls: list[Any] = []
    said = cli("descend", "tiring", "--optimizer", "sgd", "--optimizer", "adam")
    assert said.code == 130
    assert "interrupted" in said.err
    assert Path("tiring.png").is_file()
    html = Path("tiring.html").read_text("utf-8")
    assert "sgd" in html
    assert "adam" not in html


def test_without_matplotlib_there_is_the_page(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError(name, name="matplotlib")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    said = cli("descend", "sphere", "--optimizer", "lbfgs")
    assert said.code == 0
    assert "pip install 'cortex-nn[viz]'" in said.err
    assert said.out.splitlines()[-1] == "sphere.html"
    assert Path("sphere.html").is_file()
    assert not Path("sphere.png").exists()


@pytest.mark.parametrize(
    ("body", "told"),
    [("raise ValueError('boom')", "ValueError: boom"), ("return np.sum(np.abs(x))", "TypeError")],
)
def test_a_function_of_ones_own_that_raises(cli: Cli, here: Path, body: str, told: str) -> None:
    (here / "mine.py").write_text(
        "import numpy as np\n"
        "from cortex_core.descent import named_function\n"
        "@named_function((-3.0, 3.0), (-3.0, 3.0))\n"
        f"def broken(x):\n    {body}\n"
    )
    said = cli("--use", "mine.py", "descend", "broken")
    assert said.code == 2
    assert f"broken raised {told}" in said.err
    assert "Traceback" not in said.err
    assert not Path("broken.html").exists()


def test_a_minimum_that_is_unknown(cli: Cli, here: Path) -> None:
    (here / "mine.py").write_text(
        "from cortex_core.descent import named_function\n"
        "@named_function((-3.0, 3.0), (-3.0, 3.0))\n"
        "def bowl(x):\n    return (x * x).sum(-1) + 5\n"
    )
    said = cli("--use", "mine.py", "descend", "bowl", "--optimizer", "lbfgs")
    assert said.code == 0
    assert Path("bowl.png").is_file()
    assert "least value" not in Path("bowl.html").read_text("utf-8")
    listed = cli("--use", "mine.py", "descend", "--list").out.splitlines()
    assert any("bowl" in line and line.endswith("unknown") for line in listed)


def test_a_start_without_a_finite_value(cli: Cli) -> None:
    said = cli("descend", "branin", "--from", "1e308,1e308")
    assert said.code == 2
    assert "nothing finite to draw" in said.err
    assert "Warning" not in said.err
    assert not Path("branin.png").exists()


def test_many_coordinates_are_drawn_soon(cli: Cli) -> None:
    """The surface is of two coordinates: 4,000 cost no more than a coarser one."""
    assert cli("descend", "sphere", "--dimensions", "4000", "--steps", "2").code == 0
    assert Path("sphere.png").is_file()
