"""Surgery on networks that learned of raw data: what was learned of inputs stays, of classes it goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex import surgery
from cortex_compute.errors import DataError, SpecError


def write_table(path: Path, kinds: list[str], shift: float) -> Path:
    """Flowers whose kind follows from their length."""
    rng = np.random.default_rng(len(kinds))
    rows = ["length,width,kind"]
    for i in range(60):
        kind = i % len(kinds)
        rows.append(f"{10 * kind + shift + rng.normal():.3f},{rng.normal():.3f},{kinds[kind]}")
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a network that learned scales and two kinds of a table."""
    folder = tmp_path_factory.mktemp("flowers")
    write_table(folder / "flowers.csv", ["rose", "tulip"], 0)
    (folder / "net.yaml").write_text(
        "inputs: {features: auto}\n"
        "layers: [{dense: {units: 6, activation: tanh}}, {dense: {units: 2, id: kind}}]\n"
        "loss: {softmax_cross_entropy: {of: kind, target: kind}}\n"
        "train: {data: flowers.csv, epochs: 2, batch_size: 8, optimizer: {adam: 0.05}}\n"
    )
    run = cortex.train(folder / "net.yaml", out=folder / "run", progress=False)
    assert run.path is not None
    return folder / "run" / "model.cortex"


def test_scales_stay_and_kinds_are_learned_anew(flowers: Path, tmp_path: Path) -> None:
    old = cortex.load(flowers)
    surgery.replace_head(old, 3).save(tmp_path / "three.cortex")
    made = cortex.load(tmp_path / "three.cortex")
    assert "kind" in old.encoding.streams
    assert "kind" not in made.encoding.streams
    table = write_table(tmp_path / "trees.csv", ["ash", "elm", "oak"], 500)
    run = cortex.train(made, data=str(table), epochs=1, out=tmp_path / "run", progress=False)
    learned = run.network.encoding.state()
    assert learned["columns"]["length"] == old.encoding.state()["columns"]["length"]
    assert run.network.encoding.streams["kind"].classes == ("ash", "elm", "oak")
    again = cortex.load(tmp_path / "run")
    assert again.encoding.state() == learned
    assert again.predict(str(table)).shape == (60, 3)


def test_without_a_new_head_other_kinds_are_refused(flowers: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "trees.csv", ["ash", "elm"], 0)
    with pytest.raises(DataError, match="ash"):
        cortex.train(surgery.remove(flowers, "dense", drop_unfitting=True), data=str(table), progress=False)


def test_features_of_another_width_are_refused(flowers: Path) -> None:
    with pytest.raises(
        SpecError, match=r"resize_input: 'features' is \(2,\) by what was learned of the data"
    ):
        surgery.resize_input(flowers, (5,), drop_unfitting=True)


def test_a_vocabulary_stays(tmp_path: Path) -> None:
    """Words keep their numbers, which the embedding's rows belong to, though other texts have other words."""
    for name, words in {
        "good": "fine nice",
        "bad": "poor dull",
        "loud": "bang nice",
        "calm": "hush dull",
    }.items():
        (tmp_path / f"{name}.txt").write_text(f"{words}\n" * 8)
    (tmp_path / "net.yaml").write_text(
        "inputs: {text: auto}\n"
        "layers: [{embedding: {tokens: 30, units: 3}}, global_avg_pool1d, {dense: {units: 2, id: mood}}]\n"
        "loss: {softmax_cross_entropy: {of: mood, target: label}}\n"
        "train: {data: {lines: {files: {good: good.txt, bad: bad.txt}}}, epochs: 1, batch_size: 4}\n"
    )
    old = cortex.train(tmp_path / "net.yaml", out=tmp_path / "old", progress=False).network
    made = surgery.replace_head(old, 2)
    assert tuple(made.encoding.streams) == ("text",)
    made.save(tmp_path / "made.cortex")
    override = "train.data={lines: {files: {loud: loud.txt, calm: calm.txt}}}"
    run = cortex.train(tmp_path / "made.cortex", overrides=[override], out=tmp_path / "new", progress=False)
    assert run.network.encoding.vocabulary.state() == old.encoding.vocabulary.state()
    assert run.network.encoding.streams["label"].classes == ("loud", "calm")
    longer = surgery.resize_input(old, (9,))
    assert longer.encoding.streams["text"].shape == (9,)
    assert longer.encoding.vocabulary is old.encoding.vocabulary


def test_pictures_of_another_size(tmp_path: Path) -> None:
    from PIL import Image

    for size in (6, 8):
        for number, name in enumerate(("dark", "light")):
            folder = tmp_path / str(size) / name
            folder.mkdir(parents=True)
            for i in range(4):
                Image.fromarray(np.full((size, size), 60 + 120 * number + i, np.uint8)).save(
                    folder / f"{i}.png"
                )
    (tmp_path / "net.yaml").write_text(
        "inputs: {image: auto}\n"
        "layers: [{conv2d: {filters: 2, kernel: 3}}, global_avg_pool2d, {dense: {units: 2, id: kind}}]\n"
        "loss: {softmax_cross_entropy: {of: kind, target: label}}\n"
        "train: {data: {images: {folder: '6'}}, epochs: 1, batch_size: 4}\n"
    )
    old = cortex.train(tmp_path / "net.yaml", out=tmp_path / "old", progress=False).network
    made = surgery.resize_input(old, (8, 8, 3))
    made.save(tmp_path / "made.cortex")
    read = cortex.load(tmp_path / "made.cortex")
    assert read.predict(str(tmp_path / "8")).shape == (8, 2)
    headed: Any = surgery.replace_head(read, 3)
    assert tuple(headed.encoding.streams) == ("image",)


@pytest.mark.usefixtures("own_registry")
def test_what_cannot_forget_its_classes_is_forgotten(flowers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = cortex.load(flowers)
    monkeypatch.delattr(type(old.encoding), "without")
    made = surgery.replace_head(old, 3)
    assert made.encoding is None
    assert "training learns it anew" in made.description.notes[-1]
