"""Files of the names and forms that the pages use, made small: what the pages show of data runs on them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tests import keras_file

TITANIC = "survived,pclass,name,sex,age,sibsp,parch,ticket,fare,cabin,embarked"


def write_data(folder: Path) -> None:
    """All of them, into a folder."""
    random = np.random.default_rng(0)
    write_titanic(folder / "tabular/titanic.csv")
    write_houses(folder / "houses.csv", random)
    write_houses(folder / "houses-2024.csv", random)
    lines = (f"{20 + i},{'abc'[i % 3]},{i // 3},{'yes' if i % 2 else 'no'}" for i in range(120))
    _write(folder / "people.csv", ["age,city,household,stays", *lines])
    words = " ".join(random.choice(["to", "be", "or", "not", "that", "is", "the", "question,"], 4000))
    _write(folder / "text/tinyshakespeare/input.txt", [words])
    np.savez(folder / "measurements.npz", x=random.normal(size=(90, 5)), y=np.arange(90) % 3)
    write_pictures(folder / "photos", random)
    signals = (json.dumps({"signal": [i % 2] * 12, "kind": ["walk", "run"][i % 2]}) for i in range(40))
    _write(folder / "steps.jsonl", signals)
    write_keras(folder)
    write_onnx(folder)


def write_titanic(path: Path) -> None:
    """60 people in the form of the passenger list, some without an age."""
    lines = []
    for i in range(60):
        person = f'{i % 3 // 2},{i % 3 + 1},"P{i}, Mr.",{"male" if i % 3 else "female"}'
        lines.append(f"{person},{20 + i if i % 7 else ''},0,{i % 2},T{i},{7 + i / 4},,{'SCQ'[i % 3]}")
    _write(path, [TITANIC, *lines])


def write_houses(path: Path, random: np.random.Generator) -> None:
    """200 houses in 20 neighbourhoods."""
    lines = [
        f"{i};{i % 6 + 1};{random.integers(40, 200)};{i % 28 + 1:02}/03/2023;quiet street {i % 5};N{i % 20};"
        f"{random.integers(100, 900)}"
        for i in range(200)
    ]
    _write(path, ["id;rooms;area;sold;remarks;neighbourhood;sold_for", *lines])


def write_pictures(folder: Path, random: np.random.Generator) -> None:
    """Six pictures of each of two classes."""
    from PIL import Image

    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for i in range(6):
            pixels = random.integers(0, 256, (20, 24, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")


def write_onnx(folder: Path) -> None:
    """A perceptron, and a model with operators that are not supported."""
    from tests.exchange.onnx import handmade

    handmade.written(folder, handmade.perceptron())
    nodes = [handmade.node("Det", ["x"], ["a"], "volume"), handmade.node("Mod", ["x", "a"], ["y"], "rest")]
    path = handmade.saved(folder / "tabular", nodes, {"x": ["batch", 3, 3]}, ["y"])
    path.rename(folder / "odd.onnx")


def write_keras(folder: Path) -> None:
    """A model of Keras, recordings of it, and one with layers that need blocks."""
    keras_file.write_model(folder / "model.h5")
    keras_file.write_recording(folder / "recording.npz")
    keras_file.write_recording(folder / "retrained.npz", wrong=0.01)
    swish = {"class_name": "Lambda", "config": {"name": "swish", "function": ["4wAAAA==", None, None]}}
    gate = {"class_name": "Gate", "config": {"name": "gate", "units": 4}}
    layers = [*keras_file.LAYERS[:2], swish, gate, *keras_file.LAYERS[2:]]
    keras_file.write_model(folder / "lambda.h5", layers, gate=np.eye(4, dtype=np.float32))
    _write(folder / "swish.yaml", ["layers: [silu]"])
    dense = "  - dense: {units: $units, activation: sigmoid, use_bias: false}"
    _write(folder / "gate.yaml", ["parameters: {units: null}", "layers:", dense])


def _write(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
