"""What a network learned of its data: kept with its parameters, and learned of the training part alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import cortex
from cortex_compute.errors import CheckpointError
from cortex_core.spec import read
from cortex_core.training.run import Run
from cortex_core.training.trainer import Interrupted
from tests.core.training.networks import blobs, description, states
from tests.core.training.points import fitting, save, telling
from tests.core.training.test_checkpoint import edit, text
from tests.core.training.test_resume import PressCtrlC, untimed


def train(spec: Any = None, **options: Any) -> Run:
    return cortex.train(spec, progress=False, **options)


def parameters(run: Run) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in run.network.parameters.items()}


def test_it_comes_back_with_the_model(points: Path) -> None:
    run = train(fitting(), out="run")
    given = [{"x": x} for x in (-3.25, 0.0, 7.0)]
    expected = run.network.predict(given)
    run.network.save("copy.cortex")
    for file in ("run/model.cortex", "run/last.cortex", "copy.cortex"):
        (points / "points.dots").unlink(missing_ok=True)  # a prediction needs no training data
        loaded = cortex.load(file)
        assert loaded.encoding is not None
        assert run.network.encoding is not None
        assert json.dumps(loaded.encoding.state()) == json.dumps(run.network.encoding.state())
        assert loaded.predict(given).tobytes() == expected.tobytes()
    assert (points / "copy.cortex").read_bytes() == (points / "run" / "model.cortex").read_bytes()


def test_a_real_table_comes_back_too(points: Path) -> None:
    """Every kind of column, bins included."""
    draw = np.random.default_rng(3)
    rows = ["size,colour,day,remark,kind"]
    for i in range(60):
        size = "" if i % 9 == 0 else f"{draw.normal():.3f}"
        day = f"2020-{i % 12 + 1:02}-{i % 28 + 1:02}"
        rows.append(f"{size},{('red', 'blue', '')[i % 3]},{day},one or two words {i},{'ab'[i % 2]}")
    (points / "t.csv").write_text("\n".join([*rows, ""]))
    columns = {"remark": {"text": {"words": 5}}}
    spec = telling({"table": {"file": "t.csv", "scale": "piecewise", "columns": columns}})
    run = train({**spec, "inputs": {"features": "auto"}}, out="run")
    given = [
        {"size": "0.5", "colour": "red", "day": "2020-05-05", "remark": "two"},
        {"size": "-9", "colour": None, "day": "1999-12-31", "remark": ""},
    ]
    expected = run.network.predict(given)
    found = cortex.load("run/model.cortex").predict(given)
    assert found.tobytes() == expected.tobytes()


def test_arrays_and_named_sets_teach_nothing(tmp_path: Path) -> None:
    train(description(epochs=1), data=blobs(), out=tmp_path / "run")
    with h5py.File(tmp_path / "run" / "model.cortex") as file:
        assert "encoding" not in file
    assert cortex.load(tmp_path / "run" / "model.cortex").encoding is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (text("encoding", b"{"), "encoding is no JSON"),
        (text("encoding", b"[1]"), "encoding is no mapping"),
        (text("encoding", b"[" * 100_000), "encoding is no JSON"),
        (text("encoding", b'{"x": [0, 1]}'), "the encoding of its data is damaged: these are no points"),
        (text("encoding", b'{"x": 3, "y": 4, "kinds": 5}'), "is damaged: these are no points"),
        (lambda f: f["encoding"].attrs.update(crc32=1), "the bytes of encoding have changed"),
        (lambda f: (f.pop("encoding"), f.create_group("encoding")), "encoding is missing"),
        (lambda f: (f.pop("encoding"), f.create_dataset("encoding", data=np.zeros((2, 2)))), "shape"),
    ],
)
@pytest.mark.parametrize("file", ["model.cortex", "last.cortex"])
def test_a_damaged_one_is_refused(
    points: Path, damage: Callable[[Any], Any], message: str, file: str
) -> None:
    train(fitting(), out="run")
    edit(damage)(points / "run" / file)
    with pytest.raises(CheckpointError, match=message):
        cortex.load(f"run/{file}")
    if file == "last.cortex":
        with pytest.raises(CheckpointError, match=message):
            train(resume="run", epochs=2)


def test_one_that_its_description_does_not_know(points: Path) -> None:
    train(fitting(), out="run")
    canonical = read(points / "run" / "description.yaml").canonical
    for data in (None, "iris"):
        changed = json.dumps({**canonical, "train": {**canonical["train"], "data": data}}).encode()
        edit(text("description", changed))(points / "run" / "model.cortex")
        with pytest.raises(CheckpointError, match="an encoding, but its description names no reader"):
            cortex.load("run/model.cortex")


def test_a_reader_that_is_not_known_here(points: Path) -> None:
    train(fitting(), out="run")
    canonical = json.dumps(read(points / "run" / "description.yaml").canonical)
    changed = canonical.replace('"points":', '"pointz":').encode()
    edit(text("description", changed))(points / "run" / "model.cortex")
    with pytest.raises(CheckpointError, match=r"unknown reader 'pointz'.*--use FILE\.py"):
        cortex.load("run/model.cortex")


def test_the_test_rows_teach_nothing(points: Path) -> None:
    """Whatever stands in rows that are held out, the network and its encoding are the same."""
    spec = fitting(test=0.25, epochs=2, validation=0.2)
    found = []
    for end in ("1e6 -7e9 green", "-1 2 red"):
        kept = (points / "points.dots").read_text().splitlines()[:30]
        (points / "points.dots").write_text("\n".join([*kept, *[end] * 10, ""]))
        run = train(spec, out="run")
        assert run.network.encoding is not None
        found.append((json.dumps(run.network.encoding.state()), parameters(run)))
    assert found[0] == found[1]


def test_a_fold_that_is_held_out_teaches_nothing(points: Path) -> None:
    made = cortex.cross_validate(fitting(), folds=4, out="folds", progress=False)
    encodings: list[Any] = [run.network.encoding for run in made.runs]
    centres = [encoding.scales["x"][0] for encoding in encodings]
    given = np.array([float(line.split()[0]) for line in (points / "points.dots").read_text().splitlines()])
    expected = [np.delete(given, np.arange(10 * fold, 10 * fold + 10)).mean() for fold in range(4)]
    np.testing.assert_allclose(sorted(centres), sorted(expected))


VARIED = {"augment": [{"noise": 0.1}], "epochs": 3, "test": 0.25, "validation": 0.2, "split": "stratified"}


@pytest.mark.parametrize("stop", [2, 7])
def test_interrupted_and_resumed_is_unbroken(points: Path, stop: int) -> None:
    """With examples varied anew in each epoch; what was learned comes from the file, not from the data."""
    unbroken = train(telling(**VARIED), out="a")
    with pytest.raises(Interrupted):
        train(telling(**VARIED), out="b", callbacks=[PressCtrlC(stop)])
    resumed = train(resume="b")
    assert states(resumed.network) == states(unbroken.network)
    assert untimed(resumed.history) == untimed(unbroken.history)
    assert resumed.metrics == unbroken.metrics
    plain = train(telling(**{**VARIED, "augment": None}), out="c")
    assert parameters(plain) != parameters(unbroken)


@pytest.mark.parametrize("stop", [3, 11])
def test_texts_in_buckets_resumed_are_unbroken(points: Path, stop: int) -> None:
    words = ["amber", "bird", "cold", "dune", "eel"]
    draw = np.random.default_rng(0)
    made = [" ".join(draw.choice(words, 1 + i % 13)) for i in range(60)]
    (points / "lines.txt").write_text("\n".join([*made, ""]))
    spec = {
        "inputs": {"text": "auto"},
        "layers": [{"embedding": {"tokens": 40, "units": 4}}, {"dense": {"units": 40, "id": "y"}}],
        "loss": {"softmax_cross_entropy": {"of": "y", "target": "next", "ignore_index": 0}},
        "train": {
            "data": {"lines": {"file": "lines.txt", "buckets": 3}},
            "validation": 0.2,
            "batch_size": 8,
            "epochs": 3,
        },
    }
    unbroken = train(spec, out="a")
    with pytest.raises(Interrupted):
        train(spec, out="b", callbacks=[PressCtrlC(stop)])
    resumed = train(resume="b")
    assert states(resumed.network) == states(unbroken.network)
    assert untimed(resumed.history) == untimed(unbroken.history)


def test_a_run_resumed_with_other_data_is_refused(points: Path) -> None:
    train(telling(), out="run")
    save(points / "other.dots", 40, seed=9)
    with pytest.raises(CheckpointError, match=r"train\.data is .* in this run"):
        train(resume="run", data="other.dots", epochs=2)


def test_a_trained_network_keeps_what_it_learned_on_other_data(points: Path) -> None:
    """Its parameters know no other scale."""
    first = train(fitting(), out="run")
    save(points / "other.dots", 40, seed=9)
    second = train("run/model.cortex", data="other.dots", out="more")
    assert first.network.encoding is not None
    assert second.network.encoding is not None
    assert json.dumps(second.network.encoding.state()) == json.dumps(first.network.encoding.state())
    assert parameters(second) != parameters(first)
