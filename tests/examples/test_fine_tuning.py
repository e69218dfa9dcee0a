"""A model of Keras that learns another task: the example reaches what it states, and keeps what it froze."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import cortex
from tests.conftest import Cli

FOLDER = Path(__file__).parents[2] / "examples" / "fine_tuning"
HEAD = {"digit/logits/kernel", "digit/logits/bias"}


class Ran(NamedTuple):
    folder: Path
    printed: str


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The folder in which the example ran, and what it printed."""
    folder = tmp_path_factory.mktemp("fine_tuning")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(FOLDER)
        lines: list[str] = []
        patch.setattr("builtins.print", lambda *words: lines.append(" ".join(map(str, words))))
        runpy.run_path(str(FOLDER / "loops.py"))
    return Ran(folder, "\n".join(lines))


def numbers(network: Any) -> dict[str, np.ndarray]:
    return {name: np.array(x) for name, x in {**network.parameters, **network.variables}.items()}


def test_it_reaches_what_it_states(ran: Ran) -> None:
    text = (FOLDER / "loops.py").read_text(encoding="utf-8")
    stated = re.search(r"at least (\d+) %;.* at most (\d+) %", text)
    reached = re.search(r"accuracy ([\d.]+) %, on an untrained body ([\d.]+) %", ran.printed)
    assert stated
    assert reached
    assert float(reached[1]) >= float(stated[1])
    assert float(reached[2]) <= float(stated[2])


def test_all_but_the_head_has_the_same_bits(ran: Ran) -> None:
    before, after = (numbers(x) for x in (cortex.from_keras(ran.folder / "digits.h5"), loops(ran)))
    assert set(before) == set(after)
    assert len(before) == 14  # two convolutions, two batch norms with statistics, a head
    assert {name for name in before if before[name].tobytes() != after[name].tobytes()} == HEAD
    assert re.search(r"frozen +4 +4,896\n", ran.printed + "\n")


def loops(ran: Ran) -> Any:
    return cortex.load(ran.folder / "runs" / "loops")


def test_the_same_by_the_command(ran: Ran, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ran.folder)
    rng = np.random.default_rng(0)
    np.savez("few.npz", image=rng.uniform(0, 16, (40, 8, 8, 1)).astype(np.float32), target=np.arange(40) % 3)
    for line in (
        "import keras digits.h5 -o digits.cortex",
        "surgery digits.cortex --replace-head 3 --freeze-until relu_2 -o loops.cortex",
        "train loops.cortex train.data=few.npz train.batch_size=20 train.epochs=2 --out runs/few --no-report",
    ):
        said = cli(*line.split())
        assert said.code == 0, said.err
    before, after = numbers(cortex.load("digits.cortex")), numbers(cortex.load("runs/few"))
    assert {name for name in before if before[name].tobytes() != after[name].tobytes()} == HEAD
    told = cortex.load("runs/few").summary()
    assert "imported from digits.h5 (Keras 2.9.0): unproved; changed by surgery since" in told


def test_all_but_the_norms_by_the_command(ran: Ran, cli: Cli) -> None:
    made = ran.folder / "all.cortex"
    said = cli("surgery", ran.folder / "runs" / "loops", "--unfreeze", "--freeze-norms", "-o", made)
    assert said.code == 0, said.err
    frozen = {name for name, slot in cortex.load(made).slots.items() if not slot.segment.trainable}
    assert frozen == {f"norm_{i}/{name}" for i in (1, 2) for name in ("scale", "shift")}


@pytest.mark.peers
def test_keras_reads_the_file_of_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    monkeypatch.chdir(tmp_path)
    pictures = np.random.default_rng(0).uniform(0, 16, (64, 8, 8, 1)).astype(np.float32)
    network = runpy.run_path(str(FOLDER / "someones_model.py"))["write"](
        "digits.h5", pictures, np.arange(64) % 10
    )
    given = keras.models.load_model("digits.h5").predict(pictures, verbose=0)
    np.testing.assert_allclose(given, network.predict(pictures), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(cortex.from_keras("digits.h5").predict(pictures), given, rtol=1e-4, atol=1e-6)
