"""Histograms of weights and gradients: a run has the same bits with and without them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import CheckpointError
from cortex_core.training.callbacks import Callback
from cortex_core.training.histograms import BINS, FILE, Histograms, histogram, read_histograms
from cortex_core.training.train import train
from cortex_core.training.trainer import Interrupted
from tests.core.training.networks import blobs, description, states
from tests.core.training.test_resume import PressCtrlC


def run(spec: Any, out: Path | None = None, *callbacks: Any, **options: Any) -> Any:
    return train(spec, blobs(), out=out, progress=False, callbacks=callbacks, **options)


def test_the_run_has_the_same_bits(tmp_path: Path) -> None:
    spec = description(epochs=3, seed=3, validation=0.2, clip_norm=0.5)
    without = run(spec, tmp_path / "a")
    with_them = run(spec, tmp_path / "b", Histograms())
    assert states(with_them.network) == states(without.network)
    assert with_them.history["loss"] == without.history["loss"]


def test_rows_tell_weights_and_gradients(tmp_path: Path) -> None:
    """With plain gradient descent on whole batches each step is -0.1 gradient, dropout and all."""
    spec = description(epochs=4, batch_size=50, optimizer={"sgd": {"learning_rate": 0.1}})
    run(spec, tmp_path, Histograms())
    rows = read_histograms(tmp_path / FILE)
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 4]
    sizes = {"hidden/kernel": 32, "hidden/bias": 8, "batch_norm/scale": 8, "batch_norm/shift": 8}
    sizes |= {"out/kernel": 24, "out/bias": 3}
    for before, after in pairwise(rows):
        assert set(before["weights"]) == set(before["gradients"]) == set(sizes)
        for name, size in sizes.items():
            assert sum(before["weights"][name]["counts"]) == sum(before["gradients"][name]["counts"]) == size
            step = after["weights"][name]["mean"] - before["weights"][name]["mean"]
            np.testing.assert_allclose(step, -0.1 * before["gradients"][name]["mean"], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("stop", [3, 7, 9, 14])
def test_they_go_on_with_a_run(tmp_path: Path, stop: int) -> None:
    spec = description(epochs=3, seed=3)
    unbroken = run(spec, tmp_path / "a", Histograms())
    with pytest.raises(Interrupted):
        run(spec, tmp_path / "b", Histograms(), PressCtrlC(stop))
    resumed = run(None, None, Histograms(), resume=tmp_path / "b")
    assert states(resumed.network) == states(unbroken.network)
    assert (tmp_path / "b" / FILE).read_bytes() == (tmp_path / "a" / FILE).read_bytes()


def test_they_begin_where_a_run_goes_on_with_them_only_then(tmp_path: Path) -> None:
    spec = description(epochs=3)
    with pytest.raises(Interrupted):
        run(spec, tmp_path, PressCtrlC(9))
    run(None, None, Histograms(), resume=tmp_path)
    assert [row["epoch"] for row in read_histograms(tmp_path / FILE)] == [2, 3]


def test_a_new_run_begins_anew(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("from elsewhere")
    run(description(epochs=1), tmp_path, Histograms())
    assert len(read_histograms(tmp_path / FILE)) == 2


def test_a_histogram() -> None:
    values = np.array([[0.0, 1.0], [1.0, 4.0]], np.float32)
    found = histogram(values)
    assert (found["low"], found["high"], found["mean"], found["not_finite"]) == (0.0, 4.0, 1.5, 0)
    assert found["std"] == pytest.approx(np.sqrt((1.5**2 + 0.5**2 * 2 + 2.5**2) / 4))
    assert len(found["counts"]) == BINS
    assert {i: n for i, n in enumerate(found["counts"]) if n} == {0: 1, BINS // 4: 2, BINS - 1: 1}


def test_numbers_that_are_not_finite_are_counted_apart() -> None:
    found = histogram(np.array([np.nan, np.inf, 1.0, 2.0], np.float32))
    assert (found["low"], found["high"], found["not_finite"], sum(found["counts"])) == (1.0, 2.0, 2, 2)
    assert histogram(np.array([np.nan], np.float32)) == {
        **dict.fromkeys(["low", "high", "mean", "std"]),
        "counts": [0] * BINS,
        "not_finite": 1,
    }
    assert sum(histogram(np.zeros(3, np.float32))["counts"]) == 3


ONES = histogram(np.ones(3))
ROW = {"epoch": 0, "weights": {"a": ONES}, "gradients": {"a": ONES}}
LACKING = [{k: v for k, v in ONES.items() if k != left_out} for left_out in ONES]


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]\n", "{}\n", "1\n", json.dumps(ROW), json.dumps(ROW) + "\n{\n", "\xff\n"),
        json.dumps({**ROW, "epoch": "1"}) + "\n",
        *(json.dumps({**ROW, "gradients": {"a": lacking}}) + "\n" for lacking in LACKING),
        *(
            json.dumps({**ROW, "weights": {"a": {**ONES, **wrong}}}) + "\n"
            for wrong in ({"counts": "x" * BINS}, {"counts": [0.5] * BINS}, {"counts": [1]}, {"low": "a"})
        ),
    ],
)
def test_a_damaged_file(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(CheckpointError, match="holds no histograms of a run"):
        read_histograms(tmp_path / FILE)


def test_a_run_without_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"--histograms.*callbacks=\[Histograms\(\)\]"):
        read_histograms(tmp_path / FILE)


def test_the_file_has_a_line_of_json_for_each_epoch(tmp_path: Path) -> None:
    run(description(epochs=1), tmp_path, Histograms())
    rows = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert [list(row) for row in rows] == [["epoch", "weights", "gradients"]] * 2


def test_a_line_that_a_crash_cut_short_is_written_again(tmp_path: Path) -> None:
    spec = description(epochs=2)
    run(spec, tmp_path / "a", Histograms())
    with pytest.raises(Interrupted):
        run(spec, tmp_path / "b", Histograms(), PressCtrlC(9))
    file = tmp_path / "b" / FILE
    whole = file.read_bytes()
    file.write_bytes(whole + whole[: len(whole) // 3])
    assert [row["epoch"] for row in read_histograms(file)] == [0, 1]
    run(None, None, Histograms(), resume=tmp_path / "b")
    assert file.read_bytes() == (tmp_path / "a" / FILE).read_bytes()


def test_an_epoch_adds_to_the_file_and_leaves_the_rest(tmp_path: Path) -> None:
    sizes = []

    class Inodes(Callback):
        def epoch(self, trainer: Any) -> None:
            sizes.append((tmp_path / FILE).stat())

    run(description(epochs=4), tmp_path, Histograms(), Inodes())
    assert len({found.st_ino for found in sizes}) == 1  # never made again
