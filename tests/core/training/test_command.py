"""The command line of a run: what it trains has the same losses."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import cortex
from cortex.command.train import command as click_command
from cortex_compute.choices import chosen
from cortex_core.network import network
from cortex_core.training.command import USED, _machine
from cortex_core.training.source import Arrays, register
from cortex_core.training.train import train
from cortex_core.training.trainer import Interrupted
from tests.conftest import Cli
from tests.core.training.networks import blobs, description
from tests.core.training.test_run import Stop


def again(cli: Cli, summary: dict[str, Any], out: Path) -> Path:
    words = shlex.split(summary["command"])
    assert words[0] == "cortex"
    said = cli(*words[1:], "--out", out)
    assert said.code == 0, said.err
    return out


def test_the_command_repeats_the_run(cli: Cli, tmp_path: Path) -> None:
    np.savez(tmp_path / "blobs of mine.npz", **blobs())  # type: ignore[arg-type]
    spec = tmp_path / "net.json"
    spec.write_text(json.dumps(description(epochs=9)))
    data = str(tmp_path / "blobs of mine.npz")
    one = train(
        spec, data, out=tmp_path / "1", epochs=1, seed=7, validation=0.2, overrides=["train.clip_norm=1"]
    )
    two = cortex.load_run(again(cli, one.summary, tmp_path / "2"))
    assert two.history["validation_loss"] == one.history["validation_loss"]
    assert again(cli, two.summary, tmp_path / "3").is_dir()


def test_a_dict_is_repeated_from_the_folder(cli: Cli, tmp_path: Path) -> None:
    np.savez(tmp_path / "blobs.npz", **blobs())  # type: ignore[arg-type]
    one = train(description(epochs=1), str(tmp_path / "blobs.npz"), out=tmp_path / "1", progress=False)
    two = cortex.load_run(again(cli, one.summary, tmp_path / "2"))
    assert two.history["loss"] == one.history["loss"]


@pytest.mark.parametrize("name", ["a #b.csv", "x: y.csv", "[1, 2].csv", "'q'.csv"])
def test_data_keep_their_options_and_their_names(
    cli: Cli, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = blobs()
    rows = [f"{x[0]};{x[1]};class {label}" for x, label in zip(given["x"], given["label"])]
    for file in ("plain.csv", name):
        Path(file).write_text("\n".join(["a;b;label", *rows]))
    made = description(epochs=1, data={"table": {"file": "plain.csv", "separator": ";"}})
    made["inputs"] = {"features": "auto"}
    Path("net.json").write_text(json.dumps(made))
    one = train("net.json", name, out="1", progress=False)
    assert cortex.load_run(again(cli, one.summary, Path("2"))).history["loss"] == one.history["loss"]


def cut(network: Any, out: Path, **options: Any) -> None:
    with pytest.raises(Interrupted):
        train(network, out=out, progress=False, callbacks=[Stop(3)], **options)


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A description in a file, of data in a file."""
    np.savez(tmp_path / "blobs.npz", **blobs())  # type: ignore[arg-type]
    path = tmp_path / "net.json"
    path.write_text(json.dumps(description(epochs=2, data=str(tmp_path / "blobs.npz"))))
    return path


def test_a_run_that_went_on_is_repeated_from_its_beginning(cli: Cli, spec: Path, tmp_path: Path) -> None:
    start = train(spec, out=tmp_path / "0", progress=False, seed=5).path / "model.cortex"
    cut(start, tmp_path / "1")
    one = train(resume=tmp_path / "1", epochs=3, progress=False)
    two = cortex.load_run(again(cli, one.summary, tmp_path / "2"))
    assert len(one.history) == 3
    assert two.history["loss"] == one.history["loss"]


def why(summary: dict[str, Any]) -> str:
    assert summary["command"] is None
    return str(summary["command_why"])


def test_what_no_command_repeats(spec: Path, tmp_path: Path) -> None:
    cut(network(spec), tmp_path / "1")
    one = train(resume=tmp_path / "1", progress=False)
    assert why(one.summary) == "the network that it began with was an object of a Python program"
    two = train(description(epochs=1), blobs(), validation=blobs(), out=tmp_path / "2", progress=False)
    assert why(two.summary) == "its data and validation came as objects of a Python program"


def test_other_epochs_are_another_schedule(spec: Path, tmp_path: Path) -> None:
    cut(spec, tmp_path, overrides=["train.schedule=cosine"])
    assert "2 epochs first, after 3 then" in why(train(resume=tmp_path, epochs=3, progress=False).summary)


def test_more_threads_have_other_bits(spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut(spec, tmp_path)
    monkeypatch.setattr("cortex_core.training.command.threads", lambda: 77)
    assert "number of threads" in why(train(resume=tmp_path, progress=False).summary)


LAYER = """
import cortex

@cortex.layer("twice")
class Twice:
    def forward(self, scope, x):
        return x + x
"""


def test_layers_of_a_file_are_named(
    cli: Cli, spec: Path, tmp_path: Path, own_registry: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [m for m in sys.modules if m.startswith(USED)]:  # of other tests in this process
        monkeypatch.delitem(sys.modules, name)
    made = json.loads(spec.read_text())
    made["layers"].insert(0, "twice")
    spec.write_text(json.dumps(made))
    (tmp_path / "my layer.py").write_text(LAYER)
    said = cli("--use", tmp_path / "my layer.py", "train", spec, "--out", tmp_path / "1")
    assert said.code == 0, said.err
    words = shlex.split(cortex.load_run(tmp_path / "1").summary["command"])
    assert words[:4] == ["cortex", "--use", str(tmp_path / "my layer.py"), "train"]
    assert cli(*words[1:], "--out", tmp_path / "2").code == 0


def test_data_that_a_program_registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Arrays(blobs())
    monkeypatch.setattr("cortex_core.training.source._registered", {})
    for name in [name for name in sys.modules if name.startswith(USED)]:
        monkeypatch.delitem(sys.modules, name)
    load = {"train": whole}.__getitem__
    register(SimpleNamespace(name="mine", streams=whole.streams, lengths={"train": 50}, load=load))
    run = train(description(epochs=1), "mine", out=tmp_path, progress=False)
    assert why(run.summary) == "a Python program made mine known, and no file of --use"


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({}, []),
        ({"cudnn": "never", "deterministic": True}, ["--cudnn", "never", "--deterministic"]),
        ({"tf32": True, "cudnn": "auto", "deterministic": False}, ["--tf32"]),
    ],
)
def test_choices_of_the_machine(choices: dict[str, Any], words: list[str]) -> None:
    backend = SimpleNamespace(name="cupy", choices=frozenset({"cudnn", "deterministic", "tf32"}))
    trainer: Any = SimpleNamespace(compiled=SimpleNamespace(backend=backend))
    with chosen(**choices):
        told = shlex.split(_machine(trainer))
    assert told[:2] == ["--backend", "cupy"]
    assert told[4:] == words
    assert click_command.make_context("train", ["net.yaml", *told]).params["backend"] == "cupy"
