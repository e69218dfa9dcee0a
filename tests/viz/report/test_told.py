"""What a report says of its numbers: of which examples they are, and what they leave out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import CheckpointError
from cortex_core.compiled import Compiled
from cortex_core.network import network
from cortex_core.training.data import open_data
from cortex_core.training.history import History
from cortex_core.training.run import Run, load_run
from cortex_core.training.source import Arrays
from cortex_core.training.train import train
from cortex_viz.report import Facts, collect, draw, page_of, write
from cortex_viz.report.embedded import Hidden
from cortex_viz.report.outcome import Classes, Numbers, Outcome
from cortex_viz.report.shown import Shown
from tests.conftest import Cli
from tests.viz.report.reading import Page, read

RNG = np.random.default_rng(7)
SOFTMAX = {"softmax_cross_entropy": {"of": "y", "target": "t"}}


def spec(layers: list[Any], loss: Any, **options: Any) -> dict[str, Any]:
    options = {"epochs": 1, "batch_size": 8, "split": "random", **options}
    return {
        "cortex": 1,
        "name": "net",
        "inputs": {"x": "auto"},
        "layers": layers,
        "loss": loss,
        "train": options,
    }


def shown(n: int) -> Shown:
    given = spec([{"dense": {"units": 3, "id": "y"}}], SOFTMAX) | {"inputs": {"x": [2]}}
    return Shown(network(given), Arrays({"x": np.zeros((n, 2), np.float32)}))


def classified(labels: Any, predicted: Any, classes: int, part: str = "test", whole: int = 0) -> Outcome:
    """Of a network that is sure of its predictions."""
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    n, names = len(labels), tuple(f"c{i}" for i in range(classes))
    said = Classes(np.arange(n), labels, predicted, np.eye(classes)[predicted], names)
    return Outcome(part, max(n, whole), shown(n), np.zeros(n), said)


def page(**facts: Any) -> Page:
    return Page(page_of(Facts("net", **facts)))


def trained(folder: Path, layers: list[Any], loss: Any, arrays: dict[str, Any], **options: Any) -> Run:
    return train(spec(layers, loss, **options), data=arrays, out=folder, progress=False, report=False)


def reported(run: Run, arrays: dict[str, Any]) -> Page:
    return Page(page_of(collect(run, open_data(run.network.description, arrays))))


BY_EXAMPLES = ("confusion", "classes", "roc", "calibration", "examples")


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("train", "that the network was trained on"),
        ("more.npz", "of more.npz"),
        ("changed", "of data that changed"),
    ],
)
def test_each_section_says_of_which_examples_it_is(part: str, expected: str) -> None:
    outcome = classified([0, 1, 2, 0], [0, 1, 1, 0], 3, part)
    hidden = Hidden("h", np.arange(4), RNG.normal(size=(4, 2)))
    found = page(outcome=outcome, hidden=hidden)
    for section in (*BY_EXAMPLES, "hidden"):
        assert f"4 examples {expected}" in found.sections[section].words


def test_a_test_part_that_was_validated_on(tmp_path: Path) -> None:
    given = {**spec([{"flatten": {}}, {"dense": {"units": 10, "id": "y"}}], SOFTMAX, validation="test")}
    given |= {"inputs": {"image": "auto"}}
    given["loss"] = {"softmax_cross_entropy": {"of": "y", "target": "label"}}
    run = train(given, data="digits", out=tmp_path, progress=False, report=False)
    words = Page(page_of(collect(run))).sections["confusion"].words
    assert "359 examples that the training was validated on" in words


def test_weights_of_classes_are_told_and_left_out_of_counts(tmp_path: Path, reports: None) -> None:
    arrays = {"x": RNG.normal(size=(80, 5)), "t": RNG.integers(0, 3, 80)}
    loss = {"softmax_cross_entropy": {"of": "y", "target": "t", "class_weights": [1.0, 0.0, 2.0]}}
    run = trained(tmp_path, [{"dense": {"units": 3, "id": "y"}}], loss, arrays, validation=0.2)
    data = open_data(run.network.description, arrays)
    found = Page(page_of(collect(run, data)))
    assert sum(n for *_, n in found.sections["confusion"].charts[0]["cells"]) == 16
    for section in BY_EXAMPLES:
        assert "without the class weights" in found.sections[section].words
    drawn: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cortex_viz.report.confusion", lambda matrix, *_: drawn.append(matrix) or tmp_path)
        draw(run, data)
    assert drawn[0].sum() == 16


def test_of_many_examples_the_run_counted_all() -> None:
    labels = np.arange(200) % 2
    outcome = classified(labels, labels, 2, "test", 1000)
    summary = {"confusion": [[400, 100], [0, 500]], "classes": ["c0", "c1"], "metrics": {}}
    found = page(outcome=outcome, summary=summary)
    assert found.sections["confusion"].charts[0]["cells"] == [[0, 0, 400], [0, 1, 100], [1, 1, 500]]
    assert "900 of 1,000 right (90.00 %)" in found.sections["confusion"].words
    assert "200 of them, evenly chosen" in found.sections["classes"].words
    assert found.sections["classes"].tables[0][-1][1] == "1000"
    other = page(outcome=classified(labels, labels, 2, "digits", 1000), summary=summary)
    assert "200 of 200 right" in other.sections["confusion"].words
    assert "200 of the 1,000 examples of digits, evenly chosen" in other.sections["classes"].words


def test_classes_outside_of_the_matrix_count_as_examples() -> None:
    labels = np.arange(600) % 60
    predicted = np.where(labels < 45, (labels + 1) % 60, labels)  # 45 classes are always wrong
    found = page(outcome=classified(labels, predicted, 60))
    (chart,) = found.sections["confusion"].charts
    assert len(chart["names"]) == 40
    assert chart["totals"] == [10] * 40
    inside = sum(n for *_, n in chart["cells"])
    assert f"{600 - inside} examples lie outside" in found.sections["confusion"].words


def test_classes_that_nothing_has_are_left_out_of_the_matrix() -> None:
    found = page(outcome=classified([0, 2, 2, 5], [0, 2, 3, 5], 6)).sections["confusion"]
    assert found.charts[0]["names"] == ["c0", "c2", "c3", "c5"]
    assert found.charts[0]["cells"] == [[0, 0, 1], [1, 1, 1], [1, 2, 1], [3, 3, 1]]
    assert sorted(found.charts[0]["pictures"]) == ["0,0", "1,1", "1,2", "3,3"]
    assert "that none is taken for, are left out: 2." in found.words


@pytest.mark.parametrize(("many", "lengths"), [(6, [7, 7]), (9, [7, 4, 7, 4])])
def test_of_many_rows_some_are_open(many: int, lengths: list[int]) -> None:
    """The highest loss and the least sure, each with its head."""
    made = page_of(Facts("net", outcome=classified([0] * many, [0] * many, 2)))
    assert [len(table) for table in Page(made).sections["examples"].tables] == lengths
    assert made.count("<summary>3 more</summary>") == (2 if many == 9 else 0)


def test_many_classes_are_coloured_by_right_and_wrong() -> None:
    labels = np.arange(600) % 60
    predicted = np.where(labels == 3, 4, labels)
    hidden = Hidden("h", np.arange(600), RNG.normal(size=(600, 2)))
    (chart,) = page(outcome=classified(labels, predicted, 60), hidden=hidden).sections["hidden"].charts
    assert chart["names"] == ["right", "wrong"]
    assert chart["groups"] == (labels == 3).astype(int).tolist()


def test_no_example_has_a_class() -> None:
    outcome = Outcome(
        "test",
        2,
        shown(2),
        np.full(2, np.nan),
        Classes(np.zeros(0, int), np.zeros(0, int), np.zeros(0, int), np.zeros((0, 3)), ("a", "b", "c")),
    )
    found = page(outcome=outcome)
    assert "No example has a class" in found.sections["roc"].words
    assert found.sections["classes"].tables[0][-1][1] == "0"


@pytest.mark.parametrize("actual", [1e16, 1e9, 0.0, 1e-300])
def test_errors_a_few_roundings_apart(actual: float) -> None:
    values = np.array([[actual], [np.nextafter(actual, np.inf)]])
    outcome = Outcome("test", 2, shown(2), np.zeros(2), None, Numbers(values, np.full((2, 1), actual), "v"))
    assert "predicted less actual" in page(outcome=outcome).sections["numbers"].words


def test_several_outputs(tmp_path: Path) -> None:
    layers = [
        {"dense": {"units": 6, "id": "h", "activation": "relu"}},
        {"dense": {"units": 3, "id": "a", "from": "h"}},
        {"dense": {"units": 4, "id": "b", "from": "h"}},
    ]
    loss = [
        {"softmax_cross_entropy": {"of": "a", "target": "t"}},
        {"softmax_cross_entropy": {"of": "b", "target": "u", "ignore_index": 0}},
    ]
    arrays = {"x": RNG.normal(size=(60, 5)), "t": RNG.integers(0, 3, 60), "u": 3 * RNG.integers(0, 2, 60)}
    run = trained(tmp_path, layers, loss, arrays, validation=0.2)
    data = open_data(run.network.description, arrays)
    facts = collect(run, data)
    assert facts.outcome is not None
    assert np.isfinite(facts.outcome.losses).all()  # the loss of 'a' counts for each
    for section in BY_EXAMPLES:
        words = Page(page_of(facts)).sections[section].words
        assert "Shown are the classes of 'a'; 'b' is trained as well, and only in the loss here." in words


def test_losses_that_no_picture_shows(tmp_path: Path) -> None:
    """One on a parameter is no output; one of two layers counts in the training only."""
    layers = [
        {"dense": {"units": 2, "id": "a", "from": "x"}},
        {"dense": {"units": 2, "id": "b", "from": "x"}},
        {"dense": {"units": 2, "id": "y", "from": "b"}},
    ]
    loss = [
        {"l2": {"of": "a/kernel", "weight": 0.1}},
        {"contrastive": {"of": "a", "other": "b", "target": "t"}},
        {"softmax_cross_entropy": {"of": "y", "target": "t"}},
    ]
    arrays = {"x": RNG.normal(size=(40, 5)), "t": RNG.integers(0, 2, 40)}
    run = trained(tmp_path, layers, loss, arrays, validation=0.2)
    facts = collect(run, open_data(run.network.description, arrays))
    words = Page(page_of(facts)).sections["confusion"].words
    assert "Shown are the classes of 'y'; 'a' is trained as well, and not shown here." in words


def test_data_that_changed_are_told(tmp_path: Path) -> None:
    file = tmp_path / "d.npz"
    x, t = RNG.normal(size=(200, 5)), RNG.integers(0, 2, 200)
    np.savez(file, x=x, t=t)
    given = spec([{"dense": {"units": 2, "id": "y"}}], SOFTMAX, test=0.2)
    run = train(given, data=str(file), out=tmp_path / "run", progress=False, report=False)
    assert "of the test part, which nothing was chosen on" in read(write(run.path)).sections["roc"].words
    order = RNG.permutation(200)
    np.savez(file, x=x[order], t=1 - t[order])
    found = read(write(run.path))
    assert "Not here: the data as they were" in found.sections["data"].words
    assert "of data that changed since" in found.sections["roc"].words
    assert not any("nothing was chosen on" in s.words for s in found.sections.values())


@pytest.mark.slow
def test_it_is_computed_by_what_computed_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    used: list[str] = []
    begin = Compiled.__init__

    def watched(self: Any, network: Any, backend: Any, *rest: Any, **more: Any) -> None:
        used.append(backend.name)
        begin(self, network, backend, *rest, **more)

    run = train("examples/digits.yaml", epochs=1, out=tmp_path / "run", backend="numpy", progress=False)
    monkeypatch.setattr(Compiled, "__init__", watched)
    collect(load_run(run.path))
    assert set(used) == {"numpy"}
    used.clear()
    assert cli("visualize", "report", run.path, "--backend", "onednn").code == 0
    assert set(used) == {"onednn"}
    summary = json.loads((run.path / "summary.json").read_text())
    (run.path / "summary.json").write_text(json.dumps({**summary, "backend": "abacus"}))
    assert collect(load_run(run.path)).outcome is not None


def test_no_peak_is_lost_among_many_epochs() -> None:
    values = np.full(5000, 0.5)
    values[[1502, 3333]] = 0.001, 90.0
    values[4001] = np.nan
    rows = [{"epoch": i + 1, "loss": v} for i, v in enumerate(values.tolist())]
    found = page(history=History(rows)).sections["curves"]
    (series,) = found.charts[0]["series"]
    drawn = dict(zip(series["x"], series["y"]))
    assert (drawn[1503], drawn[3334], drawn[4002], len(drawn) <= 1002) == (0.001, 90.0, None, True)
    assert "Of 5,000 epochs those are drawn" in found.words


@pytest.mark.parametrize(
    ("name", "value"),
    [("seconds", "12"), ("best", {"epoch": 2}), ("memory", []), ("data", {"notes": [1]}), ("stopped", 3)],
)
def test_a_summary_of_another_form(tmp_path: Path, name: str, value: Any) -> None:
    arrays = {"x": RNG.normal(size=(40, 5)), "t": np.arange(40) % 2}
    trained(tmp_path, [{"dense": {"units": 2, "id": "y"}}], SOFTMAX, arrays)
    known = json.loads((tmp_path / "summary.json").read_text())
    (tmp_path / "summary.json").write_text(json.dumps({**known, name: value}))
    with pytest.raises(CheckpointError, match=f"summary.json is damaged: {name} is"):
        write(tmp_path)


def test_a_measure_that_was_not_finite_is_told() -> None:
    found = page(summary={"metrics": {"test": {"loss": None, "accuracy": 0.5}, "train": {"loss": 1.0}}})
    rows = {row[0]: row[1:] for row in found.sections["overview"].tables[0]}
    assert rows["loss"] == ["not finite", "1.0"]
    assert rows["accuracy"] == ["0.5", ""]
    assert page(summary={"metrics": {"more": {"loss": 1.0}}}).sections["overview"].tables != []


def test_the_order_of_letters_cannot_be_turned_in_a_description() -> None:
    words = page(description="name: a\u202eb\n").sections["description"].words
    assert "\u202e" not in words
    assert "\\u202e" in words


def test_pictures_are_shrunk_by_the_mean_on_one_scale() -> None:
    images = np.zeros((3, 4, 8, 1), np.float32)
    images[0, :2, :2] = [[[0], [8]], [[8], [16]]]  # the mean is 8, of 0..16
    images[1:] = 16
    given = spec([{"flatten": {}}, {"dense": {"units": 3, "id": "y"}}], SOFTMAX) | {
        "inputs": {"x": [4, 8, 1]}
    }
    made = Shown(network(given), Arrays({"x": images}))
    first = made.pictures(np.array([0]), 4)
    assert first is not None
    assert (first.shape, first.dtype, first[0, 0, 0, 0], first[0, 1, 3, 0]) == (
        (1, 2, 4, 1),
        np.uint8,
        128,
        0,
    )
    alone = made.pictures(np.array([2]))
    assert alone is not None
    assert (alone == 255).all()


def test_the_network_is_drawn(tmp_path: Path) -> None:
    arrays = {"x": RNG.normal(size=(40, 5)), "t": np.arange(40) % 2}
    layers: list[Any] = [{"dense": 5}] * 3 + [{"dense": {"units": 2, "id": "y"}}]
    run = trained(tmp_path / "few", layers, SOFTMAX, arrays)
    assert "<svg" in collect(run).drawing
    assert str(tmp_path) not in collect(run).drawing
    long: list[Any] = [{"dense": 5 + i % 2} for i in range(45)] + [{"dense": {"units": 2, "id": "y"}}]
    assert collect(trained(tmp_path / "many", long, SOFTMAX, arrays)).drawing == ""
