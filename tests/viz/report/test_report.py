"""The report of a run: its numbers are those of the run, and what is missing is said."""

from __future__ import annotations

import csv
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import (
    mean_absolute_error,
    precision_recall_fscore_support,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

from cortex_compute.errors import CheckpointError
from cortex_core.training.data import Data, open_data
from cortex_core.training.evaluate import evaluate
from cortex_core.training.history import History
from cortex_core.training.run import Run
from cortex_core.training.source import find
from cortex_core.training.train import train
from cortex_viz.report import Facts, collect, draw, page_of, sections, write
from cortex_viz.report.sections import SECTIONS
from cortex_viz.report.shown import _cell
from tests.conftest import Cli
from tests.viz.report.reading import Page, read

HOSTILE = '<img src=x onerror="document.title=1">&</section></script>'


@pytest.fixture(scope="module")
def digits(reports: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A short training, as people do it: with its pictures and its report."""
    folder = tmp_path_factory.mktemp("digits") / "run"
    return train("examples/digits.yaml", epochs=2, out=folder, progress=False)


@pytest.fixture(scope="module")
def page(digits: Run) -> Page:
    return read(digits.path / "report.html")


def spec(layers: list[Any], loss: dict[str, Any], name: str = "net", **options: Any) -> dict[str, Any]:
    options = {"epochs": 2, "batch_size": 8, "split": "random", **options}
    return {
        "cortex": 1,
        "name": name,
        "inputs": {"x": "auto"},
        "layers": layers,
        "loss": loss,
        "train": options,
    }


def small(tmp_path: Path, layers: list[Any], loss: dict[str, Any], **arrays: Any) -> Page:
    """The report of a training on arrays x (40, 6), and others."""
    x = np.random.default_rng(0).normal(size=(40, 6))
    found = train(
        spec(layers, loss, test=0.25), data={"x": x, **arrays}, out=tmp_path, progress=False, report=False
    )
    return Page(page_of(collect(found, opened(found, {"x": x, **arrays}))))


def opened(run: Run, data: Any) -> Data:
    """The data of a training, as the training had them."""
    return open_data(run.network.description, data, encoding=run.network.encoding)


def history_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def tables(page: Page, section: str) -> Iterator[dict[str, str]]:
    """The rows of the tables of a section, by the names of their columns."""
    for head, *rows in page.sections[section].tables:
        yield from (dict(zip(head, row)) for row in rows)


def test_training_leaves_a_report(digits: Run, page: Page) -> None:
    names = ["curves.png", "confusion.png", "report.html"]
    assert [p.name for p in digits.pictures] == names
    assert all((digits.path / name).is_file() for name in names)
    assert list(page.sections) == [name for name in SECTIONS if name != "numbers"]
    assert "Not here" not in "".join(s.words for s in page.sections.values())


def test_the_history_is_that_of_the_file(digits: Run, page: Page) -> None:
    expected = history_rows(digits.path)
    assert len(expected) == 2
    merged: dict[str, dict[str, str]] = {}
    for row in tables(page, "history"):
        merged.setdefault(row["epoch"], {}).update(row)
    found = [{k.replace(" ", "_"): v for k, v in row.items()} for row in merged.values()]
    assert found == expected


def test_the_curves_are_those_of_the_file(digits: Run, page: Page) -> None:
    expected = history_rows(digits.path)
    quantities = ["loss", "accuracy"]  # the learning rate is constant
    charts = page.sections["curves"].charts
    assert len(charts) == len(quantities)
    for name, chart in zip(quantities, charts):
        series = {s["name"]: s for s in chart["series"]}
        known = {"training": name, "validation": f"validation_{name}"}
        assert set(series) == set(known)
        for label, column in known.items():
            assert series[label]["x"] == [1, 2]
            assert series[label]["y"] == [float(row[column]) for row in expected]
        assert chart["marks"] == [[digits.summary["best"]["epoch"], "best epoch"]]


def test_the_confusion_matrix_is_that_of_the_run(digits: Run, page: Page) -> None:
    (chart,) = page.sections["confusion"].charts
    found = np.zeros((10, 10), int)
    for i, j, count in chart["cells"]:
        found[i, j] = count
    np.testing.assert_array_equal(found, digits.confusion)
    right, total = np.trace(found), found.sum()
    assert f"{right} of {total} right ({100 * right / total:.2f} %)" in page.sections["confusion"].words
    for cell, pictures in chart["pictures"].items():
        i, j = map(int, cell.split(","))
        assert len(pictures) == min(12, found[i, j])
        sure = [float(chart["captions"][k].split()[-1].strip(")")) for k in pictures]
        assert sure == sorted(sure, reverse=i != j)
        for k in pictures:
            taken = chart["captions"][k].partition(" (p = ")[0]
            assert taken == (str(i) if i == j else f"{i}, taken for {j}")


def said(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of the test part of digits."""
    source = find("digits").load("test")
    arrays = {
        n: np.empty((len(source), *s.shape), s.dtype)
        for n, s in source.streams.items()
        if n in ("image", "label")
    }
    source.gather(np.arange(len(source)), arrays)
    return arrays["label"], np.asarray(run.network.predict(arrays["image"]))


def test_scores_by_class_are_scikit_learns(digits: Run, page: Page) -> None:
    labels, probabilities = said(digits)
    *rows, mean = tables(page, "classes")
    expected = precision_recall_fscore_support(labels, probabilities.argmax(axis=1), zero_division=0)
    for name, values in zip(("precision", "recall", "F1", "examples"), expected):
        np.testing.assert_allclose([float(row[name]) for row in rows], values, rtol=1e-9)
    areas = [roc_auc_score(labels == k, probabilities[:, k]) for k in range(10)]
    np.testing.assert_allclose([float(row["ROC area"]) for row in rows], areas, rtol=1e-6)
    assert float(mean["ROC area"]) == pytest.approx(np.mean(areas))
    assert mean["examples"] == str(len(labels))


def test_what_was_measured_stands_on_top(digits: Run, page: Page) -> None:
    rows = {row[""]: row for row in tables(page, "overview")}
    for part in ("train", "validation", "test"):
        for name, value in digits.metrics[part].items():
            assert rows[name][part] == str(value)
    assert evaluate(digits.network)["accuracy"] == float(rows["accuracy"]["test"])


def test_the_worst_come_first(digits: Run, page: Page) -> None:
    labels, probabilities = said(digits)
    worst = np.argsort(probabilities[np.arange(len(labels)), labels])[:24]
    words = page.sections["examples"].words.partition("highest loss")[2].partition("least sure")[0]
    expected: list[str] = []
    for i in worst:
        best = probabilities[i].argmax()
        assert best != labels[i] or len(expected) > np.sum(probabilities.argmax(axis=1) != labels) - 1
        told = f"{best} (p = {probabilities[i, best]:.2f})"
        expected.append(told if best == labels[i] else f"{labels[i]}, taken for {told}")
    assert words == "".join(expected)


def test_the_rest_of_the_summary(digits: Run, page: Page) -> None:
    parts = page.sections
    memory = {row[""]: row["size"] for row in tables(page, "time")}
    assert {k: str(v) for k, v in digits.summary["memory"].items() if v is not None} == memory
    environment = {row[""]: row["of this run"] for row in tables(page, "environment")}
    assert environment["numpy"] == np.__version__
    assert environment["backend name"] == digits.summary["backend"]
    assert digits.summary["command"] in parts["command"].words
    assert (digits.path / "description.yaml").read_text() in parts["description"].words
    assert all(note in parts["data"].words for note in digits.summary["data"]["notes"])
    assert parts["hidden"].charts[0]["groups"] == said(digits)[0].tolist()


def test_it_fetches_nothing(digits: Run, page: Page) -> None:
    text = (digits.path / "report.html").read_text("utf-8")
    assert not {"link", "img", "iframe", "object", "a"} & set(page.tags)
    assert not re.search(
        r"""(src|href)=|url\((?!data:)|@import""", re.sub(r"<script>.*?</script>", "", text, flags=re.S)
    )


def test_it_is_made_anew_from_the_folder(digits: Run, tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "again.html"
    told = cli("visualize", "report", digits.path, "--out", out)
    assert (told.code, told.out) == (0, f"{out}\n")
    assert out.read_bytes() == (digits.path / "report.html").read_bytes()


def test_other_data(digits: Run, tmp_path: Path, cli: Cli) -> None:
    labels, _ = said(digits)
    source = find("digits").load("test")
    images = np.empty((20, 8, 8, 1), np.float32)
    source.gather(np.arange(20), {"image": images})
    file, out = tmp_path / "mine.npz", tmp_path / "mine.html"
    np.savez(file, image=images, label=labels[:20])
    assert cli("visualize", "report", digits.path, "--data", file, "--out", out).code == 0
    found = read(out)
    assert [row["examples"] for row in tables(found, "classes")][-1] == "20"
    assert f"20 examples of {file}" in found.sections["confusion"].words.replace("…", "")


def test_without_a_run(tmp_path: Path, cli: Cli) -> None:
    assert "there is neither model.cortex nor last.cortex in it" in cli("visualize", "report", tmp_path).err
    assert "there is no such folder" in cli("visualize", "report", tmp_path / "none").err
    assert cli("visualize", "report", tmp_path).code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_an_epoch(digits: Run, tmp_path: Path) -> None:
    shutil.copy(digits.path / "model.cortex", tmp_path)
    with pytest.raises(CheckpointError, match="no epoch of this run has ended"):
        write(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_run_that_was_cut_short(digits: Run, tmp_path: Path) -> None:
    for name in ("last.cortex", "history.csv"):
        shutil.copy(digits.path / name, tmp_path)
    found = read(write(tmp_path))
    assert len(list(tables(found, "history"))) == 2
    assert "confusion" in found.sections
    assert "environment" not in found.sections


def test_data_that_cannot_be_found_are_told(
    digits: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "flowers.csv"
    frame = pd.DataFrame({"a": np.arange(60.0), "kind": ["x", "y", "z"] * 20})
    frame.to_csv(table, index=False)
    description = {
        "cortex": 1,
        "name": "flowers",
        "inputs": {"features": "auto"},
        "layers": [{"dense": {"units": 3, "id": "y"}}],
        "loss": {"softmax_cross_entropy": {"of": "y", "target": "kind"}},
        "train": {"data": str(table), "epochs": 2, "batch_size": 8, "test": 0.2},
    }
    run = train(description, out=tmp_path / "run", progress=False)
    with_data = read(write(run.path))
    assert {"roc", "calibration"} <= set(with_data.sections)
    table.unlink()
    found = read(write(run.path))
    assert f"there is no data file '{table}'" in found.sections["examples"].words
    assert "Not here" in found.sections["confusion"].words
    assert (
        found.sections["confusion"].charts[0]["cells"] == with_data.sections["confusion"].charts[0]["cells"]
    )
    assert len(found.sections["curves"].charts) == 2
    assert not {"roc", "calibration", "hidden"} & set(found.sections)


def test_without_what_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {"x": np.random.default_rng(0).normal(size=(40, 6)), "t": np.arange(40) % 2}
    layers, loss = [{"dense": 4}, {"dense": {"units": 2, "id": "y"}}], {"of": "y", "target": "t"}
    run = train(spec(layers, {"softmax_cross_entropy": loss}), data=arrays, out=tmp_path, progress=False)
    known = [name for name in sys.modules if name.startswith(("sklearn.", "openTSNE."))]
    for name in (*known, "sklearn", "openTSNE", "matplotlib"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("cortex_viz.embed.find_spec", lambda name: None)
    assert [p.name for p in draw(run, opened(run, arrays))] == ["report.html"]
    found = read(tmp_path / "report.html")
    assert "matplotlib is not installed: pip install 'cortex-nn[viz]'" in found.sections["curves"].words
    assert "is not installed: pip install 'cortex-nn[viz]'" in found.sections["hidden"].words
    assert {"curves", "confusion", "classes", "roc"} <= set(found.sections)


def test_a_history_that_is_not_finite() -> None:
    rows = [
        {"epoch": i + 1, "loss": v, "accuracy": 0.5}
        for i, v in enumerate((2.0, float("nan"), float("inf"), 1.0))
    ]
    found = Page(page_of(Facts("net", history=History(rows))))
    loss = found.sections["curves"].charts[0]["series"][0]
    assert loss["y"] == [2.0, None, None, 1.0]
    assert "Not finite, drawn as gaps: training: 2 of 4" in found.sections["curves"].words
    assert [row["loss"] for row in tables(found, "history")] == ["2.0", "nan", "inf", "1.0"]


def test_a_learning_rate_that_does_not_change_is_a_sentence() -> None:
    for rates, charts in (([0.002, 0.002], 1), ([0.002, 0.001], 2), ([0.002, None], 2)):
        rows = [{"epoch": i + 1, "loss": 1.0, "learning_rate": r} for i, r in enumerate(rates)]
        found = Page(page_of(Facts("net", history=History(rows)))).sections["curves"]
        assert len(found.charts) == charts
        assert ("The learning rate is 0.002 in every epoch." in found.words) == (charts == 1)


def test_a_training_that_has_just_begun() -> None:
    assert list(sections(Facts("net"))) == ["overview", "curves"]
    assert "No epoch has ended yet" in sections(Facts("net"))["curves"]


def test_a_long_history_is_thinned_and_says_so() -> None:
    rows = [{"epoch": i + 1, "loss": 1 / (i + 1)} for i in range(5000)]
    found = Page(page_of(Facts("net", history=History(rows))))
    table = list(tables(found, "history"))
    assert (len(table), table[0]["epoch"], table[-1]["epoch"]) == (1000, "1", "5000")
    assert "1,000 of 5,000 epochs are shown" in found.sections["history"].words


def test_wide_histories_are_cut_into_tables() -> None:
    row = {"epoch": 1, **{f"m{i}": i / 7 for i in range(30)}}
    found = Page(page_of(Facts("net", history=History([row]))))
    merged: dict[str, str] = {}
    for part in tables(found, "history"):
        merged.update(part)
    assert merged == {k: str(v) for k, v in row.items()}
    assert max(len(t[0]) for t in found.sections["history"].tables) <= 10


def test_two_classes_by_one_probability(tmp_path: Path) -> None:
    layers = [
        {"dense": {"units": 5, "activation": "relu"}},
        {"dense": {"units": 1, "activation": "sigmoid", "id": "y"}},
    ]
    t = np.arange(40) % 2
    found = small(tmp_path, layers, {"binary_cross_entropy": {"of": "y", "target": "t"}}, t=t)
    assert [row["class"] for row in tables(found, "classes")] == ["0", "1", "mean"]
    assert sum(n for *_, n in found.sections["confusion"].charts[0]["cells"]) == 10
    assert len(found.sections["roc"].charts[0]["series"]) == 2  # chance, and class 1


def test_a_regression(tmp_path: Path) -> None:
    v = np.linspace(0, 100, 40)
    found = small(tmp_path, [{"dense": {"units": 1, "id": "y"}}], {"mse": {"of": "y", "target": "v"}}, v=v)
    assert {"numbers", "examples"} <= set(found.sections)
    assert not {"confusion", "classes", "roc", "calibration"} & set(found.sections)
    points = np.array(found.sections["numbers"].charts[0]["points"])
    assert len(points) == 10
    assert set(points[:, 0].round(3)) <= set(v.astype(np.float32).round(3).tolist()) | set(v.round(3))
    rows = list(tables(found, "examples"))
    losses = [float(row["loss"]) for row in rows]
    assert losses == sorted(losses, reverse=True)
    for row in rows:
        error = float(row["predicted"].replace(",", "")) - float(row["actual"].replace(",", ""))
        assert float(row["error"].replace(",", "")) == pytest.approx(error, abs=0.02)
        assert float(row["loss"]) == pytest.approx(error**2, rel=0.01)
    (measured,) = tables(found, "numbers")
    told = {name: float(value) for name, value in measured.items() if name}
    assert told["mean absolute error"] == pytest.approx(mean_absolute_error(*points.T), rel=1e-3)
    assert told["root of the mean square"] == pytest.approx(root_mean_squared_error(*points.T), rel=1e-3)
    assert told["R²"] == pytest.approx(r2_score(*points.T), rel=1e-3)
    assert "has no hidden layer" in found.sections["hidden"].words


def test_an_autoencoder(tmp_path: Path) -> None:
    layers = [{"dense": {"units": 2}}, {"dense": {"units": 6, "id": "y"}}]
    found = small(tmp_path, layers, {"mse": {"of": "y", "target": "x"}})
    assert "'y' is compared with the input 'x'" in found.sections["examples"].words
    assert len(list(tables(found, "examples"))) == 10
    assert not {"confusion", "roc", "numbers"} & set(found.sections)


def test_the_cells_of_a_table_are_shown(tmp_path: Path) -> None:
    frame = pd.DataFrame({"colour": ["red", "green"] * 20, "size": np.arange(40.0), "kind": ["x", "y"] * 20})
    description = {
        "cortex": 1,
        "inputs": {"features": "auto"},
        "layers": [{"dense": {"units": 2, "id": "y"}}],
        "loss": {"softmax_cross_entropy": {"of": "y", "target": "kind"}},
        "train": {"epochs": 1, "batch_size": 8, "test": 0.25},
    }
    run = train(description, data=frame, out=tmp_path, progress=False)
    found = Page(page_of(replace(collect(run, opened(run, frame)), name=HOSTILE)))
    rows = list(tables(found, "examples"))
    assert rows
    for row in rows:
        cells = re.fullmatch(r"colour (red|green) · size (\d+)", row["example"])
        assert cells is not None, row
        assert frame["colour"][int(cells[2])] == cells[1]
        assert frame["kind"][int(cells[2])] == row["true"]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("1.9600240467769008", "1.96"),
        ("-3.480607135259579", "-3.481"),
        (np.float32(0.1), "0.1"),
        ("29.125", "29.125"),
        ("1.2.34567", "1.2.34567"),
        ("12345678901", "12345678901"),
    ],
)
def test_cells_have_the_digits_that_people_read(cell: Any, expected: str) -> None:
    assert _cell("a", cell) == f"a {expected}"


def test_names_of_others_are_text(tmp_path: Path) -> None:
    frame = pd.DataFrame({HOSTILE: np.arange(60.0), "kind": [HOSTILE, "</script>", "z\x1b[31m"] * 20})
    description = {
        "cortex": 1,
        "inputs": {"features": "auto"},
        "layers": [{"dense": 4}, {"dense": {"units": 3, "id": "y"}}],
        "loss": {"softmax_cross_entropy": {"of": "y", "target": "kind"}},
        "train": {"epochs": 1, "batch_size": 8, "test": 0.2},
    }
    run = train(description, data=frame, out=tmp_path, progress=False)
    found = Page(page_of(replace(collect(run, opened(run, frame)), name=HOSTILE)))
    assert "img" not in found.tags
    assert list(found.sections) == [name for name in SECTIONS if name != "numbers"]
    assert [row["class"] for row in tables(found, "classes")][:2] != []
    assert HOSTILE[:20] in "".join(found.sections["confusion"].charts[0]["names"])


def test_other_data_that_do_not_fit(digits: Run, tmp_path: Path, cli: Cli) -> None:
    file, out = tmp_path / "mine.npz", tmp_path / "mine.html"
    np.savez(file, image=np.zeros((20, 8, 8, 1), np.float32), label=np.full(20, 10))
    told = cli("visualize", "report", digits.path, "--data", file, "--out", out)
    assert told.code == 2
    assert "10" in told.err
    np.savez(file, image=np.zeros((20, 9, 8, 1), np.float32), label=np.zeros(20, int))
    assert "this input is [8, 8, 1]" in cli("visualize", "report", digits.path, "--data", file).err
    assert cli("visualize", "report", digits.path, "--data", "nothing.npz").code == 2
    assert not out.exists()
    assert "ends in .html" in cli("visualize", "report", digits.path, "--out", "mine.pdf").err


def test_large_pictures_are_made_small(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    x = generator.random((40, 300, 200, 4), np.float32)
    layers = [{"avg_pool2d": 100}, "flatten", {"dense": {"units": 2, "id": "y"}}]
    description = {**spec(layers, {"softmax_cross_entropy": {"of": "y", "target": "t"}}), "name": "large"}
    arrays = {"x": x, "t": np.arange(40) % 2}
    run = train(description, data=arrays, out=tmp_path, epochs=1, progress=False)
    page = page_of(collect(run, opened(run, arrays)))
    shown = Page(page).sections["confusion"].charts[0]["sprite"]
    assert (shown["height"], shown["width"]) == (64, 43)
    assert len(page) < 3_000_000


def test_of_many_classes_those_that_are_confused_are_shown(tmp_path: Path) -> None:
    t = np.arange(600) % 60
    x = np.eye(60, dtype=np.float32)[np.where(t < 50, t, 50)]  # the last ten look alike
    layers, loss = (
        [{"dense": {"units": 60, "id": "y"}}],
        {"softmax_cross_entropy": {"of": "y", "target": "t"}},
    )
    description = spec(layers, loss, test=0.5, optimizer={"adam": {"learning_rate": 0.1}}, epochs=5)
    arrays = {"x": x, "t": t}
    run = train(description, data=arrays, out=tmp_path, progress=False)
    found = Page(page_of(collect(run, opened(run, arrays))))
    (chart,) = found.sections["confusion"].charts
    assert "Shown are the 40 of 60 classes that are confused most" in found.sections["confusion"].words
    assert set(map(str, range(50, 60))) <= set(chart["names"])
    assert run.confusion is not None
    wrong = {(chart["names"][i], chart["names"][j]): n for i, j, n in chart["cells"] if i != j}
    confused = np.argwhere(run.confusion - np.diag(np.diag(run.confusion)))
    assert wrong == {(str(i), str(j)): run.confusion[i, j] for i, j in confused}
    assert len(list(tables(found, "classes"))) == 61


def test_too_little_memory(digits: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any, **options: Any) -> None:
        raise MemoryError("Unable to allocate 1. TiB")

    monkeypatch.setattr(import_module("cortex_viz.report.collect"), "outcome_of", fails)
    found = Page(page_of(collect(digits)))
    assert "there is too little memory" in found.sections["examples"].words
    assert len(found.sections["curves"].charts) == 2


def test_a_run_that_no_command_repeats_says_why() -> None:
    told = {"command": None, "command_why": "its data <blobs> came as objects"}
    found = Page(page_of(Facts("net", summary=told)))
    assert "its data <blobs> came as objects." in found.sections["command"].words
