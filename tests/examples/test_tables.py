"""The examples with tables: on made files of the published form, and on the published ones where they lie."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cortex
from cortex_core.training.run import Run
from tests.examples.made import write_tables

EXAMPLES = Path(__file__).parents[2] / "examples"
REAL = Path(os.environ.get("CORTEX_DATA", "")) / "tabular"
published = pytest.mark.skipif(not (REAL / "titanic.csv").exists(), reason="CORTEX_DATA names no tables")

NAMES = ("titanic", "adult", "penguins", "body_mass")


Train = Callable[..., Run]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Trains an example with some options changed."""

    def call(name: str, *overrides: str) -> Run:
        path = str(EXAMPLES / f"{name}.yaml")
        return cortex.train(path, overrides=overrides, out=tmp_path / "run", progress=False, threads=1)

    return call


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes files as the examples read them, and lets CORTEX_DATA name their folder."""
    write_tables(tmp_path / "data")
    monkeypatch.setenv("CORTEX_DATA", str(tmp_path / "data"))


@pytest.mark.parametrize("name", NAMES)
def test_a_description_is_under_25_lines(name: str) -> None:
    assert len((EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8").splitlines()) < 25


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "metric", "least"),
    [
        ("titanic", "accuracy", 0.95),
        ("adult", "accuracy", 0.9),
        ("penguins", "accuracy", 0.95),
        ("body_mass", "r2", 0.99),
    ],
)
def test_trains_on_files_of_the_published_form(
    name: str, metric: str, least: float, train: Train, made: None
) -> None:
    """Each learns the rule by which the files were made."""
    assert train(name).metrics["test"][metric] > least


@pytest.mark.parametrize(
    ("name", "target", "classes"),
    [
        ("titanic", "survived", ("0", "1")),
        ("adult", "income", ("<=50K", ">50K")),
        ("penguins", "species", ("Adelie", "Chinstrap", "Gentoo")),
    ],
)
def test_classes_have_the_names_of_the_file(
    name: str, target: str, classes: tuple[str, ...], train: Train, made: None
) -> None:
    run = train(name, "train.epochs=1")
    assert run.network.encoding is not None
    assert tuple(run.network.encoding.streams[target].classes) == classes


def test_a_check_without_the_file_says_how_to_get_it(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORTEX_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said = cli("check", EXAMPLES / "titanic.yaml")
    assert "cortex data fetch titanic" in said.out + said.err


@pytest.mark.slow
@published
@pytest.mark.parametrize(("name", "least"), [("titanic", 0.76), ("penguins", 0.96)])
def test_published_tables(name: str, least: float, train: Train) -> None:
    """The largest class has 0.62 and 0.44."""
    assert train(name).metrics["test"]["accuracy"] > least


@published
def test_the_published_census(train: Train) -> None:
    """After two of its twenty epochs; the larger class has 76.4 %, and 85.3 % are reached without bins."""
    assert train("adult", "train.epochs=2").metrics["test"]["accuracy"] > 0.855


@published
def test_the_regression_is_least_squares(train: Train) -> None:
    """R2 over all rows is scikit-learn's, whatever scales the numbers have."""
    pandas = pytest.importorskip("pandas")
    linear = pytest.importorskip("sklearn.linear_model").LinearRegression()
    frame = pandas.read_csv(REAL / "penguins.csv").dropna(subset=["body_mass_g"])
    categories = ["species", "island", "sex", "year"]
    features = pandas.get_dummies(frame.drop(columns="body_mass_g"), columns=categories, dummy_na=True)
    best = linear.fit(features, frame["body_mass_g"]).score(features, frame["body_mass_g"])
    run = train("body_mass", "train.test=null")
    with pytest.warns(UserWarning, match="2 rows without 'body_mass_g' left out"):
        ours = cortex.evaluate(run.network, REAL / "penguins.csv")["r2"]
    assert ours == pytest.approx(best, abs=2e-4)
